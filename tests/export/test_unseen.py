"""What a bundle has seen, and what it says of the rest; `test_decide.py` has the mistakes."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from doctor_derma import Classifier
from doctor_derma.bundle import read_info
from doctor_derma.data.manifest import COLUMNS, DatasetInfo, read_dataset, write_dataset
from doctor_derma.export.unseen import seen_images, unseen_predictions
from project import Project


def test_the_unseen_images_are_the_validation_split(tiny_run: Project) -> None:
    runs, bundle, dataset = tiny_run.workspace.runs, tiny_run.run.bundle, tiny_run.dataset
    found = unseen_predictions(runs, bundle, read_info(bundle), dataset)
    assert found.images.tolist() == dataset.split("val")["image"].tolist()
    paths = [dataset.folder / path for path in dataset.split("val")["path"][:3]]
    expected = [of.probabilities for of in Classifier.load(bundle).predict(paths)]
    got = [dict(zip(found.classes, row, strict=True)) for row in found.probabilities[:3]]
    for one, other in zip(got, expected, strict=True):
        assert one == pytest.approx(other, abs=1e-5)


@pytest.mark.parametrize(
    ("recipe", "seen"),
    [
        ({}, {"1", "2"}),
        ({"leave_source_out": "clinic A"}, {"2"}),
        # All that it may have seen, where that can't be known.
        ({"leave_source_out": "clinic A", "of_another_version": 1}, {"1", "2"}),
    ],
)
def test_what_was_seen_follows_from_the_recipe(
    recipe: dict[str, Any], seen: set[str], bundle: Path, tmp_path: Path
) -> None:
    table = pd.DataFrame({"class": ["mel", "nv", "vasc"], "split": ["train", "val", "test"]})
    table["image"] = table["lesion"] = table["split"]
    table["sha256"] = ["1", "2", "3"]
    table["source"] = ["clinic A", "clinic C", "clinic C"]
    table = table.reindex(columns=list(COLUMNS), fill_value="")
    write_dataset(tmp_path, DatasetInfo("colours", "drawn", "CC0-1.0", 0), table)
    dataset, info = read_dataset(tmp_path), read_info(bundle)
    data = info.data.model_copy(update={"fingerprint": dataset.fingerprint})
    assert seen_images(info, dataset) == set()
    assert seen_images(info.model_copy(update={"data": data, "recipe": recipe}), dataset) == seen
