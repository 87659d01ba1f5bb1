"""The card says what was measured of these weights, and what was not; and how to use them."""

import contextlib
import io
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from huggingface_hub import ModelCard
from PIL import Image

from doctor_derma import Classifier
from doctor_derma.audits.suite import AUDITS
from doctor_derma.bundle import BundleInfo, read_card, read_info
from doctor_derma.data.manifest import Dataset, DatasetInfo
from doctor_derma.decisions import MEANINGS
from doctor_derma.errors import DermaError
from doctor_derma.evaluation.tables import Table
from doctor_derma.reporting import readings
from doctor_derma.reporting.evidence import Evidence, read_evidence
from doctor_derma.reporting.model_card import model_card, write_card
from doctor_derma.reporting.tables import markdown_table
from reporting.measured import provenance, write_audits, write_evaluation
from tiny_bundle import ALL_RULES, GREEN, PATIENT, write_bundle

SECTIONS = [
    "Model details",
    "Intended use",
    "Factors",
    "Training data",
    "Metrics",
    "Evaluation",
    "Limits and risks",
    "How to use",
    "Citation",
]
MEASURED = {
    "coverage": "Below the target of 95% by more than chance: mel.",
    "subgroups": "2 gaps are flagged. Worse than the others: sex, male (Accuracy -0.200).",
    "explanations": "in 60% (55% to 65%) of the images",
    "robustness": "Hair costs most: 0.300 (0.250\N{EN DASH}0.350) of accuracy",
    "calibration": "| Expected calibration error (ECE) | 0.210 (0.160\N{EN DASH}0.260) | 0.160 (0",
    "unfamiliar": "| noise | 20 | 90.0% | 0.980 (0.970\N{EN DASH}0.990) |",
}


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return write_bundle(tmp_path / "bundle")


@pytest.fixture
def info(bundle: Path) -> BundleInfo:
    return read_info(bundle)


@pytest.fixture
def measured(info: BundleInfo, tmp_path: Path) -> Path:
    """The folder with an evaluation and all audits of the bundle."""
    write_audits(tmp_path, info)
    return write_evaluation(tmp_path, info)


def with_data(info: BundleInfo, **changes: object) -> BundleInfo:
    return info.model_copy(update={"data": info.data.model_copy(update=changes)})


def section(card: str, title: str) -> str:
    """Return the text below a heading, up to the next one."""
    return re.split(r"\n#+ ", card.partition(f"# {title}\n")[2])[0]


def test_the_head_is_what_the_hub_reads(info: BundleInfo, measured: Path) -> None:
    data = ModelCard(model_card(info, read_evidence(info, measured))).data
    assert (data.license, data.license_name) == ("cc0-1.0", "cc0-1.0")
    assert (data.library_name, data.pipeline_tag) == ("onnx", "image-classification")
    assert data.datasets == ["colours"]
    assert "dermatoscopy" in data.tags
    assert data.metrics == ["balanced_accuracy", "sensitivity_at_90_specificity_mel"]
    assert data.model_name == "tiny"
    first, second = data.eval_results
    assert (first.dataset_type, first.dataset_split) == ("colours", "test")
    assert first.dataset_revision == info.data.fingerprint
    assert (first.metric_type, first.metric_value) == ("balanced_accuracy", 0.625)
    assert first.metric_name == "Balanced accuracy (95% interval 0.500 to 0.700)"
    assert second.metric_value == 0.81


@pytest.mark.parametrize(
    ("licence", "identifier", "name", "link"),
    [
        ("CC BY-NC 4.0", "cc-by-nc-4.0", "cc-by-nc-4.0", "https://creativecommons.org/"),
        ("Ours: ask us", "other", "ours-ask-us", "README.md"),
    ],
)
def test_licences(info: BundleInfo, licence: str, identifier: str, name: str, link: str) -> None:
    data = ModelCard(model_card(with_data(info, licence=licence))).data
    assert (data.license, data.license_name) == (identifier, name)
    assert data.license_link.startswith(link)


def test_without_a_test_the_results_are_those_of_validation(info: BundleInfo) -> None:
    first, second = ModelCard(model_card(info)).data.eval_results
    assert {first.dataset_split, second.dataset_split} == {"val"}
    assert (first.metric_type, first.metric_name) == ("roc_auc", "Macro ROC AUC")
    assert first.metric_value == 0.9
    unmeasured = info.model_copy(update={"metrics": {}})
    card = model_card(unmeasured)
    assert ModelCard(card).data.eval_results is None
    assert "How good it is was not measured." in card


def test_the_sections_follow_the_warning(info: BundleInfo, measured: Path) -> None:
    for card in (model_card(info), model_card(info, read_evidence(info, measured))):
        assert re.findall(r"^## (.*)$", card, re.MULTILINE) == SECTIONS
        assert card.index("**Not a medical device.**") < card.index("## ")
        assert "\n\n\n" not in card


