"""A network for pictures of 3:4, from its recipe to an answer."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import yaml

from doctor_derma.bundle import read_info
from doctor_derma.commands.audit import audit_model
from doctor_derma.commands.evaluate import evaluate_model
from doctor_derma.errors import DermaError
from doctor_derma.evaluation.gallery import make_cards
from doctor_derma.export.exporting import export_run
from doctor_derma.export.quantization import export_quantized
from doctor_derma.inference.classifier import Classifier
from doctor_derma.training.runs import open_run
from project import Project, copy_data, train_tiny, without_foreign

SIZES = {"image_size": "48x64", "train_size": "48x64", "start_size": "36x48"}


@pytest.fixture(scope="module")
def wide(lesions: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    with without_foreign():
        root = copy_data(lesions, tmp_path_factory.mktemp("wide"))
        yield train_tiny(root, "wide", **SIZES)


def test_the_recipe_is_kept_as_it_was_written(wide: Project) -> None:
    written = yaml.safe_load((wide.run.folder / "config.yaml").read_text())
    assert {name: written[name] for name in SIZES} == SIZES
    assert open_run(wide.workspace.runs, "wide").config == wide.run.config
    info = read_info(wide.run.bundle)
    assert {name: info.recipe[name] for name in SIZES} == SIZES


def test_the_graph_takes_pictures_in_their_shape(wide: Project) -> None:
    info = read_info(wide.run.bundle)
    assert (info.input.height, info.input.width) == (48, 64)
    assert 0 < info.parity.max_probability_difference < 1e-4
    # 48 rows are one and a half cells of 32 pixels.
    assert info.map_scale == (0.75, 1)
    with pytest.raises(DermaError, match="--tta: 8: some of them are quarter turns"):
        export_run(wide.run, wide.dataset, tta=8)


def test_what_changes_in_a_corner_changes_the_map_there(wide: Project) -> None:
    classifier = Classifier.load(wide.run.bundle)
    pixels = np.random.default_rng(0).integers(0, 256, (16, 48, 64, 3), dtype=np.uint8)
    _, before = classifier.predict_pixels(pixels)
    assert before.shape[2:] == (2, 2)
    for row in range(2):
        for column in range(2):
            changed = pixels.copy()
            changed[:, row * 24 : row * 24 + 24, column * 32 : column * 32 + 32] //= 4
            _, after = classifier.predict_pixels(changed)
            difference = np.abs(after - before).mean((0, 1))
            assert np.unravel_index(difference.argmax(), (2, 2)) == (row, column)


def test_it_is_evaluated_and_audited_as_any_other(wide: Project) -> None:
    predictions, _, folder = evaluate_model(wide.workspace, "wide", "test")
    assert (folder / "report.html").is_file()
    card = make_cards((predictions,), [0])[0]
    assert card.views[0].overlay is not None
    assert card.views[0].overlay.shape == card.picture.shape == (180, 240, 3)
    [(_, found, folder)] = audit_model(wide.workspace, "wide", ["explanations"], "test", None)
    assert np.isfinite(found.frames["deletion"]["value"]).all()
    assert (folder / "deletion.png").is_file()


def test_it_predicts_a_picture_and_so_it_does_in_8_bits(wide: Project, tmp_path: Path) -> None:
    bundle = export_quantized(wide.run, wide.dataset, "int8", tmp_path / "int8")
    assert read_info(bundle).map_scale == (0.75, 1)
    picture = wide.dataset.folder / wide.dataset.table["path"][0]
    for path in (wide.run.bundle, bundle):
        [prediction] = Classifier.load(path).predict([picture])
        assert np.shape(prediction.activation_map) == (2, 2)
        assert prediction.label in wide.dataset.classes
