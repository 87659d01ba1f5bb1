"""Every audit by name: figures, tables and pictures of one model on one split."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from doctor_derma.audits.coverage import coverage_table, measure_coverage
from doctor_derma.audits.deletion import deletion_table, measure_deletion
from doctor_derma.audits.image_groups import ATTRIBUTES
from doctor_derma.audits.localisation import localisation_table, measure_localisation
from doctor_derma.audits.plots.coverage import plot_coverage
from doctor_derma.audits.plots.deletion import plot_deletion
from doctor_derma.audits.plots.localisation import plot_localisation
from doctor_derma.audits.plots.robustness import (
    example_picture,
    plot_corruptions,
    plot_robustness,
    plot_robustness_drops,
)
from doctor_derma.audits.plots.skin_tone import plot_skin_tones
from doctor_derma.audits.plots.subgroups import plot_subgroups
from doctor_derma.audits.plots.unfamiliar import plot_unfamiliar, plot_unfamiliar_pictures
from doctor_derma.audits.robustness import measure_robustness, robustness_table
from doctor_derma.audits.subgroups import measure_subgroups, subgroups_table
from doctor_derma.audits.temperature import (
    calibration_table,
    calibration_versions,
    measure_calibration,
)
from doctor_derma.audits.unfamiliar import (
    UnfamiliarityScorer,
    measure_unfamiliar,
    score_unfamiliar,
    unfamiliar_table,
)
from doctor_derma.data.manifest import Dataset
from doctor_derma.data.masks import read_mask
from doctor_derma.evaluation.plots.curves import plot_reliability
from doctor_derma.evaluation.predictions import PixelClassifier, Predictions
from doctor_derma.evaluation.tables import Table


class AuditedClassifier(PixelClassifier, UnfamiliarityScorer, Protocol):
    """A model that predicts and says how unfamiliar a picture is."""


@dataclass(frozen=True, eq=False)
class Audited:
    """A model, its predictions of a split, and what its bundle says of its probabilities.

    ``limit`` is how many pictures the robustness audit takes, None for all.
    """

    classifier: AuditedClassifier
    predictions: Predictions
    dataset: Dataset
    temperature: float
    prevalence: float
    class_shares: tuple[float, ...]
    conformal_target: float
    conformal_threshold: float
    limit: int | None = None


@dataclass(frozen=True, eq=False)
class Audit:
    """What an audit found; the keys are file names without their suffix."""

    tables: list[Table]
    frames: dict[str, pd.DataFrame] = field(default_factory=dict)
    figures: dict[str, Figure] = field(default_factory=dict)


def _calibration(of: Audited) -> Audit:
    versions = calibration_versions(
        of.predictions, of.temperature, of.prevalence, np.array(of.class_shares)
    )
    found = measure_calibration(versions)
    frame = pd.DataFrame(
        [
            {"version": version, "metric": name, "value": i.value, "low": i.low, "high": i.high}
            for version, intervals in found.items()
            for name, i in intervals.items()
        ]
    )
    figures = {
        f"reliability_{version}": plot_reliability(versions[version], found[version])
        for version in versions
    }
    table = calibration_table(found, of.temperature, of.prevalence)
    return Audit([table], {"calibration": frame}, figures)


def _coverage(of: Audited) -> Audit:
    frame = measure_coverage(of.predictions, of.conformal_threshold)
    figure = plot_coverage(frame, of.conformal_target)
    table = coverage_table(frame, of.conformal_target)
    return Audit([table], {"coverage": frame}, {"coverage": figure})


def _unfamiliar(of: Audited) -> Audit:
    scores = score_unfamiliar(of.classifier, of.predictions)
    frame = measure_unfamiliar(scores)
    figures = {
        "unfamiliar": plot_unfamiliar(scores, frame),
        "unfamiliar_pictures": plot_unfamiliar_pictures(),
    }
    return Audit([unfamiliar_table(frame)], {"unfamiliar": frame}, figures)


def _subgroups(of: Audited) -> Audit:
    frame, tones = measure_subgroups(of.predictions, of.dataset)
    present = [name for name in ATTRIBUTES if name in set(frame["attribute"])]
    figures = {f"subgroups_{name}": plot_subgroups(frame, name) for name in present}
    if "skin" in present:
        figures["skin_tones"] = plot_skin_tones(tones)
    return Audit([subgroups_table(frame)], {"subgroups": frame}, figures)


def _explanations(of: Audited) -> Audit:
    deletion = measure_deletion(of.classifier, of.predictions)
    tables, frames = [deletion_table(deletion)], {"deletion": deletion}
    figures = {"deletion": plot_deletion(deletion)}
    folder = of.dataset.folder
    if any(read_mask(folder, str(image)) is not None for image in of.predictions.images):
        located = measure_localisation(of.predictions, of.dataset)
        tables.append(localisation_table(located))
        frames["localisation"] = located
        figures["localisation"] = plot_localisation(located)
    return Audit(tables, frames, figures)


def _robustness(of: Audited) -> Audit:
    frame = measure_robustness(of.classifier, of.predictions, limit=of.limit)
    figures = {
        "robustness": plot_robustness(frame),
        "robustness_drops": plot_robustness_drops(frame),
        "corruptions": plot_corruptions(example_picture((200, 150))),
    }
    return Audit([robustness_table(frame)], {"robustness": frame}, figures)


AUDITS: dict[str, Callable[[Audited], Audit]] = {
    "calibration": _calibration,
    "coverage": _coverage,
    "unfamiliar": _unfamiliar,
    "subgroups": _subgroups,
    "explanations": _explanations,
    "robustness": _robustness,
}