def test_the_rules_are_told_with_their_thresholds_and_figures(tmp_path: Path) -> None:
    info = read_info(write_bundle(tmp_path / "bundle", decision=ALL_RULES))
    evidence = read_evidence(info, write_evaluation(tmp_path, info))
    told = section(model_card(info, evidence), "Decision rules")
    assert "The label is that of\nthe rule `balanced` unless" in told
    for rule in info.rulebook.rules:
        assert f"- `{rule}`: {MEANINGS[rule]}" in told
    assert f"{MEANINGS['melanoma-first']} The threshold is 2.0%: where it was chosen it" in told
    assert "| Rule | Split | Balanced accuracy |\n" in told
    assert "| `balanced` | validation | 0.750 |" in told
    assert "| `balanced` | test | 0.660 (0.600\N{EN DASH}0.720) |" in told
    assert "| `most-probable` | test | 0.550" in told
    assert "| `melanoma-first` |" not in told
    assert "| vasc | mel | 50 |" in told


def test_a_bundle_without_figures_has_its_rules_and_no_table(info: BundleInfo) -> None:
    told = section(model_card(info), "Decision rules")
    assert "the rule `most-probable` unless" in told
    assert "- `melanoma-first`" not in told
    assert "|" not in told


def test_patient_data_are_told_with_their_figures(info: BundleInfo, tmp_path: Path) -> None:
    assert "Patient data" not in model_card(info)
    told = section(model_card(read_info(write_bundle(tmp_path, patient=PATIENT))), "Patient data")
    assert "| picture alone | 0.500 | 0.500 | 0.500 | 0.500 |" in told
    assert "| picture and patient data | 0.625 | 0.625 | 0.625 | 0.625 |" in told
    assert "Sites that it knows: back, face." in told


def test_what_was_measured_is_told(info: BundleInfo, measured: Path) -> None:
    evidence = read_evidence(info, measured)
    assert evidence.missing == {}
    card = model_card(info, evidence)
    assert "Not measured" not in card
    for text in MEASURED.values():
        assert text in card
    assert "| Balanced accuracy | 0.750 | 0.625 (0.500\N{EN DASH}0.700) |" in card
    assert "| Accuracy | not measured | not measured |" in card
    by_class = section(card, "By class")
    head = "| Class | Images | Lesions | Sensitivity | ROC AUC | Sensitivity at 90% specificity |"
    assert by_class.strip().startswith(head)
    assert "| mel | 10 | 10 | 0.700 (0.500\N{EN DASH}0.800) | undefined | 0.810 (0.72" in by_class
    assert "| nv | 27 | 27 | not measured | not measured | not measured |" in by_class
    assert "30% (20% to 50%) are called something else" in by_class
    assert "finds 81% (72% to 90%) of them" in by_class
    groups = section(card, "Groups")
    assert "| Site | ear | 20 | 15 | 0.500 (0.450\N{EN DASH}0.550) † |" in groups
    assert "| Site | hand | 20 | 15 | \N{EN DASH} |" in groups


def test_what_was_not_measured_is_said_to_be_so(info: BundleInfo, tmp_path: Path) -> None:
    evidence = read_evidence(info, tmp_path / "none")
    assert set(evidence.missing) == {"evaluation", *AUDITS}
    card = model_card(info, evidence)
    for name in AUDITS:
        assert f"Not measured. `derma audit tiny --only {name}` does." in card
    assert "Not measured. `derma evaluate tiny` does." in card
    for text in MEASURED.values():
        assert text not in card


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"weights_sha256": "f" * 64}, "is of other weights"),
        ({"dataset_fingerprint": "f" * 64}, "is of other data than those of its training"),
        ({"split": "val"}, "is of the val split"),
        ({"rule": "balanced"}, "is of the decision rule balanced"),
        (
            {"decision": {"default": "most-probable", "costs": {"mel": {"nv": 2.0}}}},
            "is of other thresholds or costs of the decision rule",
        ),
        ({"sets": "class-conditional"}, "is of class-conditional prediction sets"),
    ],
)
def test_what_is_not_of_these_weights_is_left_out(
    changes: dict[str, Any], reason: str, info: BundleInfo, tmp_path: Path
) -> None:
    audits = write_audits(tmp_path, info)
    (audits / "coverage" / "provenance.json").write_text(json.dumps(provenance(info) | changes))
    evidence = read_evidence(info, write_evaluation(tmp_path, info, **changes))
    assert evidence.missing == {"evaluation": reason, "coverage": reason}
    card = model_card(info, evidence)
    assert f"Not measured: what was found of it {reason}. `derma evaluate tiny`" in card
    assert f"of it {reason}. `derma audit tiny --only coverage` measures it again" in card
    assert MEASURED["coverage"] not in card
    assert MEASURED["robustness"] in card


