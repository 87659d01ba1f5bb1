"""The tables of a model card, as Markdown: of ``model.json``, the test, the data and each audit."""

import math
from collections.abc import Callable, Hashable, Mapping
from typing import Any

import pandas as pd

from doctor_derma.audits.calibration import calibration_table
from doctor_derma.audits.coverage import coverage_table
from doctor_derma.audits.deletion import deletion_table
from doctor_derma.audits.groups import interval_of
from doctor_derma.audits.localisation import localisation_table
from doctor_derma.audits.out_of_distribution import ood_table
from doctor_derma.audits.robustness import robustness_table
from doctor_derma.audits.subgroups import JUDGED_LESIONS, METRICS, subgroups_table
from doctor_derma.bundle import BundleInfo
from doctor_derma.data.manifest import SPLITS, Dataset
from doctor_derma.decisions import MELANOMA
from doctor_derma.errors import DermaError
from doctor_derma.evaluation import metrics
from doctor_derma.evaluation.bootstrap import LEVEL
from doctor_derma.evaluation.tables import Table
from doctor_derma.reporting.evidence import Evaluation, Evidence
from doctor_derma.training.config import TrainConfig, in_new_names

HEADLINES = {**metrics.HEADLINE_METRICS, **metrics.MELANOMA_METRICS}
_TITLES = {"train": "Training", "val": "Validation", "test": "Test"}
Frames = dict[str, pd.DataFrame]
_FEW = "†"
_GROUP_METRICS = ("macro_auc", "balanced_accuracy", "accuracy", "sensitivity_mel")


def markdown_table(table: Table) -> str:
    """Write a table as GitHub's Markdown: its title in bold, the table, its note."""
    rules = ["---" if column < table.words else "---:" for column in range(len(table.header))]
    rows = [_row(table.header), _row(rules), *(_row(row) for row in table.rows)]
    parts = [f"**{table.title}**" if table.title else "", "\n".join(rows), table.note]
    return "\n\n".join(part for part in parts if part)


def overall_table(info: BundleInfo, evidence: Evidence) -> Table:
    """Tabulate the overall metrics of the validation and the test split."""
    tested = evidence.evaluation
    test = "Test" if tested is None else f"Test ({LEVEL:.0%} interval)"
    shown = metrics.OVERALL_METRICS | (
        metrics.MELANOMA_METRICS if MELANOMA in info.class_names else {}
    )
    rows = (
        (title, _plain(info, "val", metric), _tested(info, tested, metric))
        for metric, title in shown.items()
    )
    return Table("", ("Measure", "Validation", test), tuple(rows))


def rule_table(info: BundleInfo, evaluation: Evaluation | None) -> Table:
    """Tabulate what each rule did on the validation and, where it was measured, the test split."""
    found: list[tuple[str, str, dict[str, str]]] = []
    for rule in info.rulebook.rules:
        if fitted := info.decision.figures.get(rule):
            plain = {name: f"{value:.3f}" for name, value in fitted.metrics.items()}
            found.append((rule, "validation", plain))
        if evaluation and (tested := evaluation.rules.get(rule)):
            found.append((rule, "test", {name: str(value) for name, value in tested.items()}))
    shown = {
        metric: title
        for metric, title in metrics.RULE_METRICS.items()
        if any(metric in figures for _, _, figures in found)
    }
    rows = (
        (f"`{rule}`", split, *(figures.get(metric, "not measured") for metric in shown))
        for rule, split, figures in found
    )
    return Table("", ("Rule", "Split", *shown.values()), tuple(rows), words=2)


def class_table(info: BundleInfo, evaluation: Evaluation) -> Table:
    """Tabulate each class against the rest, with what metrics the evaluation holds."""
    names = [name for name in info.class_names if name in evaluation.cases]
    shown = {
        metric: title
        for metric, title in metrics.CLASS_METRICS.items()
        if any(f"{metric}_{name}" in evaluation.metrics for name in names)
    }
    rows = []
    for name in names:
        figures = (evaluation.metrics.get(f"{metric}_{name}") for metric in shown)
        images, lesions = evaluation.cases[name]
        cells = ("not measured" if figure is None else str(figure) for figure in figures)
        rows.append((name, f"{images:,}", f"{lesions:,}", *cells))
    return Table("", ("Class", "Images", "Lesions", *shown.values()), tuple(rows))


def data_table(info: BundleInfo, evidence: Evidence) -> Table:
    """Tabulate how many images each class has in each split, and of how many lesions."""
    splits = [split for split in SPLITS if split in info.data.images]
    header = ("Class", "Diagnosis", *(_TITLES[split] for split in splits))
    rows = [
        (of.name, of.full_name, *(_class_count(info, evidence, split, index) for split in splits))
        for index, of in enumerate(info.classes)
    ]
    totals = (_total(info, evidence.dataset, split) for split in splits)
    lesions = " (lesions)" if evidence.dataset else ""
    return Table(f"Images{lesions}", header, (*rows, ("all", "", *totals)), words=2)


