"""Every audit by name: tables, numbers and plots of one model on one split, and their folder."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from doctor_derma.atomic import replacing_own_folder
from doctor_derma.audits import (
    calibration,
    corruptions,
    coverage,
    deletion,
    localisation,
    out_of_distribution,
    robustness,
    skin_tone,
    subgroups,
)
from doctor_derma.audits.groups import interval_of
from doctor_derma.data.manifest import Dataset
from doctor_derma.data.masks import read_mask
from doctor_derma.evaluation.plots.curves import plot_reliability
from doctor_derma.evaluation.predictions import Predictions
from doctor_derma.evaluation.report import save_plots, write_json
from doctor_derma.evaluation.tables import Table
from doctor_derma.inference.classifier import Classifier
from doctor_derma.terminal import terminal

TABLES_FILE = "tables.txt"
PROVENANCE_FILE = "provenance.json"


@dataclass(frozen=True, eq=False)
class Audited:
    """A model and its predictions of a split.

    ``limit`` is how many pictures the robustness audit takes, None for all.
    """

    classifier: Classifier
    predictions: Predictions
    dataset: Dataset
    limit: int | None = None


@dataclass(frozen=True, eq=False)
class Audit:
    """What an audit found; the keys are file names without their suffix."""

    tables: list[Table]
    frames: dict[str, pd.DataFrame] = field(default_factory=dict)
    figures: dict[str, Figure] = field(default_factory=dict)


def _calibration(of: Audited) -> Audit:
    info = of.classifier.info
    versions = calibration.calibration_versions(
        of.predictions, info.temperature, info.prior_weight, np.array(info.class_shares)
    )
    frame = calibration.measure_calibration(versions)
    figures = {}
    for version, predictions in versions.items():
        rows = frame[frame["version"] == version].to_dict("records")
        intervals = {row["metric"]: interval_of(row) for row in rows}
        figures[f"reliability_{version}"] = plot_reliability(predictions, intervals)
    table = calibration.calibration_table(frame, info.temperature, info.prior_weight)
    return Audit([table], {"calibration": frame}, figures)


def _coverage(of: Audited) -> Audit:
    conformal = of.classifier.info.conformal
    target, sets = conformal.target, conformal.sets
    frames = {"coverage": coverage.measure_coverage(of.predictions, conformal.limit)}
    tables = [coverage.coverage_table(frames["coverage"], target, sets)]
    if sets != "marginal":  # Beside what one threshold for all would give.
        frames["coverage_marginal"] = coverage.measure_coverage(of.predictions, conformal.threshold)
        tables.append(coverage.coverage_table(frames["coverage_marginal"], target))
    return Audit(tables, frames, {"coverage": coverage.plot_coverage(frames["coverage"], target)})


def _out_of_distribution(of: Audited) -> Audit:
    scores = out_of_distribution.score_pictures(of.classifier, of.predictions)
    frame = out_of_distribution.measure_ood(scores)
    figures = {
        "unfamiliar": out_of_distribution.plot_ood(scores, frame),
        "unfamiliar_pictures": out_of_distribution.plot_ood_pictures(),
    }
    return Audit([out_of_distribution.ood_table(frame)], {"unfamiliar": frame}, figures)


def _subgroups(of: Audited) -> Audit:
    frame, tones = subgroups.measure_subgroups(of.predictions, of.dataset)
    present = [name for name in subgroups.ATTRIBUTES if name in set(frame["attribute"])]
    figures = {f"subgroups_{name}": subgroups.plot_subgroups(frame, name) for name in present}
    if "skin" in present:
        figures["skin_tones"] = skin_tone.plot_skin_tones(tones)
    return Audit([subgroups.subgroups_table(frame)], {"subgroups": frame}, figures)


def _explanations(of: Audited) -> Audit:
    followed = deletion.measure_deletion(of.classifier, of.predictions)
    tables, frames = [deletion.deletion_table(followed)], {"deletion": followed}
    figures = {"deletion": deletion.plot_deletion(followed)}
    folder = of.dataset.folder
    if any(read_mask(folder, str(image)) is not None for image in of.predictions.images):
        located = localisation.measure_localisation(of.predictions, of.dataset)
        tables.append(localisation.localisation_table(located))
        frames["localisation"] = located
        figures["localisation"] = localisation.plot_localisation(located)
    return Audit(tables, frames, figures)


def _robustness(of: Audited) -> Audit:
    frame = robustness.measure_robustness(of.classifier, of.predictions, limit=of.limit)
    figures = {
        "robustness": robustness.plot_robustness(frame),
        "robustness_drops": robustness.plot_robustness_drops(frame),
        "corruptions": corruptions.plot_corruptions(corruptions.example_picture((200, 150))),
    }
    return Audit([robustness.robustness_table(frame)], {"robustness": frame}, figures)


# By the names of their folders, of which one is older than its word.
ALIASES = {"out-of-distribution": "unfamiliar"}
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
        save_plots(audit.figures, scratch)
        write_json(dict(provenance), scratch / PROVENANCE_FILE)
        (scratch / TABLES_FILE).write_text("\n".join(map(_as_text, audit.tables)))


def _as_text(table: Table) -> str:
    console = terminal(width=140, no_color=True)
    with console.capture() as capture:
        console.print(table)
    return capture.get()
