"""The files of a comparison over seeds that programs read: metrics.json and three tables."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from doctor_derma.evaluation.cost import Cost
from doctor_derma.evaluation.replicates import SeedComparison
from doctor_derma.evaluation.replicates_tables import describe_outcome
from doctor_derma.evaluation.results import count_cases, describe_bootstrap


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
        **count_cases(comparison.models[0]),
        "bootstrap": {**describe_bootstrap(resamples, seed), "unit": "seed and lesion"},
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
    runs = [
        {
            "architecture": architecture,
            "seed": seed,
            "run": comparison.runs[architecture][column],
            **{metric: values[row, column] for metric, values in comparison.values.items()},
        }
        for row, architecture in enumerate(comparison.architectures)
        for column, seed in enumerate(comparison.seeds)
    ]
    differences = [
        {
            "metric": d.metric,
            "first": d.first,
            "second": d.second,
            **{f"seed_{s}": step for s, step in zip(comparison.seeds, d.by_seed, strict=True)},
            "mean": d.interval.value,
            "low": d.interval.low,
            "high": d.interval.high,
            "p_value": d.p_value,
            "p_holm": d.p_holm,
        }
        for d in comparison.differences
    ]
    cost = [
        {
            "architecture": architecture,
            "parameters": of.parameters,
            "macs": of.macs,
            **{f"images_per_second_{n}": speed for n, speed in of.images_per_second.items()},
        }
        for architecture, of in costs.items()
    ]
    for name, rows in (("replicates", runs), ("differences", differences), ("cost", cost)):
        pd.DataFrame(rows).to_csv(folder / f"{name}.csv", index=False, float_format="%.6g")
