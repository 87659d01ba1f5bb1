"""Which runs make a comparison over seeds: every architecture once with every seed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from doctor_derma.errors import DermaError


@dataclass(frozen=True)
class Replicate:
    """One run of an architecture: its name, and the seed that it was trained with."""

    name: str
    architecture: str
    seed: int


def pair_replicates(replicates: Sequence[Replicate]) -> dict[str, dict[int, Replicate]]:
    """Sort runs into architecture -> seed -> run: the architectures as given, seeds ascending.

    Raises
    ------
    DermaError
        When there are fewer than two architectures, one was given a seed twice, or one
        lacks a seed of another.
    """
    found: dict[str, dict[int, Replicate]] = {}
    for run in replicates:
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
    seeds = sorted({run.seed for run in replicates})
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
