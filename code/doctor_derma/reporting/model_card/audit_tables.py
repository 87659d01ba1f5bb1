"""The tables of each audit, made again from the figures that it left on disk."""

import math
from collections.abc import Callable, Hashable, Mapping
from typing import Any

import pandas as pd

from doctor_derma.audits.coverage import coverage_table
from doctor_derma.audits.deletion import deletion_table
from doctor_derma.audits.localisation import localisation_table
from doctor_derma.audits.robustness import robustness_table
from doctor_derma.audits.subgroups import JUDGED_LESIONS, METRICS, subgroups_table
from doctor_derma.audits.temperature import calibration_table
from doctor_derma.audits.unfamiliar import unfamiliar_table
from doctor_derma.bundle import BundleInfo
from doctor_derma.errors import DermaError
from doctor_derma.evaluation.bootstrap import LEVEL, Interval
from doctor_derma.evaluation.tables import Table

Frames = dict[str, pd.DataFrame]
_FEW = "†"
_GROUP_METRICS = ("macro_auc", "balanced_accuracy", "accuracy", "sensitivity_mel")


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


def _group_cell(figure: Mapping[Hashable, Any]) -> str:
    if math.isnan(figure["value"]):
        return "\N{EN DASH}"
    interval = Interval(figure["value"], figure["low"], figure["high"])
    return f"{interval} {_FEW}" if figure["small"] else str(interval)


def _calibration(info: BundleInfo, frames: Frames) -> list[Table]:
    found: dict[str, dict[str, Interval]] = {}
    for row in frames["calibration"].to_dict("records"):
        interval = Interval(row["value"], row["low"], row["high"])
        found.setdefault(row["version"], {})[row["metric"]] = interval
    return [calibration_table(found, info.temperature, info.prevalence)]


def _explanations(info: BundleInfo, frames: Frames) -> list[Table]:
    located = [localisation_table(frames["localisation"])] if "localisation" in frames else []
    return [*located, deletion_table(frames["deletion"])]


def _subgroups(info: BundleInfo, frames: Frames) -> list[Table]:
    return [subgroups_table(frames["subgroups"]), group_table(frames["subgroups"])]


_TABLES: dict[str, Callable[[BundleInfo, Frames], list[Table]]] = {
    "calibration": _calibration,
    "coverage": lambda info, frames: [coverage_table(frames["coverage"], info.conformal.target)],
    "unfamiliar": lambda info, frames: [unfamiliar_table(frames["unfamiliar"])],
    "subgroups": _subgroups,
    "explanations": _explanations,
    "robustness": lambda info, frames: [robustness_table(frames["robustness"])],
}
