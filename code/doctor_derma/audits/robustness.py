"""What corrupted pictures cost: every metric at every severity, and the drop from clean."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from PIL import Image

from doctor_derma.audits.corruptions import CORRUPTIONS, SEVERITIES, TITLES, corrupt
from doctor_derma.audits.groups import ALL, interval_of
from doctor_derma.cpus import usable_cpus
from doctor_derma.errors import DermaError
from doctor_derma.evaluation.bootstrap import (
    RESAMPLES,
    Interval,
    percentile_interval,
    resampled,
    resampled_metrics,
)
from doctor_derma.evaluation.metrics import LOWER_IS_BETTER
from doctor_derma.evaluation.plots import style
from doctor_derma.evaluation.predictions import Predictions, open_picture
from doctor_derma.evaluation.tables import Table
from doctor_derma.images.decoding import fit_pixels
from doctor_derma.inference.classifier import Classifier
from doctor_derma.terminal import with_progress

CLEAN = "clean"
MEAN = "mean"
METRICS = ("accuracy", "balanced_accuracy", "macro_auc", "ece")
CHANGED = "decisions_changed"
SHOWN = {"accuracy": "Accuracy", "balanced_accuracy": "Balanced accuracy"}
LOOKS = dict(zip(SHOWN, zip(style.MODEL_COLOURS, ("o", "s"), strict=False), strict=True))
COLUMNS = 5
_WORSE_IS_MORE = LOWER_IS_BETTER | {CHANGED}
_PICTURES_AT_ONCE = 16


def measure_robustness(
    classifier: Classifier,
    predictions: Predictions,
    resamples: int = RESAMPLES,
    seed: int = 0,
    limit: int | None = None,
) -> pd.DataFrame:
    """Predict every picture under every corruption and severity, and compare with clean.

    A picture is decoded once, corrupted at its own size, then scaled to the network's. The clean
    metrics are those of ``predictions``.

    Parameters
    ----------
    classifier : the one that made ``predictions``
    predictions : of n images whose paths are known
    resamples, seed : of the bootstrap over lesions; ``seed`` also draws the subset
    limit : predict about so many images only, as ``stratified_subset`` draws them; the fewer
        lesions the rare classes have left, the rougher is balanced accuracy

    Returns
    -------
    DataFrame, one row per value
        - ``corruption``: a name of ``CORRUPTIONS``, ``clean``, or ``all`` for their mean
        - ``severity``: ``"0"`` for clean, ``"1"`` to ``"5"``, or ``"mean"`` over the five
        - ``metric``: ``accuracy``, ``balanced_accuracy``, ``macro_auc``, ``ece``, or
          ``decisions_changed``, the share of images that are called another class
        - ``value``, ``low``, ``high``: with its 95% interval; a mean has that of the same draws
        - ``drop``, ``drop_low``, ``drop_high``: how much worse than clean, on the same draws of
          lesions; above 0 is worse for every metric
        - ``images``, ``lesions``: behind the value

    Raises
    ------
    DermaError
        When a picture path is unknown, a picture can't be decoded, the classifier has
        other classes, or ``limit`` or ``resamples`` is less than 1.
    """
    clean = predictions if limit is None else stratified_subset(predictions, limit, seed)
    probabilities = _predict_corrupted(classifier, clean)
    found = _measure(clean, probabilities, resamples, seed)
    rows: list[list[Any]] = []
    for corruption, severity, versions in _groups():
        for metric, of in found.items():
            mean = of[versions].mean(axis=0)
            sign = 1 if metric in _WORSE_IS_MORE else -1
            level, drop = percentile_interval(mean), percentile_interval(sign * (mean - of[0]))
            rows.append([corruption, severity, metric, level.value, level.low, level.high])
            rows[-1] += [drop.value + 0.0, drop.low, drop.high]  # Not -0.
    values = ["value", "low", "high", "drop", "drop_low", "drop_high"]
    frame = pd.DataFrame(rows, columns=["corruption", "severity", "metric", *values])
    return frame.assign(images=len(clean.images), lesions=clean.lesion_count)


def stratified_subset(predictions: Predictions, limit: int, seed: int) -> Predictions:
    """Draw about ``limit`` images, by whole lesions, with the classes in the same shares.

    Each class that has images keeps at least one lesion, and a lesion all its images, so
    that a few more images than ``limit`` may come. All come when there are no more than that.
    Their order stays.

    Raises
    ------
    DermaError
        When ``limit`` is less than 1.
    """
    count = len(predictions.images)
    if limit < 1:
        raise DermaError(f"limit: {limit} is too few images; use 1 or more")
    if limit >= count:
        return predictions
    _, first_image, lesion_of, sizes = np.unique(
        predictions.lesions, return_index=True, return_inverse=True, return_counts=True
    )
    class_of = predictions.labels[first_image]
    generator = np.random.default_rng(seed)
    kept = np.zeros(len(sizes), dtype=bool)
    for label in np.unique(class_of):
        shuffled = generator.permutation(np.flatnonzero(class_of == label))
        wanted = limit * sizes[shuffled].sum() / count
        # A lesion is drawn while those before it fall short of the class's share.
        before = np.cumsum(sizes[shuffled]) - sizes[shuffled]
        kept[shuffled[before < wanted - 0.5]] = True
        kept[shuffled[0]] = True
    return predictions.take(np.flatnonzero(kept[lesion_of]))


def _predict_corrupted(classifier: Classifier, predictions: Predictions) -> np.ndarray:
    """Predict each picture under every corruption and severity, float64 [V, n, K].

    The versions V are the severities of the first of ``CORRUPTIONS``, then those of the next.
    """
    if tuple(classifier.class_names) != predictions.classes:
        raise DermaError(
            f"{predictions.name}: its classes are not those of {classifier.name}; "
            "predict the split with the model that is audited"
        )
    if not all(predictions.paths):
        raise DermaError(f"{predictions.name}: a picture path is unknown; predict the split again")

    def load(path: str, image: str) -> np.ndarray:
        pixels = np.asarray(open_picture(Path(path)))
        versions = (corrupt(name, pixels, s, image) for name in CORRUPTIONS for s in SEVERITIES)
        height, width = classifier.height, classifier.width
        return np.stack([fit_pixels(Image.fromarray(v), height, width) for v in versions])

    def pictures() -> Iterator[np.ndarray]:
        # A few pictures at a time, as all their versions wait in memory.
        with ThreadPoolExecutor(usable_cpus()) as pool:
            for start in range(0, len(predictions.images), _PICTURES_AT_ONCE):
                part = slice(start, start + _PICTURES_AT_ONCE)
                yield from pool.map(load, predictions.paths[part], predictions.images[part])

    steps = with_progress(pictures(), "Predicting corrupted pictures", len(predictions.images))
    outputs = [classifier.predict_pixels(versions)[0] for versions in steps]
    return np.stack(outputs, axis=1).astype(np.float64)


def _measure(
    clean: Predictions, probabilities: np.ndarray, resamples: int, seed: int
) -> dict[str, np.ndarray]:
    """Return each metric, float64 [1 + V, 1 + R], first of clean and of the images as they are."""
    corrupted = (replace(clean, probabilities=p, activation_maps=None) for p in probabilities)
    models = [clean, *corrupted]
    changed = np.stack([model.predicted != clean.predicted for model in models])

    def share(weights: np.ndarray) -> dict[str, np.ndarray]:
        return {CHANGED: weights @ changed.T / weights.sum(axis=1, keepdims=True)}

    # The same seed gives the same draws of lesions.
    metrics = resampled_metrics(models, resamples, seed)
    [shares] = resampled(clean.lesions, [share], resamples, seed)
    found = {metric: np.stack([one[metric] for one in metrics]) for metric in METRICS}
    return found | {CHANGED: shares[CHANGED].T.copy()}


def _groups() -> Iterator[tuple[str, str, slice]]:
    """Name each value's corruption and severity, and the versions that it is the mean of."""
    yield CLEAN, "0", slice(0, 1)
    for number, name in enumerate(CORRUPTIONS):
        first = 1 + number * len(SEVERITIES)
        for position, severity in enumerate(SEVERITIES, first):
            yield name, str(severity), slice(position, position + 1)
        yield name, MEAN, slice(first, first + len(SEVERITIES))
    yield ALL, MEAN, slice(1, None)


