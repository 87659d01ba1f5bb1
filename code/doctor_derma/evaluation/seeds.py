"""Architectures in comparison over several seeds each, on the same images.

Two runs of one recipe differ by luck alone when their seeds do. A difference between two
architectures is worth a word only if it outlasts that luck as well as the choice of test
lesions (Bouthillier et al., Accounting for Variance in Machine Learning Benchmarks, MLSys
2021, arXiv:2103.03098).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from typing import Any

import numpy as np

from doctor_derma.decisions import MELANOMA
from doctor_derma.errors import DermaError
from doctor_derma.evaluation.bootstrap import RESAMPLES, percentile_interval, resampled_metrics
from doctor_derma.evaluation.comparison import (
    Difference,
    align_models,
    bootstrap_p_value,
    with_holm,
)
from doctor_derma.evaluation.metrics import HEADLINE_METRICS, MELANOMA_METRICS
from doctor_derma.evaluation.predictions import Predictions


@dataclass(frozen=True)
class SeedRun:
    """A run of an architecture: its name, and the seed that it was trained with."""

    name: str
    architecture: str
    seed: int


def pair_runs(runs: Sequence[SeedRun]) -> dict[str, dict[int, SeedRun]]:
    """Sort runs into architecture -> seed -> run: the architectures as given, seeds ascending.

    Raises
    ------
    DermaError
        When there are fewer than two architectures, one was given a seed twice, or one
        lacks a seed of another.
    """
    found: dict[str, dict[int, SeedRun]] = {}
    for run in runs:
        of = found.setdefault(run.architecture, {})
        if other := of.get(run.seed):
            raise DermaError(
                f"compare: {other.name} and {run.name} are both {run.architecture} with seed "
                f"{run.seed}; name one run for each architecture and seed"
            )
        of[run.seed] = run
    if len(found) < 2:
        given = f"only runs of {next(iter(found))}" if found else "no runs"
        raise DermaError(f"compare: {given} given; name runs of two architectures or more")
    seeds = sorted({run.seed for run in runs})
    for architecture, of in found.items():
        if missing := [seed for seed in seeds if seed not in of]:
            raise DermaError(
                f"compare: {architecture} has no run with seed {missing[0]}, but another "
                "architecture has; train it or leave that seed out"
            )
    return {architecture: {s: of[s] for s in seeds} for architecture, of in found.items()}


def differing_settings(recipes: Sequence[Mapping[str, Any]]) -> list[str]:
    """Name the settings besides model and seed in which recipes differ, where they have them.

    A recipe lacks the settings that were added after its run.
    """
    names = dict.fromkeys(name for recipe in recipes for name in recipe)
    return [
        name
        for name in names
        if name not in ("model", "seed")
        and any(a != b for a, b in pairwise([r[name] for r in recipes if name in r]))
    ]


@dataclass(frozen=True)
class SeedDifference(Difference):
    """A difference of each seed, ``by_seed``, and its mean over the seeds, ``interval``."""

    by_seed: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class SeedComparison:
    """What ``compare_over_seeds`` found, of A architectures and S seeds.

    Attributes
    ----------
    architectures : their A names, in the order given
    seeds : the S seeds, ascending
    runs : architecture -> the names of its runs, in the order of the seeds
    models : all A x S predictions, in the order of the first one's images
    values : metric -> float64 [A, S]
    differences : each metric of every pair of architectures
    """

    architectures: tuple[str, ...]
    seeds: tuple[int, ...]
    runs: dict[str, tuple[str, ...]]
    models: tuple[Predictions, ...]
    values: dict[str, np.ndarray]
    differences: tuple[SeedDifference, ...]

    @property
    def titles(self) -> dict[str, str]:
        """The metrics that are compared, and what they are called."""
        return compared_metrics(self.models[0].classes)


def compared_metrics(classes: Sequence[str]) -> dict[str, str]:
    """Name the metrics that are compared: the headline, and a figure of melanoma if it's known."""
    chosen = ("macro_auc", "balanced_accuracy", "accuracy", "ece")
    titles = {metric: HEADLINE_METRICS[metric] for metric in chosen}
    return titles | MELANOMA_METRICS if MELANOMA in classes else titles


def compare_over_seeds(
    runs: Sequence[SeedRun],
    models: Sequence[Predictions],
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> SeedComparison:
    """Compare architectures by the mean over seeds, seeds and test lesions resampled.

    Each resample draws S of the S seeds and L of the L lesions, both with replacement and
    the same for all architectures, and takes the mean over the drawn seeds of the difference
    on the drawn lesions. As every run sees every lesion, seeds and lesions are crossed, and
    they are drawn independently of each other: the pigeonhole bootstrap (Owen, The pigeonhole
    bootstrap, Annals of Applied Statistics 1, 2007, doi:10.1214/07-AOAS122). P-values and
    their correction are those of ``compare``.

    Parameters
    ----------
    runs : every architecture with the same seeds
    models : their predictions on the same images, one a run
    resamples, seed : of the bootstrap, as for ``bootstrap_metrics``

    Notes
    -----
    What so few seeds can say is limited:

    - Drawing from S seeds shows (S - 1) / S of the variance that seeds have, and the seeds'
      part of a draw is never outside the range of the S. Where all luck is the seed's, the
      interval is too short and p too small.
    - Luck of one seed on one lesion is counted 3 - 2 / S times (nearly, for many lesions), so
      where runs differ by lesions here and there the interval is too long.
    - With one seed it says nothing of seeds: it is the interval of ``compare``.

    Raises
    ------
    DermaError
        As ``pair_runs`` and ``compare`` do.
    """
    paired = pair_runs(runs)
    by_name = dict(zip((run.name for run in runs), models, strict=True))
    names = {name: tuple(run.name for run in of.values()) for name, of in paired.items()}
    aligned = align_models([by_name[run] for of in names.values() for run in of])
    metrics = compared_metrics(aligned[0].classes)
    found = resampled_metrics(aligned, resamples, seed)
    # By architecture, seed and resample, of which the first is the images as they are.
    draws = {key: np.stack([one[key] for one in found]) for key in metrics}
    draws = {key: of.reshape(len(names), -1, 1 + resamples) for key, of in draws.items()}
    values = {key: of[..., 0] for key, of in draws.items()}
    seeds = tuple(next(iter(paired.values())))
    shares = _drawn_shares(len(seeds), resamples, seed)
    differences: list[SeedDifference] = []
    for metric, value in values.items():
        family = []
        for (i, first), (j, second) in combinations(enumerate(names), 2):
            by_seed = value[j] - value[i]
            drawn = (draws[metric][j] - draws[metric][i])[:, 1:]
            change = (shares * drawn.T).sum(axis=1)
            interval = percentile_interval(np.append(by_seed.mean(), change))
            p = bootstrap_p_value(change)
            steps = tuple(by_seed.tolist())
            family.append(SeedDifference(first, second, metric, interval, p, p, steps))
        differences += with_holm(family)
    return SeedComparison(tuple(names), seeds, names, tuple(aligned), values, tuple(differences))


def _drawn_shares(count: int, resamples: int, seed: int) -> np.ndarray:
    """Draw how much of each resample is of each seed, float64 [resamples, count]."""
    # Another stream than that of the lesions, which starts from the seed alone.
    generator = np.random.default_rng((seed, 1))
    return generator.multinomial(count, np.full(count, 1 / count), size=resamples) / count
