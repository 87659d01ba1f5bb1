"""What a comparison over seeds says and leaves behind."""

import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from doctor_derma.errors import DermaError
from doctor_derma.evaluation.bootstrap import Interval
from doctor_derma.evaluation.cost import Cost
from doctor_derma.evaluation.plots.comparisons import plot_seed_differences
from doctor_derma.evaluation.seeds import SeedComparison, SeedDifference, compare_over_seeds
from doctor_derma.evaluation.seeds_report import (
    describe_metric,
    describe_outcome,
    runs_provenance_table,
    seed_comparison_tables,
    write_seed_comparison,
)
from drawing import assert_drawn
from evaluation.test_seeds import make_runs

SKILLS = {"resnet18": 2.0, "eca_resnet18": 4.0}
COSTS = {
    "resnet18": Cost(11_180_103, 148_049_408, {1: 172.2, 32: 353.7}),
    "eca_resnet18": Cost(11_180_139, 148_058_752, {1: 166.7, 32: 344.8}),
}


def infos(count: int) -> list[dict[str, object]]:
    return [
        {"split": "val", "weights_sha256": f"{index:064d}", "recipe": {"seed": index, "epochs": 9}}
        for index in range(count)
    ]


@pytest.fixture(scope="module")
def comparison() -> SeedComparison:
    return compare_over_seeds(*make_runs(SKILLS, (0, 1), images=150), resamples=100)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("evaluation_images") / "seeds"
    runs, models = make_runs(SKILLS, (0, 1), images=150)
    write_seed_comparison(runs, models, infos(4), COSTS, folder, resamples=100)
    return folder


def rows(path: Path) -> list[dict[str, str]]:
    with path.open() as stream:
        return list(csv.DictReader(stream))


def difference(value: float, p_value: float, first: str = "resnet18") -> SeedDifference:
    interval = Interval(value, value - 0.01, value + 0.01)
    steps = (value - 0.02, value, value + 0.02)
    return SeedDifference(first, "se_resnet18", "accuracy", interval, p_value, p_value, steps)


def test_every_file_is_left(folder: Path) -> None:
    assert {path.name for path in folder.iterdir()} == {
        *("replicates.csv", "differences.csv", "cost.csv"),
        *("metrics.json", "replicates.png", "report.html"),
    }
    # Five panels with one difference each.
    assert_drawn(folder / "replicates.png", (7.2, 7.5))
    report = (folder / "report.html").read_text()
    assert "split &#39;val&#39;" in report
    assert "What the data say" in report


def test_files_hold_the_figures(folder: Path, comparison: SeedComparison) -> None:
    runs = rows(folder / "replicates.csv")
    assert [(row["architecture"], row["seed"]) for row in runs] == [
        *(("resnet18", "0"), ("resnet18", "1")),
        *(("eca_resnet18", "0"), ("eca_resnet18", "1")),
    ]
    assert float(runs[3]["accuracy"]) == pytest.approx(comparison.values["accuracy"][1, 1])
    [accuracy] = [r for r in rows(folder / "differences.csv") if r["metric"] == "accuracy"]
    [found] = [d for d in comparison.differences if d.metric == "accuracy"]
    assert float(accuracy["seed_1"]) == pytest.approx(found.by_seed[1], abs=1e-5)
    assert float(accuracy["low"]) == pytest.approx(found.interval.low, abs=1e-5)
    assert rows(folder / "cost.csv")[1] == {
        "architecture": "eca_resnet18",
        "parameters": "11180139",
        "macs": "148058752",
        "images_per_second_1": "166.7",
        "images_per_second_32": "344.8",
    }
    summary = json.loads((folder / "metrics.json").read_text())
    assert summary["finding"] == describe_outcome(comparison)
    assert summary["seeds"] == [0, 1]
    of = summary["architectures"]["eca_resnet18"]
    assert of["metrics"]["accuracy"]["mean"] == pytest.approx(
        np.mean(of["metrics"]["accuracy"]["by_seed"])
    )
    assert of["cost"]["parameters"] == 11_180_139
    assert summary["runs"]["resnet18_seed0"]["split"] == "val"


def test_a_mistake_leaves_the_earlier_results(folder: Path) -> None:
    before = (folder / "metrics.json").read_bytes()
    runs, models = make_runs(SKILLS, (0, 1), images=60)
    with pytest.raises(DermaError, match="eca_resnet18 has no run with seed 1"):
        write_seed_comparison(runs[:3], models[:3], infos(3), COSTS, folder, resamples=5)
    assert (folder / "metrics.json").read_bytes() == before


