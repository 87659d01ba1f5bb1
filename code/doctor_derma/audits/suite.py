"""Every audit by name: tables, numbers and plots of one model on one split, and their folder."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from doctor_derma.atomic import replacing_own_folder
from doctor_derma.audits.calibration import (
    calibration_table,
    calibration_versions,
    measure_calibration,
)
from doctor_derma.audits.corruptions import example_picture, plot_corruptions
from doctor_derma.audits.coverage import coverage_table, measure_coverage, plot_coverage
from doctor_derma.audits.deletion import deletion_table, measure_deletion, plot_deletion
from doctor_derma.audits.groups import interval_of
from doctor_derma.audits.localisation import (
    localisation_table,
    measure_localisation,
    plot_localisation,
)
from doctor_derma.audits.out_of_distribution import (
    OodScorer,
    measure_ood,
    ood_table,
    plot_ood,
    plot_ood_pictures,
    score_pictures,
)
from doctor_derma.audits.robustness import (
    measure_robustness,
    plot_robustness,
    plot_robustness_drops,
    robustness_table,
)
from doctor_derma.audits.skin_tone import plot_skin_tones
from doctor_derma.audits.subgroups import (
    ATTRIBUTES,
    measure_subgroups,
    plot_subgroups,
    subgroups_table,
)
from doctor_derma.data.manifest import Dataset
from doctor_derma.data.masks import read_mask
from doctor_derma.evaluation.plots.curves import plot_reliability
from doctor_derma.evaluation.plots.style import save_png
from doctor_derma.evaluation.predictions import PixelClassifier, Predictions
from doctor_derma.evaluation.report import write_json
from doctor_derma.evaluation.tables import Table
from doctor_derma.terminal import terminal, with_progress

TABLES_FILE = "tables.txt"
PROVENANCE_FILE = "provenance.json"


class AuditedClassifier(PixelClassifier, OodScorer, Protocol):
    """A model that predicts and says how unlike its training images a picture is."""


@dataclass(frozen=True, eq=False)
class Audited:
    """A model, its predictions of a split, and what its bundle says of its probabilities.

    ``limit`` is how many pictures the robustness audit takes, None for all.
    """

    classifier: AuditedClassifier
    predictions: Predictions
    dataset: Dataset
    temperature: float
    prior_weight: float
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
        of.predictions, of.temperature, of.prior_weight, np.array(of.class_shares)
    )
    frame = measure_calibration(versions)
    figures = {}
    for version, rows in frame.groupby("version", sort=False):
        intervals = {row["metric"]: interval_of(row) for row in rows.to_dict("records")}
        figures[f"reliability_{version}"] = plot_reliability(versions[str(version)], intervals)
    table = calibration_table(frame, of.temperature, of.prior_weight)
    return Audit([table], {"calibration": frame}, figures)


def _coverage(of: Audited) -> Audit:
    frame = measure_coverage(of.predictions, of.conformal_threshold)
    figure = plot_coverage(frame, of.conformal_target)
    table = coverage_table(frame, of.conformal_target)
    return Audit([table], {"coverage": frame}, {"coverage": figure})


def _out_of_distribution(of: Audited) -> Audit:
    scores = score_pictures(of.classifier, of.predictions)
    frame = measure_ood(scores)
    figures = {"unfamiliar": plot_ood(scores, frame), "unfamiliar_pictures": plot_ood_pictures()}
    return Audit([ood_table(frame)], {"unfamiliar": frame}, figures)


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


# By the names of their folders.
AUDITS: dict[str, Callable[[Audited], Audit]] = {
    "calibration": _calibration,
    "coverage": _coverage,
    "unfamiliar": _out_of_distribution,
    "subgroups": _subgroups,
    "explanations": _explanations,
    "robustness": _robustness,
}


def write_audit(audit: Audit, provenance: Mapping[str, Any], folder: Path) -> None:
    """Replace the folder of an audit: CSV files, PNG pictures, and the tables as text.

    Parameters
    ----------
    provenance : what was audited, JSON values, kept in ``provenance.json``. Expected:
        ``split``, ``dataset_fingerprint``, ``weights_sha256``

    Raises
    ------
    DermaError
        When ``folder`` holds something else than an audit.
    """
    with replacing_own_folder(folder, TABLES_FILE) as scratch:
        for name, frame in audit.frames.items():
            frame.to_csv(scratch / f"{name}.csv", index=False, float_format="%.6g")
        for name, figure in with_progress(list(audit.figures.items()), "Drawing plots"):
            save_png(figure, scratch / f"{name}.png")
        write_json(dict(provenance), scratch / PROVENANCE_FILE)
        (scratch / TABLES_FILE).write_text("\n".join(map(_as_text, audit.tables)))


def _as_text(table: Table) -> str:
    console = terminal(width=140, no_color=True)
    with console.capture() as capture:
        console.print(table)
    return capture.get()