def test_an_audit_that_does_not_say_what_it_is_of_is_left_out(
    info: BundleInfo, measured: Path
) -> None:
    (measured / "audits" / "tiny" / "subgroups" / "provenance.json").unlink()
    evidence = read_evidence(info, measured)
    assert evidence.missing == {"subgroups": "does not say which weights it is of"}
    assert "groups of people were not measured" in model_card(info, evidence)


def test_without_masks_only_the_map_is_unmeasured(info: BundleInfo, measured: Path) -> None:
    (measured / "audits" / "tiny" / "explanations" / "localisation.csv").unlink()
    card = model_card(info, read_evidence(info, measured))
    assert "Activation maps against lesion masks: not measured" in card
    assert "Deletion and insertion on 8 pictures" in card


@pytest.mark.parametrize("content", ["{", "{}", "[]"])
def test_a_damaged_audit_is_one_sentence(content: str, info: BundleInfo, measured: Path) -> None:
    (measured / "audits" / "tiny" / "coverage" / "provenance.json").write_text(content)
    with pytest.raises(DermaError, match=r"coverage: can't be read .*audit tiny again, with"):
        read_evidence(info, measured)


def test_incomplete_figures_are_one_sentence(info: BundleInfo, measured: Path) -> None:
    (measured / "audits" / "tiny" / "coverage" / "coverage.csv").write_text("class,value\nall,1\n")
    with pytest.raises(DermaError, match=r"audits/tiny/coverage: figures are missing .*again"):
        model_card(info, read_evidence(info, measured))


def test_images_are_counted_where_the_data_are(info: BundleInfo, tmp_path: Path) -> None:
    rows = [("mel", "train", "a"), ("mel", "train", "a"), ("nv", "val", "b"), ("vasc", "test", "c")]
    table = pd.DataFrame(rows, columns=["class", "split", "lesion"]).assign(width=60, height=45)
    source = DatasetInfo("colours", "the paint shop", "CC0-1.0", 0)
    dataset = Dataset(tmp_path, source, table, info.class_names, info.data.fingerprint)
    counted = with_data(info, images={"train": 2, "val": 1, "test": 1})
    card = model_card(counted, read_evidence(counted, tmp_path, dataset))
    assert "| mel | Melanoma | 2 (1) | 0 (0) | 0 (0) |" in card
    assert "| all |  | 2 (1) | 1 (1) | 1 (1) |" in card
    assert "the paint shop" in card
    assert "pictures of 60x45 pixels" in card
    other = replace(dataset, fingerprint="f" * 64)
    assert read_evidence(counted, tmp_path, other).dataset is None


def test_elsewhere_the_shares_tell_the_training_images(info: BundleInfo) -> None:
    # Of 10 images, shares of 0.2, 0.7 and 0.1; nothing tells those of validation.
    card = model_card(with_data(info, images={"train": 10, "val": 4}))
    assert "| nv | Melanocytic nevus | 7 | not known |" in card


def test_the_recipe_and_the_architecture(info: BundleInfo) -> None:
    recipe = {"mixup": 0.2, "initial": "before", "of_old": 1}
    known = info.model_copy(update={"architecture": "eca_resnet18", "recipe": recipe})
    card = model_card(known)
    assert "| `mixup` | 0.2 | Alpha of mixup, 0 for none |" in card
    assert "| `of_old` | 1 |  |" in card
    assert "an earlier run, `before`" in card
    assert "resnet18 with efficient channel attention after" in card
    # 11,176,512 of resnet18 without its head (11,689,512 - 513,000), 36 in the eight 1D
    # convolutions (3 or 5 a block), and 3 x 513 of the head.
    assert "| Parameters | 11,178,087 |" in card
    assert "arXiv:1910.03151" in card
    assert "| Parameters | not known |" in model_card(info)


def test_only_ham10000_is_described_and_cited_as_such(info: BundleInfo) -> None:
    ham = with_data(info, name="ham10000", licence="CC BY-NC 4.0")
    assert "@article{tschandl2018ham10000" in model_card(ham)
    assert "Commercial use, which the licence of the data forbids" in model_card(ham)
    drawn = model_card(with_data(info, name="synthetic", licence="CC0 1.0"))
    assert "knows nothing of real ones" in drawn
    for card in (drawn, model_card(info)):
        assert "tschandl" not in card
        assert "Commercial use" not in card