def find_interval(
    frame: pd.DataFrame, corruption: str, severity: str, metric: str, of: str = "value"
) -> Interval:
    """Look up one value of ``measure_robustness``; ``of`` is ``value`` or ``drop``."""
    named = (frame["corruption"] == corruption) & (frame["severity"] == severity)
    return interval_of(frame[named & (frame["metric"] == metric)].iloc[0], of)


def robustness_table(frame: pd.DataFrame) -> Table:
    """Tabulate what each corruption of `measure_robustness` costs on the mean of its severities."""
    columns = {
        ("accuracy", "drop"): "Accuracy lost",
        ("balanced_accuracy", "drop"): "Balanced accuracy lost",
        (CHANGED, "value"): "Decisions changed",
    }
    rows = (
        (name, *(str(find_interval(frame, name, MEAN, *column)) for column in columns))
        for name in (*CORRUPTIONS, ALL)
    )
    accuracy, balanced = (find_interval(frame, CLEAN, "0", metric) for metric in METRICS[:2])
    return Table(
        f"Robustness on {_extent(frame)}",
        ("Corruption", *columns.values()),
        tuple(rows),
        f"Means over severities 1 to 5 (95% interval). Clean: accuracy {accuracy}, balanced "
        f"accuracy {balanced}. Lost: clean minus corrupted, on the same resampled lesions.",
    )


