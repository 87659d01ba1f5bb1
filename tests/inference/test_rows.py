"""predict_rows: one row a picture, bad ones with their error, few in memory."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from doctor_derma.errors import DermaError
from doctor_derma.inference.classifier import Classifier
from doctor_derma.inference.predict import predict_rows, predict_sources
from tiny_bundle import BLUE, GREEN, RED

KINDS = {
    "mel": np.full((5, 7, 3), RED, np.uint8),
    "nv": np.full((9, 3, 3), GREEN, np.uint8),
    "vasc": np.full((4, 4, 3), BLUE, np.uint8),
    None: b"no picture",
}


def test_rows_follow_the_paths(classifier: Classifier, pictures: Path) -> None:
    paths = [
        pictures / "b_green.JPG",
        pictures / "missing.png",
        pictures / "notes.txt",
        pictures / "deep" / "c_blue.png",
    ]
    rows = list(predict_rows(classifier, paths, batch_size=3))
    assert [row.path for row in rows] == [str(path) for path in paths]
    assert [row.label for row in rows] == ["nv", None, None, "vasc"]
    assert [row.error for row in rows] == [
        None,
        "no such file",
        "not a picture that can be read",
        None,
    ]
    assert rows[1].probabilities == {}
    assert rows[0].probabilities == classifier.predict(paths[0])[0].probabilities


@given(kinds=st.lists(st.sampled_from(list(KINDS))), batch_size=st.integers(1, 5))
def test_good_and_bad_pictures_never_swap(
    classifier: Classifier, kinds: list[str | None], batch_size: int
) -> None:
    sources = [(f"{index}", KINDS[kind]) for index, kind in enumerate(kinds)]
    rows = list(predict_sources(classifier, sources, batch_size))
    assert [row.path for row in rows] == [path for path, _ in sources]
    assert [row.label for row in rows] == kinds
    assert all((row.error is None) == (row.label is not None) for row in rows)


def test_pictures_are_read_one_batch_at_a_time(classifier: Classifier) -> None:
    taken = 0

    def endless() -> Iterator[tuple[str, Image.Image]]:
        nonlocal taken
        while True:
            taken += 1
            yield "red", Image.new("RGB", (8, 8), RED)

    rows = predict_sources(classifier, endless(), batch_size=4)
    assert taken == 0
    assert [next(rows).label for _ in range(6)] == ["mel"] * 6
    assert taken == 8
    rows.close()


def test_an_empty_batch_is_refused_at_once(classifier: Classifier) -> None:
    with pytest.raises(DermaError, match="batch_size: 0"):
        predict_rows(classifier, [], batch_size=0)


def test_a_file_without_permission_says_so(
    classifier: Classifier, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(*args: object, **settings: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Image, "open", forbidden)
    (row,) = predict_rows(classifier, [pictures / "a_red.png"])
    assert row.error == "no permission to read it"
