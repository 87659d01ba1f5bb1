"""A comparison over seeds in tables and sentences, for the terminal and the report."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from doctor_derma.evaluation.cost import BATCHES, Cost
from doctor_derma.evaluation.replicates import SeedComparison, SeedDifference, compared_metrics
from doctor_derma.evaluation.tables import Table, as_text, counted, format_p, state_p, with_arrow


def seed_comparison_tables(comparison: SeedComparison, costs: dict[str, Cost]) -> list[Table]:
    """Tabulate what the data say, the architectures, their differences and their costs."""
    pairs = dict.fromkeys((d.first, d.second) for d in comparison.differences)
    return [
        _findings_table(comparison),
        _means_table(comparison),
        *(_difference_table(comparison, first, second) for first, second in pairs),
        _cost_table(costs),
    ]


def describe_outcome(comparison: SeedComparison) -> str:
    """Say in plain words which differences, if any, are larger than luck."""
    titles = compared_metrics(comparison.models[0].classes)
    count, lesions = len(comparison.seeds), comparison.models[0].lesion_count
    luck = f"the luck of {counted(count, 'seed')} and {counted(lesions, 'lesion')}"
    caveat = " One seed says nothing of how much seeds matter." if count == 1 else ""
    clear = [d for d in comparison.differences if d.is_clear]
    if not clear:
        names = _listed(comparison.architectures)
        return f"Between {names}, no difference in any metric is larger than {luck}.{caveat}"
    found = "; ".join(
        f"{_lower(titles[d.metric])} of {d.second} minus {d.first}, {d.interval.signed}"
        for d in clear
    )
    others = len(comparison.differences) - len(clear)
    rest = f" The other {others} {'is' if others == 1 else 'are'} not." if others else ""
    return f"Differences larger than {luck}: {found}.{rest}{caveat}"


def describe_metric(family: Sequence[SeedDifference]) -> str:
    """Say in plain words what the data say of every pair's difference in one metric."""
    defined = [d for d in family if np.isfinite(d.interval.value)]
    if not defined:
        return "Undefined: a class has no images."
    if clear := [d for d in defined if d.is_clear]:
        others = "; no other difference is larger than luck" if len(clear) < len(family) else ""
        return f"Larger than luck: {'; '.join(map(_described, clear))}{others}."
    largest = max(defined, key=lambda d: abs(d.interval.value))
    which = "" if len(family) == 1 else "; the largest is"
    return f"No difference larger than luck{which or ':'} {_described(largest)}."


def runs_provenance_table(infos: Mapping[str, Mapping[str, Any]]) -> Table:
    """Tabulate what is known of the runs: once where they agree, else run by run."""
    flat = {
        run: {**info, **{f"recipe.{k}": v for k, v in info.get("recipe", {}).items()}}
        for run, info in infos.items()
    }
    keys = dict.fromkeys(key for known in flat.values() for key in known if key != "recipe")
    rows = []
    for key in keys:
        texts = {run: as_text(known.get(key, "")) for run, known in flat.items()}
        agreed = len(set(texts.values())) == 1
        by_run = "; ".join(f"{run}: {text}" for run, text in texts.items())
        rows.append((key, next(iter(texts.values())) if agreed else by_run))
    return Table("Provenance", ("", "Runs"), tuple(rows), words=2)


def _described(d: SeedDifference) -> str:
    agreeing = sum(np.sign(step) == np.sign(d.interval.value) for step in d.by_seed)
    return (
        f"{d.second} minus {d.first}, {d.interval.signed}, "
        f"with that sign in {agreeing} of {len(d.by_seed)} seeds, "
        f"{state_p(d.p_holm)}"
    )


def _findings_table(comparison: SeedComparison) -> Table:
    rows = (
        (title, describe_metric([d for d in comparison.differences if d.metric == metric]))
        for metric, title in compared_metrics(comparison.models[0].classes).items()
    )
    outcome = describe_outcome(comparison)
    return Table("What the data say", ("Metric", "Finding"), tuple(rows), outcome, words=2)


def _means_table(comparison: SeedComparison) -> Table:
    rows = (
        (
            with_arrow(metric, title),
            *(
                f"{of.mean():.3f} ({of.min():.3f}\N{EN DASH}{of.max():.3f})"
                for of in comparison.values[metric]
            ),
        )
        for metric, title in compared_metrics(comparison.models[0].classes).items()
    )
    return Table(
        f"Mean over seeds {_listed([str(seed) for seed in comparison.seeds])} (lowest to highest)",
        ("Metric", *comparison.architectures),
        tuple(rows),
        "↑ higher is better, ↓ lower is better.",
    )


def _difference_table(comparison: SeedComparison, first: str, second: str) -> Table:
    titles = compared_metrics(comparison.models[0].classes)
    rows = (
        (
            with_arrow(d.metric, titles[d.metric]),
            "  ".join(f"{step:+.3f}" for step in d.by_seed),
            d.interval.signed,
            format_p(d.p_value),
            format_p(d.p_holm),
        )
        for d in comparison.differences
        if (d.first, d.second) == (first, second)
    )
    return Table(
        f"{second} minus {first}",
        ("Metric", "By seed", "Mean (95% interval)", "p", "p (Holm)"),
        tuple(rows),
        "Seeds and lesions resampled, the same for both. Two-sided bootstrap p, corrected by "
        "Holm's method for the pairs of each metric.",
    )


def _cost_table(costs: dict[str, Cost]) -> Table:
    rows = (
        (
            architecture,
            f"{cost.parameters:,}",
            f"{cost.macs / 1e6:,.2f}",
            *(f"{cost.images_per_second[batch]:,.0f}" for batch in BATCHES),
        )
        for architecture, cost in costs.items()
    )
    return Table(
        "Costs",
        (
            "Architecture",
            "Parameters",
            "Million MACs an image",
            *(f"Images a second, {batch} at a time" for batch in BATCHES),
        ),
        tuple(rows),
        "MACs: multiply-accumulates of convolutions and matrix products. Speed: the exported "
        "bundle on one thread, without decoding; depends on the machine.",
    )


def _lower(title: str) -> str:
    """Put a title into a sentence: no capital where it isn't an abbreviation's."""
    return title[0].lower() + title[1:]


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