def recipe_table(recipe: dict[str, Any]) -> Table:
    """Tabulate the settings of the training, each with what it means."""
    fields = TrainConfig.model_fields
    rows = (
        (
            f"`{name}`",
            "none" if value is None else str(value),
            (fields[name].description or "") if name in fields else "",
        )
        for name, value in in_new_names(recipe).items()
    )
    return Table("", ("Setting", "Value", "Meaning"), tuple(rows), words=3)


def audit_tables(info: BundleInfo, audit: str, frames: Frames) -> list[Table]:
    """Tabulate what an audit found.

    Parameters
    ----------
    audit : of ``AUDITS``
    frames : file name without suffix -> figures, as the audit wrote them

    Raises
    ------
    DermaError
        When figures are missing, as where an older audit wrote them.
    """
    try:
        return _TABLES[audit](info, frames)
    except (KeyError, IndexError, ValueError, TypeError) as error:
        raise DermaError(
            f"audits/{info.name}/{audit}: figures are missing ({type(error).__name__}: {error}); "
            f"audit {info.name} again, with --only {audit}"
        ) from error


def group_table(frame: pd.DataFrame) -> Table:
    """Tabulate every group of images, whether it differs from the others or not."""
    shown = {name: METRICS[name] for name in _GROUP_METRICS if name in set(frame["metric"])}
    rows = []
    for (attribute, group), figures in frame.groupby(["attribute", "group"], sort=False):
        first = figures.iloc[0]
        by_metric = {row["metric"]: row for row in figures.to_dict("records")}
        cells = (_group_cell(by_metric[name]) for name in shown)
        counts = (f"{first[name]:,}" for name in ("images", "lesions"))
        rows.append((str(attribute).capitalize(), str(group), *counts, *cells))
    return Table(
        f"All groups ({LEVEL:.0%} interval)",
        ("By", "Group", "Images", "Lesions", *shown.values()),
        tuple(rows),
        f"{_FEW} rests on fewer than {JUDGED_LESIONS} lesions and is not judged. \N{EN DASH} too "
        "few lesions or classes for it. Means over the classes are over those that the group has "
        "enough lesions of, so those of two groups can be of different classes.",
        words=2,
    )


def _plain(info: BundleInfo, split: str, metric: str) -> str:
    value = info.metrics.get(split, {}).get(metric, math.nan)
    return "not measured" if math.isnan(value) else f"{value:.3f}"


def _tested(info: BundleInfo, evaluation: Evaluation | None, metric: str) -> str:
    if evaluation is None:
        return _plain(info, "test", metric)
    figure = evaluation.metrics.get(metric)
    return "not measured" if figure is None else str(figure)


def _class_count(info: BundleInfo, evidence: Evidence, split: str, index: int) -> str:
    name = info.class_names[index]
    if evidence.dataset:
        rows = evidence.dataset.split(split)
        return _images_and_lesions(rows[rows["class"] == name])
    if split == "test" and evidence.evaluation and name in evidence.evaluation.cases:
        return f"{evidence.evaluation.cases[name][0]:,}"
    if split == "train":
        return f"{round(info.class_shares[index] * info.data.images[split]):,}"
    return "not known"


def _total(info: BundleInfo, dataset: Dataset | None, split: str) -> str:
    return _images_and_lesions(dataset.split(split)) if dataset else f"{info.data.images[split]:,}"


def _images_and_lesions(rows: pd.DataFrame) -> str:
    return f"{len(rows):,} ({rows['lesion'].nunique():,})"


def _row(cells: tuple[str, ...] | list[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _group_cell(figure: Mapping[Hashable, Any]) -> str:
    if math.isnan(figure["value"]):
        return "\N{EN DASH}"
    return f"{interval_of(figure)}{' ' + _FEW if figure['small'] else ''}"


def _explanations(info: BundleInfo, frames: Frames) -> list[Table]:
    located = [localisation_table(frames["localisation"])] if "localisation" in frames else []
    return [*located, deletion_table(frames["deletion"])]


_TABLES: dict[str, Callable[[BundleInfo, Frames], list[Table]]] = {
    "calibration": lambda info, frames: [
        calibration_table(frames["calibration"], info.temperature, info.prior_weight)
    ],
    "coverage": lambda info, frames: [
        coverage_table(frames["coverage"], info.conformal.target, info.conformal.sets)
    ],
    "unfamiliar": lambda info, frames: [ood_table(frames["unfamiliar"])],
    "subgroups": lambda info, frames: [
        subgroups_table(frames["subgroups"]),
        group_table(frames["subgroups"]),
    ],
    "explanations": _explanations,
    "robustness": lambda info, frames: [robustness_table(frames["robustness"])],
}
