"""Promotion copies a checked bundle, with test figures that belong to it; the card tells all."""

from pathlib import Path

import pytest

from doctor_derma.bundle import file_sha256, read_card, read_info, write_info
from doctor_derma.commands.publishing import promote_bundle
from doctor_derma.errors import DermaError
from doctor_derma.reporting.model_card import model_card
from reporting.measured import write_audits, write_evaluation
from tiny_bundle import write_bundle


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return write_bundle(tmp_path / "bundle")


def test_a_copy_with_the_figures_of_its_test(bundle: Path, tmp_path: Path) -> None:
    info = read_info(bundle)
    target = tmp_path / "deployment" / "models" / "champion"
    write_audits(tmp_path, info)
    promote_bundle(bundle, target, write_evaluation(tmp_path, info))
    promoted = read_info(target)
    # The undefined AUC is not among them.
    assert promoted.metrics == info.metrics | {
        "test": {
            "balanced_accuracy": 0.625,
            "sensitivity_mel": 0.7,
            "sensitivity_at_90_specificity_mel": 0.81,
        }
    }
    assert promoted.model_copy(update={"metrics": info.metrics}) == info
    assert file_sha256(target / "model.onnx") == file_sha256(bundle / "model.onnx")
    card = read_card(target)
    assert "| Balanced accuracy | 0.750 | 0.625 (0.500\N{EN DASH}0.700) |" in card
    assert "Not measured" not in card


@pytest.mark.parametrize(
    "changes", [{"weights_sha256": "f" * 64}, {"dataset_fingerprint": "f" * 64}, {"split": "val"}]
)
def test_figures_of_other_weights_data_or_split_are_left_out(
    changes: dict[str, str], bundle: Path, tmp_path: Path
) -> None:
    info = read_info(bundle)
    promote_bundle(bundle, tmp_path / "champion", write_evaluation(tmp_path, info, **changes))
    assert read_info(tmp_path / "champion") == info


def test_without_an_evaluation(bundle: Path, tmp_path: Path) -> None:
    promote_bundle(bundle, tmp_path / "champion", tmp_path / "none")
    assert read_info(tmp_path / "champion") == read_info(bundle)


def test_a_champion_replaces_the_one_before(bundle: Path, tmp_path: Path) -> None:
    target = write_bundle(tmp_path / "champion")
    (target / "leftover.txt").write_text("of the one before")
    promote_bundle(bundle, target, tmp_path / "none")
    names = sorted(path.name for path in target.iterdir())
    assert names == ["README.md", "model.json", "model.onnx"]
    # A champion may be promoted onto its own place, to add its figures.
    promote_bundle(target, target, write_evaluation(tmp_path, read_info(target)))
    assert "test" in read_info(target).metrics


def test_a_licence_goes_with_the_weights_and_stays_for_the_same_data(
    bundle: Path, tmp_path: Path
) -> None:
    target = write_bundle(tmp_path / "champion")
    (target / "LICENSE").write_text("of the one before")
    promote_bundle(bundle, target, tmp_path / "none")
    assert (target / "LICENSE").read_text() == "of the one before"
    (bundle / "LICENSE").write_text("its own")
    promote_bundle(bundle, target, tmp_path / "none")
    assert (target / "LICENSE").read_text() == "its own"
    (bundle / "LICENSE").unlink()
    info = read_info(bundle)
    of_others = info.data.model_copy(update={"licence": "another"})
    write_info(bundle, info.model_copy(update={"data": of_others}))
    promote_bundle(bundle, target, tmp_path / "none")
    assert not (target / "LICENSE").exists()


def test_a_damaged_bundle_leaves_the_champion_alone(bundle: Path, tmp_path: Path) -> None:
    target = write_bundle(tmp_path / "champion")
    (bundle / "model.onnx").write_bytes(b"not a graph")
    with pytest.raises(DermaError, match="SHA-256 is not the one"):
        promote_bundle(bundle, target, tmp_path / "none")
    read_info(target)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bundle", "champion"]


@pytest.mark.parametrize("content", ["{", "{}", "[]", '{"metrics": 5}'])
def test_a_damaged_evaluation_is_one_sentence(content: str, bundle: Path, tmp_path: Path) -> None:
    evaluations = write_evaluation(tmp_path, read_info(bundle))
    (evaluations / "tiny" / "metrics.json").write_text(content)
    with pytest.raises(DermaError, match=r"metrics\.json: can't be read .*; evaluate tiny again"):
        promote_bundle(bundle, tmp_path / "champion", evaluations)
    assert not (tmp_path / "champion").exists()


def test_the_card_says_what_it_is_not_and_under_which_licence(bundle: Path) -> None:
    info = read_info(bundle)
    card = model_card(info)
    assert "**Not a medical device.**" in card
    assert "must not be used to diagnose" in card
    assert "they derive from data under CC0-1.0 and keep its terms" in card
    assert "Non-commercial" not in card
    data = info.data.model_copy(update={"licence": "CC BY-NC 4.0"})
    card = model_card(info.model_copy(update={"data": data}))
    assert "Non-commercial use only, with credit to the data's authors." in card
    for diagnosis in info.classes:
        assert f"| {diagnosis.name} | {diagnosis.full_name} |" in card
    assert info.weights.sha256 in card
