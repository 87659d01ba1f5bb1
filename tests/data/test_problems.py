from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from data.pictures import encoded, picture, sources, write
from doctor_derma.bundle import QualityLimits
from doctor_derma.data.importers.importing import import_images
from doctor_derma.data.manifest import DatasetInfo, read_dataset
from doctor_derma.data.problems import (
    Problem,
    find_contradictions,
    find_leakage,
    find_poor_pictures,
    near_identical_images,
)
from doctor_derma.errors import DermaError

CLASSES = ("df", "mel", "nv")
NO_PAIRS = np.empty((0, 2), dtype=int)


def manifest(*rows: tuple[str, str, str]) -> pd.DataFrame:
    """Lesion, class and split of each image."""
    table = pd.DataFrame(rows, columns=["lesion", "class", "split"])
    return table.assign(image=[f"image{row}" for row in range(len(rows))])


def unknown(table: pd.DataFrame) -> np.ndarray:
    return np.full((len(table), len(CLASSES)), np.nan)


def test_a_lesion_in_two_splits_leaks_from_the_one_that_is_less_held_out() -> None:
    table = manifest(
        ("a", "nv", "train"), ("a", "nv", "test"), ("b", "nv", "train"), ("b", "nv", "train"),
        ("c", "mel", "val"), ("c", "mel", "train"),
    )  # fmt: skip
    found = {one.row: one for one in find_leakage(table, NO_PAIRS)}
    assert set(found) == {0, 5}
    assert {one.suggested for one in found.values()} == {"drop"}
    assert found[0].detail == "lesion a, which is in test, as image1"
    assert found[5].detail == "lesion c, which is in val, as image4"


def test_a_near_identical_picture_in_another_split_leaks() -> None:
    table = manifest(("a", "nv", "test"), ("b", "nv", "train"), ("c", "nv", "train"))
    [found] = find_leakage(table, np.array([[0, 1], [1, 2]]))
    assert (found.row, found.problem, found.score) == (1, Problem.LEAKAGE, 1)
    assert found.detail == "almost the same picture as test, as image0"


def test_the_minority_of_a_lesion_contradicts() -> None:
    table = manifest(
        ("a", "nv", "train"), ("a", "mel", "train"), ("a", "nv", "train"), ("b", "mel", "train"),
        ("patient 7", "nv", "train"), ("patient 7", "mel", "train"),
    )  # fmt: skip
    [found] = find_contradictions(table, NO_PAIRS, CLASSES, unknown(table))
    assert (found.row, found.problem, found.score) == (1, Problem.LESION_LABELS, 1)
    assert found.suggested == "relabel:nv"
    assert found.detail == "the same lesion as image0 (nv), image2 (nv)"


def test_in_a_tie_the_networks_decide_or_nobody() -> None:
    table = manifest(("a", "nv", "train"), ("b", "df", "train"))
    pairs = np.array([[0, 1]])
    probabilities = np.array([[0.1, 0.5, 0.4], [np.nan] * 3])
    [found] = find_contradictions(table, pairs, CLASSES, probabilities)
    assert (found.row, found.suggested) == (1, "relabel:nv")
    assert found.problem == Problem.DUPLICATE_LABELS
    # Of nv and df alone, whatever mel is.
    assert found.score == pytest.approx(0.4 / 0.5)

    both = find_contradictions(table, pairs, CLASSES, unknown(table))
    assert [(one.row, one.suggested) for one in both] == [(0, ""), (1, "")]


def test_three_copies_are_one_group() -> None:
    table = manifest(("a", "nv", "train"), ("b", "df", "train"), ("c", "nv", "train"))
    [found] = find_contradictions(table, np.array([[0, 1], [1, 2]]), CLASSES, unknown(table))
    assert (found.row, found.suggested, found.score) == (1, "relabel:nv", 1)


def test_dark_bright_and_blurred_pictures_are_found() -> None:
    checks = np.indices((8, 8)).sum(axis=0)[..., None] % 2 * np.ones(3)
    good = (100 + 40 * checks).astype(np.uint8)
    pixels = np.stack([good, good // 8, 255 - (255 - good) // 8, np.full_like(good, 120)])
    limits = QualityLimits(darkest=0.2, brightest=0.8, blurriest=10)
    found = [(one.row, one.problem) for one in find_poor_pictures(pixels, limits)]
    assert found == [(1, Problem.DARK), (2, Problem.BRIGHT), (3, Problem.BLURRED)]
    scores = {one.problem: one.score for one in find_poor_pictures(pixels, limits)}
    # No edge at all is as blurred as can be; the dark one's luma is 15 of 51.
    assert scores[Problem.BLURRED] == 1
    assert scores[Problem.DARK] == pytest.approx(1 - (12 + 17) / 2 / 51, abs=0.01)


def test_pictures_that_were_copied_into_another_split_are_found(tmp_path: Path) -> None:
    import_images(sources({"a": 6, "b": 6}), DatasetInfo("x", "x", "x", 0), tmp_path)
    dataset = read_dataset(tmp_path)
    paths = dataset.table["path"]
    # One picture stands twice, once compressed harder.
    write(tmp_path / paths[3], encoded(picture(77), 90))
    write(tmp_path / paths[8], encoded(picture(77), 60))
    assert near_identical_images(dataset).tolist() == [[3, 8]]

    write(tmp_path / paths[5], b"no picture")
    with pytest.raises(DermaError, match=f"{paths[5]}: .*import the data again"):
        near_identical_images(dataset)
