"""A bundle comes back as it was written, and a damaged one is refused in one sentence."""

import json
from pathlib import Path
from typing import Any

import pytest

from doctor_derma.bundle import read_info, write_info
from doctor_derma.errors import DermaError
from tiny_bundle import PATIENT, write_bundle


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return write_bundle(tmp_path / "bundle")


def change(bundle: Path, *gone: str, **fields: Any) -> None:
    """Take some fields away from ``model.json``, and give others new values."""
    path = bundle / "model.json"
    values = json.loads(path.read_text()) | fields
    path.write_text(json.dumps({key: values[key] for key in values if key not in gone}))


def test_round_trip(bundle: Path, tmp_path: Path) -> None:
    info = read_info(bundle)
    copy = tmp_path / "copy"
    copy.mkdir()
    (copy / "model.onnx").write_bytes((bundle / "model.onnx").read_bytes())
    write_info(copy, info)
    assert read_info(copy) == info
    assert info.class_names == ("mel", "nv", "vasc")


def test_fields_keep_their_older_keys_and_are_read_under_either(bundle: Path) -> None:
    path = bundle / "model.json"
    values = json.loads(path.read_text())
    better = {"prevalence": "prior_weight", "views": "tta", "familiar": "ood"}
    values |= {"prevalence": 0.25, "views": 2, "familiar": {"acceptance": 0.9, "images": 7}}
    assert set(better) < set(values)
    path.write_text(json.dumps(values))
    info = read_info(bundle)
    assert (info.prior_weight, info.tta, info.ood.acceptance, info.ood.images) == (0.25, 2, 0.9, 7)
    renamed = {better.get(key, key): value for key, value in values.items()}
    path.write_text(json.dumps(renamed))
    assert read_info(bundle) == info
    write_info(bundle, info)
    assert json.loads(path.read_text()) == values


def test_a_bundle_from_before_there_were_rules_calls_the_most_probable_class(bundle: Path) -> None:
    change(bundle, "decision")
    info = read_info(bundle)
    assert info.decision.default == info.rulebook.default == "most-probable"
    assert info.rulebook.rules == ("balanced", "most-probable")


def test_another_rule_or_costs_may_be_put_in_place(bundle: Path) -> None:
    info = read_info(bundle)
    assert info.deciding(None) == info
    assert info.deciding("balanced").rulebook.default == "balanced"
    # Costs that are given are meant to be used.
    costly = info.deciding(None, {"mel": {"nv": 3}})
    assert (costly.decision.default, costly.decision.costs) == ("costs", {"mel": {"nv": 3.0}})
    assert info.deciding("balanced", {}).decision.default == "balanced"
    with pytest.raises(DermaError, match="no threshold for melanoma"):
        info.deciding("melanoma-first")


@pytest.mark.parametrize(
    ("decision", "message"),
    [
        ({"default": "coin"}, r"decision\.default: Input should be 'balanced'"),
        ({"default": "costs"}, "decision: rule 'costs': this model has no costs"),
        ({"costs": {"bcc": {"nv": 1}}}, "decision: costs: class 'bcc' is unknown"),
    ],
)
def test_a_decision_that_can_not_be_taken_is_refused(
    decision: dict[str, Any], message: str, bundle: Path
) -> None:
    change(bundle, decision=decision)
    with pytest.raises(DermaError, match=rf"model\.json: {message}"):
        read_info(bundle)


def test_a_changed_graph_is_refused(bundle: Path) -> None:
    content = bytearray((bundle / "model.onnx").read_bytes())
    content[len(content) // 2] ^= 1
    (bundle / "model.onnx").write_bytes(content)
    with pytest.raises(DermaError, match=r"model\.onnx: its SHA-256 is not the one in model\.json"):
        read_info(bundle)


@pytest.mark.parametrize("file", ["model.onnx", "model.json"])
def test_a_missing_file_is_named(file: str, bundle: Path) -> None:
    (bundle / file).unlink()
    with pytest.raises(DermaError, match=rf"{file}.*(missing).*export"):
        read_info(bundle)


def test_no_folder_at_all(tmp_path: Path) -> None:
    with pytest.raises(DermaError, match=r"nowhere: no model bundle here .* 'derma promote'"):
        read_info(tmp_path / "nowhere")


@pytest.mark.parametrize(
    "field",
    ["name", "classes", "input", "temperature", "metrics", "data", "code", "recipe", "weights"],
)
def test_a_missing_field_is_named(field: str, bundle: Path) -> None:
    change(bundle, field)
    with pytest.raises(DermaError, match=rf"model\.json: {field}: Field required; export"):
        read_info(bundle)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"temperature": 0}, "temperature: Input should be greater than 0"),
        ({"format": 1}, "format: Input should be 2"),
        ({"surprise": 1}, "surprise: Extra inputs are not permitted"),
        ({"classes": [{"name": "a", "full_name": "A"}]}, "classes: Tuple should have at least 2"),
        ({"metrics": {"val": {"auc": "good"}}}, r"metrics\.val\.auc: Input should be a valid"),
    ],
)
def test_a_wrong_field_is_named(fields: dict[str, Any], message: str, bundle: Path) -> None:
    change(bundle, **fields)
    with pytest.raises(DermaError, match=message) as caught:
        read_info(bundle)
    assert "\n" not in str(caught.value)


def test_class_conditional_sets_need_a_threshold_for_each_class(bundle: Path) -> None:
    conformal = {"target": 0.9, "threshold": 0.8, "images": 7}
    change(bundle, conformal=conformal | {"thresholds": [0.7, 0.8, 0.9]})
    assert read_info(bundle).conformal.limit == (0.7, 0.8, 0.9)
    change(bundle, conformal=conformal | {"thresholds": [0.7, 0.8]})
    with pytest.raises(DermaError, match=r"conformal\.thresholds: 2 numbers for 3 classes; export"):
        read_info(bundle)


CALLED = {"figures": {"balanced": {"metrics": {}, "called": [0.5, 0.5]}}}
TERM = PATIENT.model_dump(mode="json")
TERM["conformal"]["thresholds"] = [0.7, 0.8]


@pytest.mark.parametrize(
    ("fields", "place"),
    [
        ({"class_shares": [0.5, 0.5]}, "class_shares"),
        ({"decision": CALLED}, r"decision\.figures\.balanced\.called"),
        ({"patient": TERM}, r"patient\.conformal\.thresholds"),
    ],
)
def test_what_has_a_number_a_class_has_one_for_each(
    fields: dict[str, Any], place: str, bundle: Path
) -> None:
    change(bundle, **fields)
    with pytest.raises(DermaError, match=f"{place}: 2 numbers for 3 classes; export"):
        read_info(bundle)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[]"])
def test_what_is_no_json_object_is_one_sentence(content: bytes, bundle: Path) -> None:
    (bundle / "model.json").write_bytes(content)
    with pytest.raises(DermaError, match=r"model\.json: the file: .* export the run again") as c:
        read_info(bundle)
    assert "\n" not in str(c.value)