def test_a_metric_in_words() -> None:
    luck, other = difference(0.01, 0.4), difference(-0.015, 1.0, "eca_resnet18")
    clear = difference(0.05, 0.0004)
    assert describe_metric([luck, other]) == (
        "No significant difference; the largest is se_resnet18 minus eca_resnet18, -0.015 "
        "(-0.025 to -0.005), with that sign in 2 of 3 seeds, p = 1.000."
    )
    assert describe_metric([luck]) == (
        "No significant difference: se_resnet18 minus resnet18, +0.010 (+0.000 to +0.020), "
        "with that sign in 2 of 3 seeds, p = 0.400."
    )
    assert describe_metric([clear, other]) == (
        "Significant: se_resnet18 minus resnet18, +0.050 (+0.040 to +0.060), with that sign "
        "in 3 of 3 seeds, p < 0.001; no other difference is significant."
    )
    assert describe_metric([difference(np.nan, 1.0)]) == "Undefined: a class has no images."


def test_the_outcome_in_words(comparison: SeedComparison) -> None:
    lesions = comparison.models[0].lesion_count
    none = replace(comparison, differences=(difference(0.01, 0.4),))
    assert describe_outcome(none) == (
        "Between resnet18 and eca_resnet18, no difference in any metric is significant over "
        f"2 seeds and {lesions} lesions."
    )
    one = describe_outcome(replace(none, seeds=(0,)))
    assert "significant over 1 seed and" in one
    assert one.endswith("One seed says nothing of how much seeds matter.")
    some = replace(comparison, differences=(difference(0.05, 0.001), difference(0.01, 0.4)))
    assert describe_outcome(some) == (
        f"Significant over 2 seeds and {lesions} lesions: accuracy of "
        "se_resnet18 minus resnet18, +0.050 (+0.040 to +0.060). The other 1 is not."
    )


def test_tables_tell_means_ranges_and_costs(comparison: SeedComparison) -> None:
    findings, means, differences, costs = seed_comparison_tables(comparison, COSTS)
    assert findings.note == describe_outcome(comparison)
    assert means.header == ("Metric", "resnet18", "eca_resnet18")
    low, high = sorted(comparison.values["accuracy"][1])
    assert means.rows[2][2] == f"{(low + high) / 2:.3f} ({low:.3f}\N{EN DASH}{high:.3f})"
    first = comparison.differences[0]
    assert differences.title == "eca_resnet18 minus resnet18"
    assert differences.rows[0][1].split() == [f"{step:+.3f}" for step in first.by_seed]
    assert differences.rows[0][2] == first.interval.signed
    assert costs.rows[0] == ("resnet18", "11,180,103", "148.05", "172", "354")
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(findings, means, differences, costs)
    assert "…" not in console.export_text()


def test_provenance_names_runs_only_where_they_differ() -> None:
    known = dict(zip(("a", "b"), infos(2), strict=True))
    table = dict(runs_provenance_table(known).rows)
    assert table["split"] == "val"
    assert table["recipe.epochs"] == "9"
    assert table["recipe.seed"] == "a: 0; b: 1"
    assert "recipe" not in table


def test_plot_has_a_panel_a_metric_and_a_dot_a_seed(comparison: SeedComparison) -> None:
    panels = plot_seed_differences(comparison).axes
    titles = [axes.get_title(loc="left") for axes in panels]
    assert titles[0] == "Macro ROC AUC  (higher is better)"
    assert titles[3] == "Expected calibration error  (lower is better)"
    assert len(titles) == 5
    ticks = [tick.get_text() for tick in panels[0].get_yticklabels()]
    assert ticks == ["eca_resnet18\nminus resnet18"]
    dots = [line for line in panels[0].lines if line.get_markersize() == 5]
    assert [tuple(line.get_xdata()) for line in dots] == [comparison.differences[0].by_seed]
    left, right = panels[0].get_xlim()
    assert left == -right
    assert left < min(comparison.differences[0].by_seed)


@pytest.mark.slow
@pytest.mark.filterwarnings("error")
def test_what_is_undefined_is_said_and_not_drawn(comparison: SeedComparison) -> None:
    nothing = [replace(difference(np.nan, 1.0), metric=key) for key in comparison.values]
    figure = plot_seed_differences(replace(comparison, differences=tuple(nothing)))
    assert [text.get_text() for text in figure.axes[4].texts] == ["undefined"]
    figure.savefig(io.BytesIO(), format="png")
