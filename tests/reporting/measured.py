"""What ``derma evaluate`` and ``derma audit`` leave of a bundle, with figures made up."""

import json
from pathlib import Path
from typing import Any

import pandas as pd

from doctor_derma.audits.corruptions import CORRUPTIONS
from doctor_derma.audits.suite import Audit, write_audit
from doctor_derma.bundle import BundleInfo


def provenance(info: BundleInfo) -> dict[str, Any]:
    return {
        "weights_sha256": info.weights.sha256,
        "dataset_fingerprint": info.data.fingerprint,
        "split": "test",
        "rule": info.decision.default,
    }


def write_evaluation(folder: Path, info: BundleInfo, **changes: Any) -> Path:
    """Write an evaluation and return the folder of them all."""
    results = provenance(info) | {
        "images": 40,
        "lesions": 30,
        "classes": {
            name: {"images": images, "lesions": images}
            for name, images in zip(info.class_names, (10, 27, 3), strict=True)
        },
        "metrics": {
            "balanced_accuracy": {"value": 0.625, "low": 0.5, "high": 0.7},
            "auc_mel": {"value": None, "low": None, "high": None},
            "sensitivity_mel": {"value": 0.7, "low": 0.5, "high": 0.8},
            "sensitivity_at_90_specificity_mel": {"value": 0.81, "low": 0.72, "high": 0.9},
        },
        "rule": info.decision.default,
        "rules": {
            "balanced": {"balanced_accuracy": {"value": 0.66, "low": 0.6, "high": 0.72}},
            "most-probable": {"balanced_accuracy": {"value": 0.55, "low": 0.5, "high": 0.6}},
        },
    }
    path = folder / "evaluation_images" / info.name / "metrics.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(results | changes))
    return folder / "evaluation_images"


def write_audits(folder: Path, info: BundleInfo) -> Path:
    """Write all audits and return their folder."""
    audits = folder / "evaluation_images" / "audits" / info.name
    frames = {
        "calibration": {"calibration": _calibration()},
        "coverage": {"coverage": _coverage()},
        "unfamiliar": {"unfamiliar": _unfamiliar()},
        "subgroups": {"subgroups": _subgroups()},
        "explanations": {"localisation": _localisation(), "deletion": _deletion()},
        "robustness": {"robustness": _robustness()},
    }
    for name, found in frames.items():
        write_audit(Audit([], found), provenance(info), audits / name)
    return audits


def _around(value: float) -> dict[str, float]:
    return {"value": value, "low": value - 0.05, "high": value + 0.05}


def _calibration() -> pd.DataFrame:
    rows = [("before", 0.21), ("weighted", 0.16), ("shipped", 0.11)]
    measures = ("ece", "ece_by_chance", "brier", "log_loss")
    return pd.DataFrame(
        [{"version": v, "metric": m, **_around(value)} for v, value in rows for m in measures]
    )


def _coverage() -> pd.DataFrame:
    shares = {"all": 0.96, "mel": 0.8, "nv": 0.97, "vasc": 0.92}
    return pd.DataFrame(
        [
            {"class": name, "measure": measure, "images": 9, **_around(value)}
            for name, share in shares.items()
            for measure, value in (("coverage", share), ("size", 1.5), ("single", 0.5))
        ]
    )


def _unfamiliar() -> pd.DataFrame:
    known = {"kind": "data set", "pictures": 40, "flagged": 0.05}
    noise = {"kind": "noise", "pictures": 20, "flagged": 0.9}
    return pd.DataFrame([known, noise | {"auroc": 0.98, "low": 0.97, "high": 0.99}])


def _subgroups() -> pd.DataFrame:
    columns = ("attribute", "group", "value", "small", "difference", "flagged")
    rows = [
        ("all", "all images", 0.8, False, None, False),
        ("sex", "male", 0.7, False, -0.2, True),
        ("sex", "female", 0.9, False, 0.2, True),
        ("site", "ear", 0.5, True, None, False),
        ("site", "hand", None, False, None, False),
    ]
    frame = pd.DataFrame(rows, columns=columns)
    frame = frame.assign(metric="accuracy", images=20, lesions=15, others=0.75, p_holm=0.01)
    for name in ("value", "difference"):
        limits = ("low", "high") if name == "value" else ("difference_low", "difference_high")
        frame[limits[0]], frame[limits[1]] = frame[name] - 0.05, frame[name] + 0.05
    return frame


def _localisation() -> pd.DataFrame:
    figures = {"model": 0.6, "gaussian": 0.9, "model minus gaussian": -0.3}
    return pd.DataFrame(
        [
            {
                "class": "all",
                "decision": decision,
                "measure": measure,
                "map": name,
                "images": 40,
                "lesions": 30,
                **_around(value),
            }
            for decision in ("all", "right", "wrong")
            for measure in ("mass", "hit")
            for name, value in figures.items()
        ]
    )


def _deletion() -> pd.DataFrame:
    orders = ("model", "gaussian", "random", "model minus gaussian", "model minus random")
    return pd.DataFrame(
        [
            {"class": "all", "curve": c, "order": o, "figure": "auc", "images": 8, **_around(0.3)}
            for c in ("deletion", "insertion")
            for o in orders
        ]
    )


def _robustness() -> pd.DataFrame:
    clean = [("clean", "0", 0.0)]
    means = [(name, "mean", 0.3 if name == "hair" else 0.1) for name in (*CORRUPTIONS, "all")]
    return pd.DataFrame(
        [
            {
                "corruption": name,
                "severity": severity,
                "metric": metric,
                **_around(0.8),
                "drop": drop,
                "drop_low": drop - 0.05,
                "drop_high": drop + 0.05,
                "images": 40,
                "lesions": 30,
            }
            for name, severity, drop in clean + means
            for metric in ("accuracy", "balanced_accuracy", "decisions_changed")
        ]
    )
