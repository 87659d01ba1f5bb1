"""A model card from ``model.json`` and what was measured of its weights.

Its sections are those of Mitchell et al. [1]_, with the warning first; its head is in the form that
the Hugging Face Hub reads [2]_, [3]_.

References
----------
.. [1] M. Mitchell, S. Wu, A. Zaldivar et al.: Model Cards for Model Reporting. FAccT 2019,
       arXiv:1810.03993.
.. [2] https://huggingface.co/docs/hub/model-cards
.. [3] https://github.com/huggingface/hub-docs/blob/main/modelcard.md
"""

import math
import re
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCardData
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from doctor_derma.atomic import replacing_file
from doctor_derma.audits.suite import AUDITS
from doctor_derma.bundle import CARD_FILE, BundleInfo
from doctor_derma.data.importers.ham10000 import HAM10000
from doctor_derma.data.synthetic.synthesis import SYNTHETIC
from doctor_derma.decisions import MEANINGS
from doctor_derma.errors import DermaError
from doctor_derma.evaluation.bootstrap import LEVEL, RESAMPLES, Interval
from doctor_derma.models.names import parse_name
from doctor_derma.models.networks import count_parameters, create_network
from doctor_derma.reporting import readings, tables
from doctor_derma.reporting.evidence import EVALUATION, Evidence

TEMPLATES = Path(__file__).with_name("templates")
_FACTORS = {
    "sex": "sex",
    "age": "age",
    "site": "body site",
    "confirmation": "how the diagnosis was confirmed",
    "skin": "tone of the skin around the lesion",
}
TASK = "image-classification"
# The licences of the data sets that Doctor Derma knows, by the Hub's names.
_LICENCES = {
    "cc-by-nc-4.0": "https://creativecommons.org/licenses/by-nc/4.0/",
    "cc0-1.0": "https://creativecommons.org/publicdomain/zero/1.0/",
}
# How the Hub calls the metrics, where it has a name of its own.
_HUB_METRICS = {"macro_auc": "roc_auc", "ece": "expected_calibration_error", "brier": "brier_score"}


def write_card(bundle: Path, info: BundleInfo, evidence: Evidence | None = None) -> Path:
    """Write the model card of a bundle, which no checksum of it covers, and return the file.

    Raises
    ------
    DermaError
        When the figures of an audit are not complete.
    """
    path = bundle / CARD_FILE
    with replacing_file(path) as scratch:
        scratch.write_text(model_card(info, evidence), encoding="utf-8")
    return path


def model_card(info: BundleInfo, evidence: Evidence | None = None) -> str:
    """Return the model card as Markdown with Hugging Face front matter.

    Parameters
    ----------
    evidence : what was measured of the weights; what is not there is said to be not measured
    """
    evidence = evidence or Evidence()
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    text = environment.get_template("card.md.jinja").render(
        info=info,
        evidence=evidence,
        front_matter=front_matter(info, evidence),
        tables=_tables(info, evidence),
        readings=_readings(info, evidence),
        absences={name: _absence(info, evidence, name) for name in evidence.missing},
        meanings=MEANINGS,
        network=_network(info),
        factors=_factors(evidence),
        sizes=_picture_sizes(evidence),
        is_ham10000=info.data.name == HAM10000[0],
        is_synthetic=info.data.name == SYNTHETIC[0],
        non_commercial="NC" in info.data.licence,
        level=f"{LEVEL:.0%}",
        resamples=f"{RESAMPLES:,}",
    )
    # What the template leaves out leaves its blank lines.
    return re.sub(r"\n{3,}", "\n\n", text)


def front_matter(info: BundleInfo, evidence: Evidence) -> str:
    """Return the YAML between the two lines of dashes, with the results as ``model-index``.

    Results are those of the test split with their intervals, or, where it was not evaluated,
    of the validation split.
    """
    licence = re.sub(r"[^a-z0-9.]+", "-", info.data.licence.lower()).strip("-") or "unknown"
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
            metric_name=title
            if math.isnan(figure.low)
            else f"{title} ({LEVEL:.0%} interval {figure.low:.3f} to {figure.high:.3f})",
            metric_value=round(figure.value, 6),
        )
        for metric, title in tables.HEADLINES.items()
        if (figure := figures.get(metric)) and math.isfinite(figure.value)
    ]


def _tables(info: BundleInfo, evidence: Evidence) -> dict[str, str]:
    found = {
        "overall": [tables.overall_table(info, evidence)],
        "rules": [tables.rule_table(info, evidence.evaluation)],
        "data": [tables.data_table(info, evidence)],
        "recipe": [tables.recipe_table(info.recipe)],
    }
    if evidence.evaluation:
        found["classes"] = [tables.class_table(info, evidence.evaluation)]
    for name, frames in evidence.audits.items():
        found[name] = tables.audit_tables(info, name, frames)
    return {name: "\n\n".join(map(tables.markdown_table, of)) for name, of in found.items()}


def _readings(info: BundleInfo, evidence: Evidence) -> dict[str, str]:
    """Say what the evaluation and each audit show; an audit without a sentence has none."""
    found = dict.fromkeys(AUDITS, "") | {"headline": readings.read_headline(info, evidence)}
    tested = evidence.evaluation
    found["melanoma"] = readings.read_melanoma(info, tested) if tested else ""
    frames = {file: frame for of in evidence.audits.values() for file, frame in of.items()}
    if "coverage" in frames:
        found["coverage"] = readings.read_coverage(info, frames["coverage"])
    if "subgroups" in frames:
        found["subgroups"] = readings.read_groups(frames["subgroups"])
    if "localisation" in frames:
        found["explanations"] = readings.read_localisation(frames["localisation"])
    if "robustness" in frames:
        found["robustness"] = readings.read_robustness(frames["robustness"])
    return found


def _absence(info: BundleInfo, evidence: Evidence, name: str) -> str:
    """Say why an evaluation or audit is not in the card, and what measures it."""
    only = f"derma audit {info.name} --only {name}"
    command = f"derma evaluate {info.name}" if name == EVALUATION else only
    if reason := evidence.left_out.get(name):
        return f"Not measured: what was found of it {reason}. `{command}` measures it again."
    return f"Not measured. `{command}` does."


def _network(info: BundleInfo) -> dict[str, Any]:
    """Describe the architecture; a name of a later or earlier version is not known here."""
    try:
        backbone, attention = parse_name(info.architecture)
        network = create_network(info.architecture, len(info.classes))
    except DermaError:
        return {"backbone": info.architecture, "attention": None, "parameters": None}
    parameters = f"{count_parameters(network):,}"
    gates = (
        "after the depthwise convolution of every inverted bottleneck"
        if "efficientnet" in backbone
        else "after the last convolution of every block"
    )
    return {"backbone": backbone, "attention": attention, "gates": gates, "parameters": parameters}


def _factors(evidence: Evidence) -> list[str]:
    frames = evidence.audits.get("subgroups")
    known = set(frames["subgroups"]["attribute"]) if frames else set()
    return [title for name, title in _FACTORS.items() if name in known]


def _picture_sizes(evidence: Evidence) -> str:
    if evidence.dataset is None:
        return ""
    sizes = evidence.dataset.table[["width", "height"]]
    first, last = (f"{of['width']}x{of['height']}" for of in (sizes.min(), sizes.max()))
    return first if first == last else f"{first} to {last}"
