"""The tables of a model card that come from ``model.json``, the evaluation and the data set."""

import math
from typing import Any

import pandas as pd

from doctor_derma.bundle import BundleInfo
from doctor_derma.data.manifest import SPLITS, Dataset
from doctor_derma.decisions import MELANOMA
from doctor_derma.evaluation.bootstrap import LEVEL
from doctor_derma.evaluation.metrics import (
    CLASS_METRICS,
    HEADLINE_METRICS,
    MELANOMA_METRICS,
    OVERALL_METRICS,
    RULE_METRICS,
)
from doctor_derma.evaluation.tables import Table
from doctor_derma.reporting.model_card.evidence import Evaluation, Evidence
from doctor_derma.training.config import TrainConfig

HEADLINES = {**HEADLINE_METRICS, **MELANOMA_METRICS}
NOT_KNOWN = "not known"
_TITLES = {"train": "training", "val": "validation", "test": "test"}


def overall_table(info: BundleInfo, evidence: Evidence) -> Table:
    """Tabulate the overall metrics of the validation and the test split."""
    tested = evidence.evaluation
    test = "Test" if tested is None else f"Test ({LEVEL:.0%} interval)"
    shown = (
        {**OVERALL_METRICS, **MELANOMA_METRICS} if MELANOMA in info.class_names else OVERALL_METRICS
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
        for metric, title in RULE_METRICS.items()
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
        for metric, title in CLASS_METRICS.items()
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
    header = ("Class", "Diagnosis", *(_TITLES[split].capitalize() for split in splits))
    rows = [
        (
            diagnosis.name,
            diagnosis.full_name,
            *(_class_count(info, evidence, split, index) for split in splits),
        )
        for index, diagnosis in enumerate(info.classes)
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
        for name, value in recipe.items()
    )
    return Table("", ("Setting", "Value", "Meaning"), tuple(rows), words=3)


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
    return NOT_KNOWN


def _total(info: BundleInfo, dataset: Dataset | None, split: str) -> str:
    return _images_and_lesions(dataset.split(split)) if dataset else f"{info.data.images[split]:,}"


def _images_and_lesions(rows: pd.DataFrame) -> str:
    return f"{len(rows):,} ({rows['lesion'].nunique():,})"