def test_the_python_of_the_card_runs(
    bundle: Path, info: BundleInfo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_card(bundle, info)
    monkeypatch.chdir(bundle)
    Image.new("RGB", (20, 10), GREEN).save("lesion.jpg", quality=95)
    with_package, alone = re.findall(r"```python\n(.*?)```", read_card(bundle), re.DOTALL)
    expected = Classifier.load(bundle).predict("lesion.jpg")[0]
    assert printed(with_package).startswith(f"nv most-probable {expected.probabilities}")
    found = re.fullmatch(r"(\{.*\}) ([\d.e-]+)\n", printed(alone))
    assert found is not None
    probabilities = json.loads(found[1].replace("'", '"'))
    assert probabilities == pytest.approx(expected.probabilities, abs=1e-3)
    assert float(found[2]) == pytest.approx(expected.unfamiliarity, abs=1e-2)


def printed(code: str) -> str:
    with contextlib.redirect_stdout(io.StringIO()) as output:
        exec(code, {})
    return output.getvalue()


def test_a_card_does_not_touch_what_is_checked(bundle: Path, info: BundleInfo) -> None:
    before = {path.name: path.read_bytes() for path in bundle.iterdir()}
    assert write_card(bundle, info) == bundle / "README.md"
    assert read_card(bundle) == model_card(info)
    assert read_info(bundle) == info
    assert {path.name: path.read_bytes() for path in bundle.iterdir()} == before | {
        "README.md": read_card(bundle).encode()
    }


def test_a_bundle_without_a_card(bundle: Path) -> None:
    with pytest.raises(DermaError, match=r"README\.md: missing; write the model card"):
        read_card(bundle)


def test_tables_are_markdown() -> None:
    table = Table("Title", ("Class", "a|b"), (("mel", "1"),), "A note.")
    lines = ["**Title**", "", "| Class | a\\|b |", "| --- | ---: |", "| mel | 1 |", "", "A note."]
    assert markdown_table(table) == "\n".join(lines)


@pytest.mark.parametrize(
    ("difference", "verdict"),
    [
        (-0.2, "Maps find lesions worse than that: don't take them for outlines or reasons."),
        (0.0, "Maps are not shown to find lesions better than that."),
        (0.2, "Maps find lesions better than that."),
    ],
)
def test_maps_are_judged_by_the_interval(difference: float, verdict: str) -> None:
    values = {"model": 0.7, "gaussian": 0.7 - difference, "model minus gaussian": difference}
    frame = pd.DataFrame({"map": values.keys(), "value": values.values()}).assign(
        **{"class": "all", "decision": "all", "measure": "hit"}
    )
    frame["low"], frame["high"] = frame["value"] - 0.1, frame["value"] + 0.1
    assert readings.read_localisation(frame).endswith(verdict)


@pytest.mark.parametrize(
    ("high", "sentence"),
    [
        (0.96, "No class is shown to be below the target of 95%."),
        (0.94, "Below the target of 95% by more than chance: nv."),
    ],
)
def test_classes_short_of_the_target(high: float, sentence: str, info: BundleInfo) -> None:
    frame = pd.DataFrame(
        {"class": ["all", "nv"], "measure": "coverage", "value": 0.9, "low": 0.85, "high": high}
    )
    assert readings.read_coverage(info, frame) == sentence


def test_no_gap(info: BundleInfo) -> None:
    frame = pd.DataFrame({"flagged": np.array([False]), "difference": [-0.5]})
    assert readings.read_groups(frame) == "No group is shown to differ from the others."


def test_a_more_overconfident_group_is_worse_and_a_less_overconfident_one_is_not() -> None:
    frame = pd.DataFrame(
        {
            "attribute": "sex",
            "group": ["male", "female"],
            "metric": "overconfidence",
            "difference": [0.1, -0.1],
            "flagged": True,
        }
    )
    told = readings.read_groups(frame)
    assert told.startswith("2 gaps are flagged. Worse than the others: sex, male (")
    assert "+0.100" in told
    assert "female" not in told


@pytest.mark.parametrize(
    ("recipe", "told"),
    [
        ({}, "fitted on the training split. The best epoch, the temperature"),
        (
            {"fold": 0, "folds": 5},
            "fitted on the training and the validation split without fold 0 of 5. The best epoch,",
        ),
        (
            {"leave_source_out": "clinic A"},
            "fitted on the training split, without the source clinic A.",
        ),
    ],
)
def test_what_the_weights_are_fitted_on(
    recipe: dict[str, object], told: str, info: BundleInfo
) -> None:
    card = model_card(info.model_copy(update={"recipe": recipe}))
    assert told in " ".join(section(card, "Training data").split())


def test_by_default_nothing_is_known() -> None:
    assert Evidence().evaluation is None
    assert set(Evidence().missing) == {"evaluation", *AUDITS}
