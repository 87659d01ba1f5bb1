"""What was measured of a bundle's weights: its evaluation and its audits, if they are its own."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from doctor_derma.audits.suite import AUDITS, PROVENANCE_FILE
from doctor_derma.bundle import BundleInfo
from doctor_derma.data.manifest import Dataset
from doctor_derma.errors import DermaError
from doctor_derma.evaluation.bootstrap import Interval
from doctor_derma.evaluation.report import METRICS_FILE

EVALUATION = "evaluation"


@dataclass(frozen=True)
class Evaluation:
    """The figures of the test split.

    Attributes
    ----------
    metrics : name as in ``evaluation/metrics.py`` -> value with its 95% interval
    rules : decision rule -> name as in ``RULE_METRICS`` -> value with its 95% interval
    cases : class -> number of images and of lesions
    """

    images: int
    lesions: int
    metrics: dict[str, Interval]
    rules: dict[str, dict[str, Interval]]
    cases: dict[str, tuple[int, int]]


@dataclass(frozen=True, eq=False)
class Evidence:
    """What is known of a bundle beside ``model.json``; by default nothing.

    Attributes
    ----------
    evaluation : of the bundle's own test split, None where there is none
    audits : audit -> file name without suffix -> figures, of the same split
    left_out : ``evaluation`` or audit -> why what was found is not the bundle's
    dataset : the one that the model was trained on, None where it isn't here
    """

    evaluation: Evaluation | None = None
    audits: dict[str, dict[str, pd.DataFrame]] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    dataset: Dataset | None = None

    @property
    def missing(self) -> dict[str, str]:
        """``evaluation`` and audits that the card does not have, each with why."""
        names = [name for name in AUDITS if name not in self.audits]
        names = names if self.evaluation else [EVALUATION, *names]
        return {name: self.left_out.get(name, "was not measured") for name in names}


def read_evidence(info: BundleInfo, evaluations: Path, dataset: Dataset | None = None) -> Evidence:
    """Read what belongs to the weights, the data and the test split of a bundle.

    Parameters
    ----------
    evaluations : the ``evaluation_images/`` folder
    dataset : any data set; it counts if it is the one that the model was trained on

    Raises
    ------
    DermaError
        When a file can't be read.
    """
    left_out: dict[str, str] = {}
    evaluation = _read_evaluation(info, evaluations / info.name / METRICS_FILE, left_out)
    folder = evaluations / "audits" / info.name
    found = {name: _read_audit(info, folder / name, left_out) for name in AUDITS}
    is_own = dataset is not None and dataset.fingerprint == info.data.fingerprint
    return Evidence(
        evaluation,
        {name: frames for name, frames in found.items() if frames},
        left_out,
        dataset if is_own else None,
    )


def _read_evaluation(info: BundleInfo, path: Path, left_out: dict[str, str]) -> Evaluation | None:
    if not path.is_file():
        return None
    try:
        summary = json.loads(path.read_text())
        if reason := _mismatch(info, summary):
            left_out[EVALUATION] = reason
            return None
        return Evaluation(
            images=summary["images"],
            lesions=summary["lesions"],
            metrics=_intervals(summary["metrics"]),
            rules={rule: _intervals(of) for rule, of in summary.get("rules", {}).items()},
            cases={
                name: (counts["images"], counts["lesions"])
                for name, counts in summary["classes"].items()
            },
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DermaError(
            f"{path}: can't be read ({type(error).__name__}: {error}); evaluate {info.name} again"
        ) from error


def _read_audit(
    info: BundleInfo, folder: Path, left_out: dict[str, str]
) -> dict[str, pd.DataFrame]:
    if not folder.is_dir():
        return {}
    provenance = folder / PROVENANCE_FILE
    if not provenance.is_file():
        left_out[folder.name] = "does not say which weights it is of"
        return {}
    try:
        if reason := _mismatch(info, json.loads(provenance.read_text())):
            left_out[folder.name] = reason
            return {}
        return {
            # Only an empty cell is unknown: a class may be called "NA".
            path.stem: pd.read_csv(path, keep_default_na=False, na_values=[""])
            for path in sorted(folder.glob("*.csv"))
        }
    except (ValueError, KeyError, TypeError) as error:
        raise DermaError(
            f"{folder}: can't be read ({type(error).__name__}: {error}); "
            f"audit {info.name} again, with --only {folder.name}"
        ) from error


def _mismatch(info: BundleInfo, provenance: Mapping[str, Any]) -> str | None:
    if provenance["weights_sha256"] != info.weights.sha256:
        return "is of other weights"
    if provenance["dataset_fingerprint"] != info.data.fingerprint:
        return "is of other data than those of its training"
    if provenance["split"] != "test":
        return f"is of the {provenance['split']} split"
    # Before there were others, the most probable class was called.
    if (rule := provenance.get("rule", "most-probable")) != info.decision.default:
        return f"is of the decision rule {rule}"
    # What earlier versions did not keep is taken to be the same.
    if provenance.get("decision", info.decision.settings) != info.decision.settings:
        return "is of other thresholds or costs of the decision rule"
    if (sets := provenance.get("sets", info.conformal.sets)) != info.conformal.sets:
        return f"is of {sets} prediction sets"
    return None


def _intervals(found: Mapping[str, Mapping[str, float | None]]) -> dict[str, Interval]:
    """Read intervals, where null stands for nan."""
    return {
        name: Interval(**{key: math.nan if n is None else float(n) for key, n in of.items()})
        for name, of in found.items()
    }
