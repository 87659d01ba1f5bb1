import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from data.pictures import encoded, picture, source, sources
from doctor_derma.data.description import describe, plot_description
from doctor_derma.data.importers.importing import import_images
from doctor_derma.data.importers.records import SourceImage
from doctor_derma.data.manifest import Dataset, DatasetInfo, read_dataset


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    images = sources({"mel": 6, "seborrheic keratosis": 10})
    for number in range(4):
        known = {"age": 40.0 + number, "sex": "female", "site": "back", "source": "Graz"}
        known |= {"patient": "P1", "skin_tone": "III"}
        image = source(f"x{number}", "mel", encoded(picture(500 + number)))
        images.append(SourceImage(image.image, "", image.read, dx="mel", lesion="x", **known))
    images.append(source("broken", "mel", b"junk"))
    import_images(images, DatasetInfo("small", "made up", "none", 7), tmp_path)
    return read_dataset(tmp_path)


def printed(dataset: Dataset, width: int = 80) -> str:
    console = Console(file=io.StringIO(), width=width)
    console.print(describe(dataset))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_tables_count_images_and_lesions(dataset: Dataset) -> None:
    text = printed(dataset)

    assert "small: 20 images of 17 lesions in 2 classes" in text
    row = next(line for line in text.splitlines() if line.startswith("│ mel "))
    assert row.rstrip("│ ").endswith("10 (7)")
    assert "median 42" in text
    assert "unknown for 16 images" in text
    assert "female 4" in text
    assert "unknown 16, Graz 4" in text
    assert "96x72 20" in text
    assert "unknown 16, III 4" in text
    assert " ".join(text.split()).count("patients │ 1 │") == 1
    assert "corrupt 1" in text
    assert "Melanoma" in text


@pytest.mark.slow
def test_unknown_patients_are_said_to_be_unknown(tmp_path: Path) -> None:
    import_images(sources({"a": 4, "b": 4}), DatasetInfo("bare", "", "", 0), tmp_path)
    text = printed(read_dataset(tmp_path))
    assert "age" in text
    assert "unknown 8" in text
    plot_description(read_dataset(tmp_path), tmp_path / "bare.png")
    assert (tmp_path / "bare.png").is_file()


@pytest.mark.slow
def test_plot_is_one_picture_with_something_on_it(dataset: Dataset, tmp_path: Path) -> None:
    path = tmp_path / "plots" / "data.png"
    plot_description(dataset, path)

    drawn = np.asarray(Image.open(path).convert("RGB"))
    assert drawn.shape[0] > 800
    assert (drawn != 255).any(axis=2).mean() > 0.05
    assert [file.name for file in path.parent.iterdir()] == ["data.png"]
