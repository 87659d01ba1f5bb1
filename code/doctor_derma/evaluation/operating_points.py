"""Where to draw the line: sensitivity against specificity, net benefit and cost by threshold.

A question, such as malignant or benign, makes two classes of many: the score of an image is the sum
of the probabilities of the positive classes, and an image over the threshold is called positive.

References
----------
.. [1] A. J. Vickers, E. B. Elkin: Decision curve analysis: a novel method for evaluating prediction
       models. Medical Decision Making 26, 2006.
.. [2] C. Drummond, R. C. Holte: Cost curves: an improved method for visualizing classifier
       performance. Machine Learning 65, 2006.
"""

import math
from functools import partial

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from doctor_derma.decisions import MELANOMA
from doctor_derma.diagnoses import MALIGNANT
from doctor_derma.errors import DermaError
from doctor_derma.evaluation.bootstrap import (
    RESAMPLES,
    Interval,
    bootstrap,
    percentile_interval,
    resampled,
)
from doctor_derma.evaluation.metrics import ratio
from doctor_derma.evaluation.plots.style import INK, MODEL_COLOURS, MUTED, new_figure, style_axes
from doctor_derma.evaluation.predictions import Predictions
from doctor_derma.evaluation.tables import Table

QUESTIONS = {"malignant": MALIGNANT, "melanoma": frozenset({MELANOMA})}
TITLES = {"malignant": "Malignant against benign", "melanoma": "Melanoma against all else"}
STATISTICS = {
    "sensitivity": "Sensitivity",
    "specificity": "Specificity",
    "review_rate": "Called positive",
    "ppv": "PPV",
    "net_benefit": "Net benefit",
}
THRESHOLDS = np.concatenate([[0.001, 0.002, 0.005], np.arange(1, 100) / 100])
# Beyond this threshold few would send a person home, and all curves meet.
_LARGEST_SHOWN = 0.6


def asked(question: str, predictions: Predictions) -> tuple[np.ndarray, np.ndarray]:
    """Return the score of each image, float64 [n], and whether it is positive, bool [n].

    Raises
    ------
    DermaError
        When all images are positive, or none is.
    """
    if not can_be_asked(question, predictions):
        raise DermaError(
            f"{predictions.name}: {TITLES[question].lower()} can't be asked, as there are images "
            "of one side only; ask the other question, or import data with both"
        )
    columns = _is_positive(question, predictions)
    # Rounded as they are, they may add up to a little more than 1.
    scores = np.minimum(predictions.probabilities[:, columns].sum(axis=1), 1.0)
    return scores, columns[predictions.labels]


def can_be_asked(question: str, predictions: Predictions) -> bool:
    """Say whether there are images of both sides."""
    positive = _is_positive(question, predictions)[predictions.labels]
    return bool(positive.any() and not positive.all())


def _is_positive(question: str, predictions: Predictions) -> np.ndarray:
    return np.isin(predictions.classes, list(QUESTIONS[question]))


def threshold_for_sensitivity(scores: np.ndarray, positive: np.ndarray, target: float) -> float:
    """Return the greatest threshold that so large a share of the positive images is over.

    It lies halfway to the next lower score, so that rounding moves no image.

    Parameters
    ----------
    scores : float [n]
    positive : bool [n], some of them True
    target : over 0, at most 1
    """
    found = np.sort(scores[positive])[::-1]
    # Rounding must not ask for one image more than the target does.
    least = found[max(1, math.ceil(target * len(found) - 1e-9)) - 1]
    return float((least + scores[scores < least].max(initial=0.0)) / 2)


def threshold_for_review_rate(scores: np.ndarray, rate: float) -> float:
    """Return the least threshold that at most this share of all images, [n], is over."""
    ordered = np.sort(scores)[::-1]
    first = ordered[min(math.floor(rate * len(ordered) + 1e-9), len(ordered) - 1)]
    # The first that is not called, and all that are as high: halfway to the next higher.
    return float((first + scores[scores > first].min(initial=1.0)) / 2)


