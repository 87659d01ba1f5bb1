"""The head of a model card in the form that the Hugging Face Hub reads.

Its fields: https://huggingface.co/docs/hub/model-cards and
https://github.com/huggingface/hub-docs/blob/main/modelcard.md
"""

import math
import re

from huggingface_hub import EvalResult, ModelCardData

from doctor_derma.bundle import CARD_FILE, BundleInfo
from doctor_derma.evaluation.bootstrap import LEVEL, Interval
from doctor_derma.reporting.model_card.evidence import Evidence
from doctor_derma.reporting.model_card.figures import HEADLINES

TASK = "image-classification"


# The licences of the data sets that Doctor Derma knows, by the Hub's names.
_LICENCES = {
    "cc-by-nc-4.0": "https://creativecommons.org/licenses/by-nc/4.0/",
    "cc0-1.0": "https://creativecommons.org/publicdomain/zero/1.0/",
}
# How the Hub calls the metrics, where it has a name of its own.
_HUB_METRICS = {
    "macro_auc": "roc_auc",
    "ece": "expected_calibration_error",
    "brier": "brier_score",
}


def front_matter(info: BundleInfo, evidence: Evidence) -> str:
    """Return the YAML between the two lines of dashes, with the results as ``model-index``.

    Results are those of the test split with their intervals, or, where it was not evaluated,
    of the validation split.
    """
    licence = _slug(info.data.licence)
    results = _results(info, evidence)
    data = ModelCardData(
        language="en",
        license=licence if licence in _LICENCES else "other",
        license_name=licence,
        # Of another licence the card is what there is to read.
        license_link=_LICENCES.get(licence, CARD_FILE),
        library_name="onnx",
        pipeline_tag=TASK,
        tags=[TASK, "dermatoscopy", "skin-lesion", "not-a-medical-device", info.architecture],
        datasets=[info.data.name],
        metrics=list(dict.fromkeys(result.metric_type for result in results)),
        model_name=info.name,
        eval_results=results or None,
    )
    return data.to_yaml()


def _results(info: BundleInfo, evidence: Evidence) -> list[EvalResult]:
    if evidence.evaluation:
        split, figures = "test", evidence.evaluation.metrics
    else:
        split = "test" if "test" in info.metrics else "val"
        nan = float("nan")
        figures = {
            name: Interval(value, nan, nan) for name, value in info.metrics.get(split, {}).items()
        }
    return [
        EvalResult(
            task_type=TASK,
            task_name="Classification of skin lesions",
            dataset_type=info.data.name,
            dataset_name=info.data.name,
            dataset_split=split,
            dataset_revision=info.data.fingerprint,
            metric_type=_HUB_METRICS.get(metric, metric),
            metric_name=_with_interval(title, figures[metric]),
            metric_value=round(figures[metric].value, 6),
        )
        for metric, title in HEADLINES.items()
        if metric in figures and math.isfinite(figures[metric].value)
    ]


def _with_interval(title: str, figure: Interval) -> str:
    if math.isnan(figure.low):
        return title
    return f"{title} ({LEVEL:.0%} interval {figure.low:.3f} to {figure.high:.3f})"


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9.]+", "-", text.lower()).strip("-") or "unknown"
