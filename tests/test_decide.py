"""``derma decide`` chooses on validation images, and the bundle decides by what was chosen."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from doctor_derma.bundle import read_card, read_info, write_info
from doctor_derma.commands.decide import decide_model
from doctor_derma.commands.models import predict
from doctor_derma.errors import DermaError
from doctor_derma.server.schemas import Provenance
from doctor_derma.workspace import Workspace
from project import Project

POSITIVE = ("akiec", "bcc", "mel")


@pytest.fixture
def bundle(tiny_run: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the run's bundle, and a folder of its own for what is drawn."""
    images = tmp_path / "images"
    monkeypatch.setattr(Workspace, "evaluation_images", property(lambda self: images))
    return Path(shutil.copytree(tiny_run.run.bundle, tmp_path / "bundle"))


def test_a_sensitivity_is_asked_for_and_the_bundle_decides_by_it(
    tiny_run: Project, bundle: Path, tmp_path: Path
) -> None:
    workspace = tiny_run.workspace
    _, folder, written = decide_model(workspace, str(bundle), sensitivity=0.9)
    assert written == read_info(bundle)
    names = {path.name for path in folder.iterdir()}
    assert names == {
        *("operating_points.csv", "operating_points.png", "provenance.json", "tables.txt")
    }
    assert set(pd.read_csv(folder / "operating_points.csv")["question"]) == {
        *("malignant", "melanoma")
    }
    info = read_info(bundle)
    point = info.decision.operating_point
    assert point is not None
    assert (info.decision.default, point.classes) == ("operating-point", POSITIVE)
    # What is expected is what the classifier now does with the validation split.
    classifier, predictions = predict(workspace, str(bundle), tiny_run.dataset, "val")
    assert classifier.info.decision.default == "operating-point"
    is_positive = np.isin(np.array(info.class_names)[predictions.labels], POSITIVE)
    called = np.isin(np.array(info.class_names)[predictions.predicted], POSITIVE)
    assert called[is_positive].mean() == pytest.approx(point.sensitivity.value)
    assert point.sensitivity.value >= 0.9
    assert (~called[~is_positive]).mean() == pytest.approx(point.specificity.value)
    assert point.sensitivity.images == is_positive.sum()
    assert point.sensitivity.low <= point.sensitivity.value <= point.sensitivity.high
    accuracy = (predictions.predicted == predictions.labels).mean()
    assert info.metrics["val"]["accuracy"] == pytest.approx(accuracy)
    card = read_card(bundle)
    assert "- `operating-point`: One of the kinds that matter most" in card
    assert "by a sensitivity of 90% with a threshold of" in card
    # The page and the API tell the same.
    [offered] = [of for of in Provenance.of_bundle(info).rules if of.name == "operating-point"]
    assert offered.expectation == info.decision.expectations["operating-point"]
    assert f"sensitivity {point.sensitivity.value:.0%} (95% interval" in str(offered.expectation)


def test_a_review_rate_of_melanoma(tiny_run: Project, bundle: Path) -> None:
    decide_model(tiny_run.workspace, str(bundle), "melanoma", review_rate=0.2)
    point = read_info(bundle).decision.operating_point
    assert point is not None
    assert point.classes == ("mel",)
    assert point.review_rate.value <= 0.2


def test_costs_become_the_rule(tiny_run: Project, bundle: Path, tmp_path: Path) -> None:
    costs = tmp_path / "costs.yaml"
    costs.write_text("costs: {mel: {nv: 20}}\n")
    decide_model(tiny_run.workspace, str(bundle), costs=costs)
    info = read_info(bundle)
    assert info.decision.default == "costs"
    assert info.decision.costs == {"mel": {"nv": 20.0}}
    assert "operating-point" not in info.rulebook.rules
    assert "by the costs of costs.yaml; on" in info.decision.expectations["costs"]


def test_without_a_target_the_bundle_stays_as_it_is(tiny_run: Project, bundle: Path) -> None:
    before = {path.name: path.read_bytes() for path in bundle.iterdir()}
    _, folder, written = decide_model(tiny_run.workspace, str(bundle))
    assert written is None
    assert (folder / "operating_points.png").is_file()
    assert {path.name: path.read_bytes() for path in bundle.iterdir()} == before


def test_mistakes_are_one_sentence_and_change_nothing(tiny_run: Project, bundle: Path) -> None:
    workspace, info = tiny_run.workspace, read_info(bundle)
    with pytest.raises(DermaError, match=r"--sensitivity and --review-rate: .*; give one"):
        decide_model(workspace, str(bundle), sensitivity=0.9, review_rate=0.2)
    with pytest.raises(DermaError, match=r"--sensitivity: 95\.0 is not within 0 and 1"):
        decide_model(workspace, str(bundle), sensitivity=95.0)
    assert read_info(bundle) == info
    # Trained on the validation images, without a network that was not.
    write_info(bundle, info.model_copy(update={"recipe": info.recipe | {"refit": True}}))
    with pytest.raises(DermaError, match="tiny: trained on the validation images too"):
        decide_model(workspace, str(bundle), sensitivity=0.9)
    write_info(bundle, info.model_copy(update={"twin": "gone"}))
    with pytest.raises(DermaError, match="gone: no such run"):
        decide_model(workspace, str(bundle), sensitivity=0.9)
    data = info.data.model_copy(update={"fingerprint": "f" * 64})
    write_info(bundle, info.model_copy(update={"data": data}))
    with pytest.raises(DermaError, match="not the data that tiny was trained on"):
        decide_model(workspace, str(bundle), sensitivity=0.9)