def measure_calls(
    called: np.ndarray, positive: np.ndarray, lesions: np.ndarray, resamples: int = RESAMPLES
) -> dict[str, Interval]:
    """Measure sensitivity, specificity, review rate and PPV of calls, bool [n], with intervals."""
    return bootstrap(lesions, lambda weights: _rates(weights, called, positive), resamples)


def measure_thresholds(
    predictions: Predictions, question: str, resamples: int = RESAMPLES
) -> pd.DataFrame:
    """Measure what each of ``THRESHOLDS`` does.

    The net benefit of a threshold t is TP/n - FP/n t/(1 - t) [1]_: what is gained by true calls,
    less the false ones at the price that the choice of t puts on them.

    Returns
    -------
    One row a threshold: ``question``, ``threshold``, ``of_all`` (net benefit of calling all
    positive), and each of ``STATISTICS`` with ``<name>_low`` and ``<name>_high``
    """
    scores, positive = asked(question, predictions)
    odds = THRESHOLDS / (1 - THRESHOLDS)
    measures = [
        partial(_at_threshold, scores > threshold, positive, of)
        for threshold, of in zip(THRESHOLDS, odds, strict=True)
    ]
    draws = resampled(predictions.lesions, measures, resamples, seed=0)
    of_all = positive.mean() - odds * (~positive).mean()
    rows = []
    for threshold, benefit, values in zip(THRESHOLDS, of_all, draws, strict=True):
        row = {"question": question, "threshold": threshold, "of_all": benefit}
        for name, of in values.items():
            found = percentile_interval(of)
            row |= {name: found.value, f"{name}_low": found.low, f"{name}_high": found.high}
        rows.append(row)
    return pd.DataFrame(rows)


def measure_questions(
    predictions: Predictions, question: str, resamples: int = RESAMPLES
) -> pd.DataFrame:
    """Measure the thresholds of a question, and of every other one that can be asked.

    Returns the rows of ``measure_thresholds``. Raises as ``asked``, of ``question`` alone.
    """
    frames = [
        measure_thresholds(predictions, one, resamples)
        for one in QUESTIONS
        if one == question or can_be_asked(one, predictions)
    ]
    return pd.concat(frames)


def expected_cost(share: np.ndarray, sensitivity: float, specificity: float) -> np.ndarray:
    """Return the normalised expected cost at probability costs ``share`` of a point [2]_.

    Parameters
    ----------
    share : what misses weigh among all mistakes that could be made: p c_miss over
        p c_miss + (1 - p) c_false_call, with the share p of positive images
    """
    return (1 - sensitivity) * share + (1 - specificity) * (1 - share)


def operating_table(found: dict[str, Interval], question: str, target: str) -> Table:
    """Tabulate what an operating point is expected to do."""
    rows = ((STATISTICS[name], str(interval)) for name, interval in found.items())
    return Table(
        f"{TITLES[question]}, {target}",
        ("On images that training has not seen", "Value (95% interval)"),
        tuple(rows),
        "Intervals: percentile bootstrap over lesions, at the threshold as it was chosen. It was "
        "chosen on the same images, so expect a little less elsewhere.",
    )


def plot_operating_points(frame: pd.DataFrame, chosen: dict[str, dict[str, Interval]]) -> Figure:
    """Draw sensitivity against specificity, the decision curve and the cost curve of each question.

    Parameters
    ----------
    frame : of ``measure_thresholds``, of one question or more
    chosen : question -> what was chosen for it, if anything was, of ``measure_calls``
    """
    questions = list(frame["question"].unique())
    figure = new_figure(13.2, 4.4 * len(questions))
    grid = figure.subplots(len(questions), 3, squeeze=False)
    for panels, question in zip(grid, questions, strict=True):
        of, point = frame[frame["question"] == question], chosen.get(question)
        _draw_curve(panels[0], of, point, TITLES[question])
        _draw_net_benefit(panels[1], of)
        _draw_cost(panels[2], of, point)
    return figure


