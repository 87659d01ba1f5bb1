"""A comparison over seeds as tables, sentences, plot and report, in one folder."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from doctor_derma.atomic import replacing_own_folder
from doctor_derma.evaluation.bootstrap import RESAMPLES
from doctor_derma.evaluation.cost import BATCHES, Cost
from doctor_derma.evaluation.plots.comparisons import plot_seed_differences
from doctor_derma.evaluation.predictions import Predictions
from doctor_derma.evaluation.report import METRICS_FILE, describe_sample, extent, write_report
from doctor_derma.evaluation.seeds import (
    SeedComparison,
    SeedDifference,
    SeedRun,
    compare_over_seeds,
)
from doctor_derma.evaluation.tables import (
    Table,
    as_text,
    counted,
    difference_tables,
    state_p,
    with_arrow,
)


def write_seed_comparison(
    runs: Sequence[SeedRun],
    models: Sequence[Predictions],
    infos: Sequence[Mapping[str, Any]],
    costs: dict[str, Cost],
    folder: Path,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> SeedComparison:
    """Compare architectures over seeds and replace the folder of that comparison.

    Written are ``replicates.csv`` (a row a run), ``differences.csv`` (a row a metric and pair
    of architectures), ``cost.csv``, ``metrics.json``, ``replicates.png`` and ``report.html``.

    Parameters
    ----------
    runs, models : the runs and their predictions of the same images
    infos : what is known of each run, as for ``write_evaluation``
    costs : architecture -> what it costs on one thread
    folder : such as ``evaluation_images/seeds``
    resamples, seed : of the bootstrap

    Raises
    ------
    DermaError
        As ``compare_over_seeds`` does, or when ``folder`` holds something else than results.
    """
    with replacing_own_folder(folder, METRICS_FILE) as scratch:
        comparison = compare_over_seeds(runs, models, resamples, seed)
        by_run = {run.name: info for run, info in zip(runs, infos, strict=True)}
        write_seed_tables(comparison, costs, scratch)
        names = ", ".join(comparison.architectures)
        write_report(
            scratch,
            seed_comparison_summary(comparison, by_run, costs, resamples, seed),
            title=f"Comparison of {names} over {counted(len(comparison.seeds), 'seed')}",
            subtitle=f"{extent(comparison.models[0])}, split '{infos[0].get('split', 'unknown')}'",
            tables=seed_comparison_tables(comparison, costs),
            provenance=runs_provenance_table(by_run),
            figures={"replicates": plot_seed_differences(comparison)},
        )
    return comparison


def seed_comparison_summary(
    comparison: SeedComparison,
    infos: Mapping[str, Mapping[str, Any]],
    costs: Mapping[str, Cost],
    resamples: int,
    seed: int,
) -> dict[str, Any]:
    """Sum up several architectures over seeds: metrics by seed, costs, differences, runs."""
    return {
        "finding": describe_outcome(comparison),
        **describe_sample(comparison.models[0], resamples, seed, unit="seed and lesion"),
        "seeds": list(comparison.seeds),
        "architectures": {
            name: {
                "runs": list(comparison.runs[name]),
                "cost": asdict(costs[name]),
                "metrics": {
                    metric: {
                        "mean": float(values[row].mean()),
                        "lowest": float(values[row].min()),
                        "highest": float(values[row].max()),
                        "by_seed": values[row].tolist(),
                    }
                    for metric, values in comparison.values.items()
                },
            }
            for row, name in enumerate(comparison.architectures)
        },
        "differences": [asdict(difference) for difference in comparison.differences],
        "runs": {name: dict(info) for name, info in infos.items()},
    }


def write_seed_tables(comparison: SeedComparison, costs: Mapping[str, Cost], folder: Path) -> None:
    """Write ``replicates.csv``, a row a run with its metrics; ``differences.csv``, a row a
    metric and pair of architectures; and ``cost.csv``, a row an architecture."""
    names, seeds = comparison.architectures, comparison.seeds
    runs = {
        "architecture": np.repeat(names, len(seeds)),
        "seed": seeds * len(names),
        "run": [run for name in names for run in comparison.runs[name]],
        **{metric: values.ravel() for metric, values in comparison.values.items()},
    }
    differences = [
        {
            **{"metric": d.metric, "first": d.first, "second": d.second},
            **{f"seed_{s}": step for s, step in zip(seeds, d.by_seed, strict=True)},
            **{"mean": d.interval.value, "low": d.interval.low, "high": d.interval.high},
            **{"p_value": d.p_value, "p_holm": d.p_holm},
        }
        for d in comparison.differences
    ]
    cost = [
        {
            **{"architecture": architecture, "parameters": of.parameters, "macs": of.macs},
            **{f"images_per_second_{n}": speed for n, speed in of.images_per_second.items()},
        }
        for architecture, of in costs.items()
    ]
    for name, rows in (("replicates", runs), ("differences", differences), ("cost", cost)):
        pd.DataFrame(rows).to_csv(folder / f"{name}.csv", index=False, float_format="%.6g")


def seed_comparison_tables(comparison: SeedComparison, costs: dict[str, Cost]) -> list[Table]:
    """Tabulate what the data say, the architectures, their differences and their costs."""
    resampled = "Seeds and lesions resampled, the same for both."
    return [
        _findings_table(comparison),
        _means_table(comparison),
        *difference_tables(comparison.differences, comparison.titles, resampled),
        _cost_table(costs),
    ]


def describe_outcome(comparison: SeedComparison) -> str:
    """Say in plain words which differences, if any, are significant."""
    count, lesions = len(comparison.seeds), comparison.models[0].lesion_count
    over = f"over {counted(count, 'seed')} and {counted(lesions, 'lesion')}"
    caveat = " One seed says nothing of how much seeds matter." if count == 1 else ""
    significant = [d for d in comparison.differences if d.is_significant]
    if not significant:
        names = _listed(comparison.architectures)
        return f"Between {names}, no difference in any metric is significant {over}.{caveat}"
    found = "; ".join(
        f"{_lower(comparison.titles[d.metric])} of {d.second} minus {d.first}, {d.interval.signed}"
        for d in significant
    )
    others = len(comparison.differences) - len(significant)
    rest = f" The other {others} {'is' if others == 1 else 'are'} not." if others else ""
    return f"Significant {over}: {found}.{rest}{caveat}"


def describe_metric(family: Sequence[SeedDifference]) -> str:
    """Say in plain words what the data say of every pair's difference in one metric."""
    defined = [d for d in family if np.isfinite(d.interval.value)]
    if not defined:
        return "Undefined: a class has no images."
    if significant := [d for d in defined if d.is_significant]:
        others = "; no other difference is significant" if len(significant) < len(family) else ""
        return f"Significant: {'; '.join(map(_described, significant))}{others}."
    largest = max(defined, key=lambda d: abs(d.interval.value))
    which = ":" if len(family) == 1 else "; the largest is"
    return f"No significant difference{which} {_described(largest)}."


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
        f"with that sign in {agreeing} of {len(d.by_seed)} seeds, {state_p(d.p_holm)}"
    )


def _findings_table(comparison: SeedComparison) -> Table:
    rows = (
        (title, describe_metric([d for d in comparison.differences if d.metric == metric]))
        for metric, title in comparison.titles.items()
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
        for metric, title in comparison.titles.items()
    )
    return Table(
        f"Mean over seeds {_listed([str(seed) for seed in comparison.seeds])} (lowest to highest)",
        ("Metric", *comparison.architectures),
        tuple(rows),
        "↑ higher is better, ↓ lower is better.",
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
    return title[0].lower() + title[1:]


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
