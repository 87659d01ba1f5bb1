"""Means over groups of pictures, with intervals from resampled lesions."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from doctor_derma.errors import DermaError
from doctor_derma.evaluation.bootstrap import (
    RESAMPLES,
    Interval,
    chunk_sizes,
    lesion_weights,
    percentile_interval,
)
from doctor_derma.evaluation.metrics import ratio
from doctor_derma.terminal import with_progress

ALL = "all"


@dataclass(frozen=True, eq=False)
class GroupMeans:
    """Means of m figures over g groups, each float64 [g, m]; nan for an empty group."""

    value: np.ndarray
    low: np.ndarray
    high: np.ndarray


def group_means(
    figures: np.ndarray, members: np.ndarray, lesions: np.ndarray, resamples: int, seed: int
) -> GroupMeans:
    """Average figures over groups of pictures, with 95% percentile intervals.

    All figures and groups share the draws of lesions, so that the interval of a column of
    differences is that of the paired difference.

    Parameters
    ----------
    figures : float64 [n, m], m figures of each of n pictures
    members : bool [g, n], which pictures are in each of g groups
    lesions : str [n], lesion of each picture
    resamples, seed : of the bootstrap over lesions

    Raises
    ------
    DermaError
        When ``resamples`` is below 1.
    """
    if resamples < 1:
        raise DermaError(f"resamples: {resamples} is too few; use 1 or more, such as {RESAMPLES}")
    sizes = chunk_sizes(resamples, len(lesions))
    chunks = with_progress(
        lesion_weights(lesions, sizes, seed), "Bootstrap over lesions", len(sizes)
    )
    draws = np.concatenate([_weighted_means(figures, members, weights) for weights in chunks])
    value = _weighted_means(figures, members, np.ones((1, len(lesions))))[0]
    low, high = np.empty_like(value), np.empty_like(value)
    for place in np.ndindex(value.shape):
        interval = percentile_interval(value[place], draws[:, *place])
        low[place], high[place] = interval.low, interval.high
    return GroupMeans(value, low, high)


def interval_at(indexed: pd.DataFrame, key: tuple) -> Interval:
    """Return the figure at a full key of an indexed frame with value, low and high."""
    figure = indexed.loc[key]
    return Interval(float(figure["value"]), float(figure["low"]), float(figure["high"]))


def _weighted_means(figures: np.ndarray, members: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Average for R sets of case weights [R, n]; return [R, g, m]."""
    means = [
        ratio(weights[:, of] @ figures[of], weights[:, of].sum(axis=1, keepdims=True))
        for of in members
    ]
    return np.stack(means, axis=1)