def _at_threshold(
    called: np.ndarray, positive: np.ndarray, odds: float, weights: np.ndarray
) -> dict[str, np.ndarray]:
    true, false = weights @ (called & positive), weights @ (called & ~positive)
    benefit = ratio(true - odds * false, weights.sum(axis=1))
    return {**_rates(weights, called, positive), "net_benefit": benefit}


def _rates(weights: np.ndarray, called: np.ndarray, positive: np.ndarray) -> dict[str, np.ndarray]:
    true, of_positive = weights @ (called & positive), weights @ positive
    calls, total = weights @ called, weights.sum(axis=1)
    return {
        "sensitivity": ratio(true, of_positive),
        "specificity": 1 - ratio(calls - true, total - of_positive),
        "review_rate": ratio(calls, total),
        "ppv": ratio(true, calls),
    }


def _draw_curve(
    axes: Axes, of: pd.DataFrame, point: dict[str, Interval] | None, title: str
) -> None:
    _draw_band(axes, of, "specificity", "sensitivity")
    if point:
        x, y = point["specificity"], point["sensitivity"]
        axes.errorbar(
            x.value,
            y.value,
            yerr=[[y.value - y.low], [y.high - y.value]],
            xerr=[[x.value - x.low], [x.high - x.value]],
            fmt="D",
            color=MODEL_COLOURS[1],
            label=f"chosen: sensitivity {y.value:.2f}, specificity {x.value:.2f}",
        )
        axes.legend(loc="lower left", frameon=False, fontsize=9, labelcolor=INK)
    style_axes(axes, title, "Specificity", "Sensitivity (band: 95% interval)")
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.02, 1.02)


def _draw_band(axes: Axes, of: pd.DataFrame, x: str, y: str, label: str = "") -> None:
    colour, limits = MODEL_COLOURS[0], (of[f"{y}_low"], of[f"{y}_high"])
    axes.plot(of[x], of[y], color=colour, linewidth=2, label=label)
    axes.fill_between(of[x], *limits, color=colour, alpha=0.15, linewidth=0)


def _draw_net_benefit(axes: Axes, of: pd.DataFrame) -> None:
    shown = of[of["threshold"] <= _LARGEST_SHOWN]
    _draw_band(axes, shown, "threshold", "net_benefit", "model")
    x, y = shown["threshold"], shown["of_all"]
    axes.plot(x, y, color=MUTED, linestyle=(0, (5, 1.5)), label="call all positive")
    axes.axhline(0, color=INK, linewidth=1, label="call none")
    axes.set_ylim(-0.02, float(shown["net_benefit_high"].max()) * 1.1 + 0.01)
    x_label, y_label = "Threshold on the probability", "Net benefit, share of images"
    style_axes(axes, "Decision curve (band: 95% interval)", x_label, y_label)
    axes.legend(loc="upper right", frameon=False, fontsize=9, labelcolor=INK)


def _draw_cost(axes: Axes, of: pd.DataFrame, point: dict[str, Interval] | None) -> None:
    share = np.linspace(0, 1, 201)
    points = of[["sensitivity", "specificity"]].to_numpy()
    best = np.min([expected_cost(share, *pair) for pair in points], axis=0)
    trivial = np.minimum(share, 1 - share)
    label = "model, best threshold"
    axes.plot(share, np.minimum(best, trivial), color=MODEL_COLOURS[0], linewidth=2, label=label)
    axes.plot(share, trivial, label="all or none positive", color=MUTED, linestyle=(0, (5, 1.5)))
    if point:
        cost = expected_cost(share, point["sensitivity"].value, point["specificity"].value)
        axes.plot(share, cost, color=MODEL_COLOURS[1], linewidth=1.6, label="chosen")
    axes.set_ylim(0, 0.72)
    axes.set_xlim(0, 1)
    x_label, y_label = "Weight of misses among all mistakes", "Normalised expected cost"
    style_axes(axes, "Cost curve", x_label, y_label)
    axes.legend(loc="upper right", frameon=False, fontsize=9, labelcolor=INK)
