import io

import numpy as np
import pytest
from PIL import Image

from doctor_derma.data.importers.importing import import_images
from doctor_derma.data.importers.records import SourceImage
from doctor_derma.data.manifest import DatasetInfo, read_dataset
from doctor_derma.data.synthetic.synthesis import DEFAULT_COUNTS, scaled_counts, synthesize
from doctor_derma.diagnoses import HAM10000_DIAGNOSES
from doctor_derma.errors import DermaError


def pixels(image: SourceImage) -> np.ndarray:
    assert image.read is not None
    return np.asarray(Image.open(io.BytesIO(image.read())), dtype=float)


def test_draws_what_was_asked_for() -> None:
    images = synthesize({"nv": 8, "mel": 5}, size=(100, 75))

    assert [image.dx for image in images] == ["mel"] * 5 + ["nv"] * 8
    assert {pixels(image).shape for image in images} == {(75, 100, 3)}
    assert all(image.age and image.sex and image.site for image in images)


def test_same_seed_same_bytes() -> None:
    def drawn(seed: int, counts: dict[str, int]) -> list[bytes]:
        return [image.read() for image in synthesize(counts, seed=seed) if image.read]

    one = drawn(3, {"bcc": 4})
    assert one == drawn(3, {"bcc": 4})
    assert one == drawn(3, {"akiec": 3, "bcc": 4})[3:]
    assert one != drawn(4, {"bcc": 4})


@pytest.mark.slow
def test_imports_as_every_class_in_every_split(tmp_path) -> None:
    summary = import_images(
        synthesize(dict.fromkeys(DEFAULT_COUNTS, 6), size=(80, 60)),
        DatasetInfo("synthetic", "", "", 0),
        tmp_path,
    )

    assert summary.reported == ()
    dataset = read_dataset(tmp_path)
    assert dataset.classes == tuple(sorted(HAM10000_DIAGNOSES))
    assert set(dataset.table.groupby("class")["split"].nunique()) == {3}
    assert dataset.table["lesion"].nunique() < len(dataset.table)


@pytest.mark.slow
def test_classes_differ_in_the_middle_and_not_in_the_corner() -> None:
    """Blood is red and melanin is brown; the skin around tells nothing."""
    images = synthesize({"vasc": 30, "mel": 30}, size=(100, 75))

    def redness(rows: slice, columns: slice) -> dict[str, float]:
        found = {}
        for dx in ("vasc", "mel"):
            patches = [pixels(image)[rows, columns] for image in images if image.dx == dx]
            # Green over blue: blood takes both alike, melanin takes more of the blue.
            found[dx] = float(
                np.median([np.log((1 + p[..., 1]) / (1 + p[..., 2])).mean() for p in patches])
            )
        return found

    middle = redness(slice(30, 45), slice(42, 58))
    beside = redness(slice(30, 45), slice(2, 10))
    assert middle["mel"] - middle["vasc"] > 0.15
    assert abs(beside["mel"] - beside["vasc"]) < 0.08


def test_scaled_counts_keep_the_proportions() -> None:
    counts = scaled_counts(840)
    assert sum(counts.values()) == pytest.approx(840, abs=7)
    assert counts["nv"] == 2 * DEFAULT_COUNTS["nv"]


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ({"melanoma": 5}, "class 'melanoma' can't be drawn; the classes are akiec, bcc"),
        ({"mel": 2}, "class 'mel': 2 images; draw at least 3"),
    ],
)
def test_what_cannot_be_drawn(counts: dict[str, int], message: str) -> None:
    with pytest.raises(DermaError, match=message):
        synthesize(counts)
