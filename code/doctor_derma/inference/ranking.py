r"""Which unlabelled pictures a model would learn most from, first: a ranking for labelling.

A picture's score is the mean of three reasons, each from 0 to 1:

- *margin*, :math:`1 - (p_{(1)} - p_{(2)})` of the two most probable classes: margin sampling
  (Scheffer et al. [1]_; a survey is Settles [2]_);
- *set*, :math:`(|S| - 1) / (K - 1)` of the classes that can't be ruled out (conformal prediction);
- *ood*, :math:`u / (1 + u)` of the out-of-distribution score, 1/2 at its threshold.

Pictures are then taken one by one, each time that of the greatest score times *novelty*, so that
near-identical ones are not asked for together. It is the greedy choice of a core-set (Sener and
Savarese [3]_: the picture farthest from those taken), weighted by the score:

.. math:: \text{novelty}_i = \min_{j \text{ taken}}
          \min\Big(1, \frac{2\,d(i, j)}{D}, \frac{t(i, j)}{16}\Big)

with d the root mean square difference of the logarithms of the probabilities, centred, which are
the network's logits but for the temperature; D what d is for two pictures of these at random; and
t that of the 16x16 thumbnails in grey levels, under 3.5 for a copy at half the size.

References
----------
.. [1] T. Scheffer, C. Decomain, S. Wrobel: Active Hidden Markov Models for Information
       Extraction. IDA 2001.
.. [2] B. Settles: Active Learning Literature Survey. University of Wisconsin-Madison, Computer
       Sciences Technical Report 1648, 2009.
.. [3] O. Sener, S. Savarese: Active Learning for Convolutional Neural Networks: A Core-Set
       Approach. ICLR 2018, arXiv:1708.00489.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from doctor_derma.images.thumbnails import centred_rows, thumbnail
from doctor_derma.inference.classifier import ReadPicture
from doctor_derma.inference.prediction import Prediction, Row
from doctor_derma.terminal import with_progress

# Thumbnails that differ by so many grey levels (RMS) are of different pictures.
DIFFERENT_RMS = 16.0
# Log probabilities that differ by this part of what two pictures differ by at random are new.
DIFFERENT_SHARE = 0.5
# The choice of each next one looks at all pictures. Who labels seldom gets past so many; the rest
# follow by their score and how new they are beside these.
GREEDY = 1000
_LEAST = 1e-6


@dataclass(frozen=True, eq=False)
class RankedRow:
    """A picture, its place, and what has given it this place.

    Attributes
    ----------
    rank : from 1
    score : from 0 to 1
    margin : the difference of the two greatest probabilities
    novelty : from 0 for a picture like one ranked before, to 1
    """

    path: str
    prediction: Prediction
    rank: int
    score: float
    margin: float
    novelty: float


def rank_rows(
    pictures: Iterable[tuple[Row, ReadPicture | None]],
) -> tuple[list[RankedRow], list[Row]]:
    """Rank classified pictures, those first that a label is worth most of.

    They are given as by ``predict_pictures``, and the good ones returned in the order of their
    ranks, with the rows of bad ones. Of each picture the prediction and a thumbnail stay in memory.
    """
    paths: list[str] = []
    known: list[Prediction] = []
    thumbnails: list[np.ndarray] = []
    bad: list[Row] = []
    for row, picture in pictures:
        if row.prediction is None or picture is None:
            bad.append(row)
            continue
        paths.append(row.path)
        known.append(row.prediction)
        thumbnails.append(thumbnail(Image.fromarray(picture.pixels)))
    if not known:
        return [], bad
    reasons = reasons_of(known)
    scores, margins = reasons.mean(axis=1).tolist(), (1 - reasons[:, 0]).tolist()
    logs = np.log(np.maximum(_probabilities(known), _LEAST))
    logs -= logs.mean(axis=1, keepdims=True)
    order, novelty = diverse_order(np.array(scores), logs, np.stack(thumbnails))
    places = enumerate(zip(order.tolist(), novelty.tolist(), strict=True), start=1)
    return [
        RankedRow(paths[index], known[index], rank, scores[index], margins[index], new)
        for rank, (index, new) in places
    ], bad


def reasons_of(predictions: Sequence[Prediction]) -> np.ndarray:
    """Return margin, set and ood of each prediction, float64 (n, 3), from 0 to 1.

    Examples
    --------
    >>> import numpy as np
    >>> unsure = Prediction("a", "balanced", {"a": 0.5, "b": 0.25, "c": 0.25}, ("a", "b"), 1.0,
    ...                     (), np.zeros((1, 1)))
    >>> reasons_of([unsure])
    array([[0.75, 0.5 , 0.5 ]])
    """
    probabilities = _probabilities(predictions)
    first, second = np.sort(probabilities, axis=1)[:, :-3:-1].T
    sizes = np.array([len(prediction.prediction_set) for prediction in predictions])
    ood = np.maximum([prediction.unfamiliarity for prediction in predictions], 0.0)
    return np.stack(
        [1 - (first - second), (sizes - 1) / (probabilities.shape[1] - 1), ood / (1 + ood)], axis=1
    )


def diverse_order(
    scores: np.ndarray, logs: np.ndarray, thumbnails: np.ndarray, greedy: int = GREEDY
) -> tuple[np.ndarray, np.ndarray]:
    """Order pictures by score times novelty, each beside those that come before it.

    Parameters
    ----------
    scores : float (n,), at least 0
    logs : centred logarithms of the probabilities, float (n, K)
    thumbnails : uint8 (n, 16, 16, 3)
    greedy : so many are chosen one by one; the others in one step

    Returns
    -------
    order : int (n,), indices of the pictures
    novelty : float (n,), from 0 to 1, in this order
    """
    spread = np.sqrt(2 * ((logs - logs.mean(axis=0)) ** 2).mean())
    # Of pictures that are all called alike, the thumbnails alone say which differ.
    unit = DIFFERENT_SHARE * spread
    small, small_squares = centred_rows(thumbnails)
    squares = np.einsum("ij,ij->i", logs, logs)
    novelty = np.ones(len(scores))
    order: list[int] = []
    found: list[float] = []
    left = np.ones(len(scores), dtype=bool)
    for _ in with_progress(range(min(greedy, len(scores))), "Ranking"):
        best = int(np.where(left, scores * novelty, -1.0).argmax())
        order.append(best)
        found.append(novelty[best])
        left[best] = False
        novelty = np.minimum(novelty, _rms(small, small_squares, best) / DIFFERENT_RMS)
        if unit > 0:
            novelty = np.minimum(novelty, _rms(logs, squares, best) / unit)
    rest = np.flatnonzero(left)
    rest = rest[np.argsort(-(scores * novelty)[rest], kind="stable")]
    return np.array([*order, *rest.tolist()]), np.array([*found, *novelty[rest].tolist()])


def _rms(values: np.ndarray, squares: np.ndarray, index: int) -> np.ndarray:
    """Return how far all rows are from one; ``squares`` are the sums of their squares."""
    apart = squares + squares[index] - 2 * (values @ values[index])
    found: np.ndarray = np.sqrt(np.maximum(apart, 0) / values.shape[1])
    found[index] = 0
    return found


def _probabilities(predictions: Sequence[Prediction]) -> np.ndarray:
    return np.array([[*prediction.probabilities.values()] for prediction in predictions])