def plot_robustness(frame: pd.DataFrame) -> Figure:
    """Draw one panel a corruption of `measure_robustness`: both accuracies by severity."""
    rows = -(-len(CORRUPTIONS) // COLUMNS)
    figure = style.new_figure(2.5 * COLUMNS, 2.75 * rows + 0.7)
    panels = figure.subplots(rows, COLUMNS, sharex=True, sharey=True, squeeze=False)
    for axes, name in zip(panels.flat, CORRUPTIONS, strict=True):
        for metric in SHOWN:
            _draw_metric(axes, frame, name, metric)
        style.style_axes(axes, TITLES[name], "", "")
        axes.set_xticks(SEVERITIES)
    for axes in panels[:, 0]:
        axes.set_ylabel("Share called rightly", color=style.INK, fontsize=10)
    for axes in panels[-1]:
        axes.set_xlabel("Severity", color=style.INK, fontsize=10)
    shown = frame[frame["metric"].isin(SHOWN)]
    panels[0, 0].set_ylim(max(0, shown["low"].min() - 0.03), min(1.01, shown["high"].max() + 0.03))
    title = "Robustness by severity; bands are 95% intervals, dashes clean pictures"
    style.write_title(figure, f"{title}\n{_extent(frame)}")
    style.legend_below(figure, panels[0, 0], len(SHOWN), "")
    return figure


def plot_robustness_drops(frame: pd.DataFrame) -> Figure:
    """Draw each corruption's mean drop of `measure_robustness`, the worst on top."""
    drops = {
        (metric, name): find_interval(frame, name, MEAN, metric, "drop")
        for metric in SHOWN
        for name in (ALL, *CORRUPTIONS)
    }
    names = [ALL, *sorted(CORRUPTIONS, key=lambda name: drops["balanced_accuracy", name].value)]
    figure = style.new_figure(11.6, 0.8 + 0.4 * len(names))
    panels = figure.subplots(1, len(SHOWN), sharey=True, sharex=True)
    for axes, (metric, title) in zip(panels, SHOWN.items(), strict=True):
        for row, name in enumerate(names):
            interval = drops[metric, name]
            style.draw_interval(axes, row, interval, style.INK if name == ALL else LOOKS[metric][0])
            style.write_beside(axes, row, interval.signed)
        style.style_axes(axes, title, "Lost against clean (right of 0: worse), 95% interval", "")
        axes.axvline(0, color=style.INK, linewidth=1, zorder=1)
        axes.axhline(0.5, color=style.INK, linewidth=0.6)
        axes.set_yticks(range(len(names)), [TITLES[name] for name in names])
        axes.xaxis.set_major_locator(MaxNLocator(5))
    style.write_title(figure, f"What corruptions cost, mean over five severities\n{_extent(frame)}")
    return figure


def _draw_metric(axes: Axes, frame: pd.DataFrame, corruption: str, metric: str) -> None:
    colour, marker = LOOKS[metric]
    clean = find_interval(frame, CLEAN, "0", metric).value
    axes.axhline(clean, color=colour, linewidth=1.1, linestyle=(0, (4, 3)))
    of = [find_interval(frame, corruption, str(severity), metric) for severity in SEVERITIES]
    low, high = [one.low for one in of], [one.high for one in of]
    axes.fill_between(SEVERITIES, low, high, color=colour, alpha=0.2, linewidth=0)
    axes.plot(SEVERITIES, [one.value for one in of], color=colour, marker=marker, markersize=4.5)
    axes.lines[-1].set(linewidth=1.6, label=SHOWN[metric])


def _extent(frame: pd.DataFrame) -> str:
    return f"{frame['images'].iloc[0]:,} images of {frame['lesions'].iloc[0]:,} lesions"
