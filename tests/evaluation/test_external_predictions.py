"""Which pictures of another set are judged, as which class, and which are left out."""

import hashlib
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
from PIL import Image

from doctor_derma.data.importers.sources import find_source, table_source
from doctor_derma.errors import DermaError
from doctor_derma.evaluation.external_predictions import predict_set
from doctor_derma.evaluation.predictions import Predictions
from doctor_derma.images.decoding import without_identity
from doctor_derma.inference.classifier import Classifier
from images.test_dicom import dicom
from tiny_bundle import GREEN, RED


def draw(path: Path, colour: tuple[int, int, int]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (16, 16), colour).save(path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two pictures of a class by its full name, and two of one by a stranger's."""
    folder = tmp_path / "clinic B"
    for index in range(2):
        draw(folder / "Melanoma" / f"m{index}.png", (255 - index, 0, 0))
        draw(folder / "naevus" / f"n{index}.png", (0, 255 - index, 0))
    return folder


def predict_folder(
    classifier: Classifier, folder: Path, seen: set[str] | None = None, **mapping: str
) -> tuple[Predictions, dict[str, int]]:
    return predict_set(classifier, find_source(folder, train=False), folder, mapping, seen or set())


def test_labels_are_the_models_whatever_their_case(classifier: Classifier, folder: Path) -> None:
    predictions, left_out = predict_folder(classifier, folder, NAEVUS="nv")
    named = zip(predictions.images, predictions.labels.tolist(), strict=True)
    assert dict(named) == {"m0": 0, "m1": 0, "n0": 1, "n1": 1}
    assert predictions.correct.all()
    assert left_out == {}
    predictions, left_out = predict_folder(classifier, folder, **{"*": "drop"})
    assert set(predictions.images) == {"m0", "m1"}
    assert left_out == {"dropped": 2}


def test_a_label_that_is_no_class_is_named_with_what_to_do(
    classifier: Classifier, folder: Path
) -> None:
    with pytest.raises(
        DermaError, match=r"no class of tiny: 'naevus' \(2\); map each, such as --map naevus=mel"
    ):
        predict_folder(classifier, folder)
    with pytest.raises(DermaError, match="'nevus' is no class of tiny; use mel, nv, vasc or drop"):
        predict_folder(classifier, folder, naevus="nevus")
    with pytest.raises(DermaError, match=r"no labelled picture is left \({'dropped': 4}\)"):
        predict_folder(classifier, folder, naevus="drop", melanoma="drop")


def test_a_damaged_picture_of_an_archive_is_left_out(
    classifier: Classifier, tmp_path: Path
) -> None:
    pictures = tmp_path / "pictures.zip"
    with ZipFile(pictures, "w") as archive:
        for index, colour in enumerate((RED, GREEN, RED)):
            draw(tmp_path / f"p{index}.png", colour)
            archive.write(tmp_path / f"p{index}.png", f"p{index}.png")
    content = bytearray(pictures.read_bytes())
    # Of the first one, behind its name: not what the archive's checksum is of.
    content[content.index(b"IDAT")] ^= 1
    pictures.write_bytes(content)
    table = tmp_path / "labels.csv"
    table.write_text("image,label\np0,mel\np1,nv\np2,mel\n")
    predictions, left_out = predict_set(classifier, table_source(table, [pictures]), table, {})
    assert set(predictions.images) == {"p1", "p2"}
    assert left_out == {"unreadable": 1}


def test_a_set_of_which_no_picture_can_be_read_is_refused(
    classifier: Classifier, tmp_path: Path
) -> None:
    broken = tmp_path / "broken"
    (broken / "mel").mkdir(parents=True)
    (broken / "mel" / "a.png").write_bytes(b"no picture")
    with pytest.raises(DermaError, match=r"broken: no picture can be read \(.*a\.png: not a pict"):
        predict_folder(classifier, broken)


def test_a_picture_that_was_seen_is_known_by_what_an_import_keeps_of_it(
    classifier: Classifier, tmp_path: Path
) -> None:
    folder = tmp_path / "clinic D"
    (folder / "mel").mkdir(parents=True)
    files = [dicom(np.full((16, 16, 3), (200 - shade, 0, 0), np.uint8)) for shade in range(2)]
    for index, encoded in enumerate(files):
        (folder / "mel" / f"{index}.dcm").write_bytes(encoded)
    hashes = [hashlib.sha256(without_identity(encoded)).hexdigest() for encoded in files]
    predictions, left_out = predict_folder(classifier, folder, {hashes[0]})
    assert list(predictions.images) == ["1"]
    assert left_out == {"seen in training": 1}
    with pytest.raises(DermaError, match="all 2 pictures were in this model's training"):
        predict_folder(classifier, folder, set(hashes))
