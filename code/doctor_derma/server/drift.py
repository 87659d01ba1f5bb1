"""Drift: whether incoming pictures and their predictions still look like the model's own data."""

import math
from collections import Counter, deque

from doctor_derma.bundle import BundleInfo
from doctor_derma.inference.prediction import Prediction

WINDOW = 1_000
LEAST = 200
UNFAMILIAR = "unfamiliar"
# What a picture can be that few training images were, see ``Prediction.warnings``.
ODDITIES = ("dark", "bright", "blurred", "small", UNFAMILIAR)


class Drift:
    """The last ``window`` pictures; of fewer than ``least`` nothing is said."""

    def __init__(self, info: BundleInfo, window: int = WINDOW, least: int = LEAST) -> None:
        self._expected = expected_shares(info)
        self._rule = info.decision.default
        self._least = least
        self._oddities = _Window(window)
        self._labels = _Window(window)

    def add(self, prediction: Prediction) -> bool:
        """Count a picture, and forget the one that leaves the window.

        A label that another rule than the server's own called, or patient data have moved, is no
        sign of drift, and is left out. What the picture itself is like depends on neither.
        Returns whether the label counts.
        """
        unfamiliar = (UNFAMILIAR,) if prediction.unfamiliarity > 1 else ()
        self._oddities.add(*prediction.warnings, *unfamiliar)
        comparable = prediction.rule == self._rule and not prediction.patient_data
        if comparable:
            self._labels.add(prediction.label)
        return comparable

    @property
    def class_stability(self) -> float:
        """How far the classes that were called are from what they should be.

        The population stability index [1]_ against ``expected_shares``, with half a picture
        added to each class. By the usual rule of thumb, over 0.1 is worth a look and over 0.25
        a shift. Without any drift its mean is the number of classes less one over that of
        pictures: 0.006 for seven classes and a full window. NaN before ``least`` pictures.

        References
        ----------
        .. [1] B. Yurdakul: Statistical properties of population stability index.
               Western Michigan University, 2018.
        """
        if (pictures := len(self._labels)) < self._least:
            return math.nan
        total = pictures + len(self._expected) / 2
        found = {name: (self._labels.counts[name] + 0.5) / total for name in self._expected}
        return sum(
            (found[name] - share) * math.log(found[name] / share)
            for name, share in self._expected.items()
        )

    def share(self, oddity: str) -> float:
        """Return the share of pictures that are one of ``ODDITIES``; NaN before ``least``.

        0.2% of the training images are dark, bright or blurred each; the bundle's ``familiar``
        says how many of the validation images are not unfamiliar.
        """
        if (pictures := len(self._oddities)) < self._least:
            return math.nan
        return self._oddities.counts[oddity] / pictures


class _Window:
    """Counts what was seen of the last pictures."""

    def __init__(self, size: int) -> None:
        self.counts: Counter[str] = Counter()
        self._recent: deque[tuple[str, ...]] = deque(maxlen=size)

    def __len__(self) -> int:
        return len(self._recent)

    def add(self, *seen: str) -> None:
        if len(self._recent) == self._recent.maxlen:
            self.counts.subtract(self._recent[0])
        self._recent.append(seen)
        self.counts.update(seen)


def expected_shares(info: BundleInfo) -> dict[str, float]:
    """Return how often each class should be called on pictures like the validation images.

    A model does not call classes as often as they occur; the bundle says how often its rule did.
    One that doesn't say is taken to call them as its sensitivities and specificities have it: of a
    class with share ``p``, ``p * sensitivity + (1 - p) * (1 - specificity)``. Without these either,
    it is taken to call them as often as they occur in its training images.
    """
    if figures := info.decision.figures.get(info.decision.default):
        shares = dict(zip(info.class_names, figures.called, strict=True))
    else:
        shares = _shares_by_metrics(info)
    # A class that was never called is still possible.
    floored = {name: max(share, 1e-4) for name, share in shares.items()}
    total = sum(floored.values())
    return {name: share / total for name, share in floored.items()}


def _shares_by_metrics(info: BundleInfo) -> dict[str, float]:
    metrics = info.metrics.get("val", {})
    shares = {}
    for name, share in zip(info.class_names, info.class_shares, strict=True):
        sensitivity = metrics.get(f"sensitivity_{name}", math.nan)
        specificity = metrics.get(f"specificity_{name}", math.nan)
        called = share * sensitivity + (1 - share) * (1 - specificity)
        shares[name] = called if math.isfinite(called) else share
    return shares
