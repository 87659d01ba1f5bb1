"""Predicting a split, and saved predictions."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from doctor_derma.data.manifest import COLUMNS, Dataset, DatasetInfo
from doctor_derma.errors import DermaError
from doctor_derma.evaluation.predictions import (
    BATCH_SIZE,
    predict_pictures,
    predict_split,
    read_predictions_csv,
    write_predictions_csv,
)
from doctor_derma.inference.classifier import Outputs
from evaluation.fake_predictions import CLASSES, fake_predictions, rulebook, write_pictures

COUNT = BATCH_SIZE + 3


class MeanColour:
    """A classifier whose probabilities are the mean red, green and blue."""

    name = "mean_colour"
    class_names = ("blue", "green", "red")
    height = 10
    width = 20
    rulebook = None

    def __init__(self) -> None:
        self.batches: list[int] = []

    def outputs(self, pixels: np.ndarray) -> Outputs:
        assert pixels.dtype == np.uint8
        assert pixels.shape[1:] == (10, 20, 3)
        if len(pixels):
            self.batches.append(len(pixels))
        means = pixels.astype(np.float32).mean(axis=(1, 2))[:, ::-1] + 1
        maps = np.zeros((len(pixels), 3, 2, 2), dtype=np.float32)
        ood = np.full(len(pixels), 0.5, dtype=np.float32)
        return Outputs(means / means.sum(axis=1, keepdims=True), maps, ood)


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    paths = write_pictures(tmp_path / "test" / "red", COUNT)
    table = pd.DataFrame(
        {
            "image": [path.stem for path in paths],
            "lesion": [f"lesion{index // 2}" for index in range(COUNT)],
            "class": ["red"] * (COUNT - 1) + ["blue"],
            "split": "test",
            "path": [str(path.relative_to(tmp_path)) for path in paths],
        }
    ).reindex(columns=list(COLUMNS))
    info = DatasetInfo(name="spots", source="drawn", licence="CC0", seed=0)
    return Dataset(tmp_path, info, table, ("blue", "red"), "0" * 64)


def test_split_is_predicted_in_manifest_order(dataset: Dataset) -> None:
    classifier = MeanColour()
    found = predict_split(classifier, dataset, "test")
    assert found.images.tolist() == dataset.table["image"].tolist()
    assert classifier.batches == [BATCH_SIZE, 3]
    # Labels index the classifier's classes, of which the data set has only some.
    assert found.labels.tolist() == [2] * (COUNT - 1) + [0]
    assert found.predicted.tolist() == [2] * COUNT
    assert found.probabilities.dtype == np.float64
    assert found.activation_maps is not None
    assert found.activation_maps.shape == (COUNT, 3, 2, 2)
    assert all(Path(path).is_absolute() and Path(path).is_file() for path in found.paths)


def test_pictures_that_cannot_be_decoded_are_told_apart(tmp_path: Path) -> None:
    good = write_pictures(tmp_path, 2)
    pictures = [tmp_path / "missing.jpg", good[0], lambda: b"no picture", good[1].read_bytes]
    outputs, unreadable = predict_pictures(MeanColour(), pictures)
    assert outputs.probabilities.shape == (2, 3)
    assert outputs.activation_maps.shape == (2, 3, 2, 2)
    assert sorted(unreadable) == [0, 2]
    assert unreadable[2] == "not a picture that can be read"
    both, _ = predict_pictures(MeanColour(), good)
    assert (outputs.probabilities == both.probabilities).all()
    nothing, unreadable = predict_pictures(MeanColour(), [tmp_path / "missing.jpg"])
    assert nothing.probabilities.shape == (0, 3)
    assert list(unreadable) == [0]


def test_saved_predictions_are_read_as_they_were(tmp_path: Path) -> None:
    rules = rulebook("balanced")
    saved = replace(fake_predictions(50), rulebook=rules, ood=np.linspace(0, 2, 50))
    write_predictions_csv(saved, tmp_path / "predictions.csv")
    found = read_predictions_csv(tmp_path / "predictions.csv", saved.name, rules)
    assert (found.labels == saved.labels).all()
    assert (found.lesions == saved.lesions).all()
    assert (found.probabilities.astype(np.float32) == saved.probabilities.astype(np.float32)).all()
    assert (found.predicted == saved.predicted).all()
    assert found.ood == pytest.approx(saved.ood)
    older = replace(saved, ood=None)
    write_predictions_csv(older, tmp_path / "older.csv")
    assert read_predictions_csv(tmp_path / "older.csv", "m", rules).ood is None
    (tmp_path / "other.csv").write_text("image,lesion,class\na,b,violet\n")
    with pytest.raises(DermaError, match=r"other\.csv: can't be read .* run 'derma evaluate m'"):
        read_predictions_csv(tmp_path / "other.csv", "m", rules)


def test_unknown_and_empty_splits_are_named(dataset: Dataset) -> None:
    with pytest.raises(DermaError, match="'dev'"):
        predict_split(MeanColour(), dataset, "dev")
    with pytest.raises(DermaError, match="'val' has no images"):
        predict_split(MeanColour(), dataset, "val")


def test_class_that_the_model_does_not_know_is_named(dataset: Dataset) -> None:
    dataset.table.loc[0, "class"] = "violet"
    with pytest.raises(DermaError, match="'violet'"):
        predict_split(MeanColour(), dataset, "test")


def test_damaged_picture_is_named(dataset: Dataset) -> None:
    path = dataset.folder / dataset.table.loc[5, "path"]
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(DermaError, match=path.name):
        predict_split(MeanColour(), dataset, "test")


def test_saved_predictions_hold_every_digit_and_the_rule(tmp_path: Path) -> None:
    fake = fake_predictions(50)
    fake = replace(fake, images=np.array([f"{index:04d}" for index in range(50)]))
    fake = replace(fake, rulebook=rulebook("balanced"))
    path = tmp_path / "predictions.csv"
    write_predictions_csv(fake, path)
    header = path.read_text().splitlines()[0]
    assert header == "image,lesion,class,label,rule,akiec,bcc,bkl,df,mel,nv,vasc,correct"
    table = pd.read_csv(path, dtype={"image": str})
    assert table["image"].tolist() == fake.images.tolist()
    assert table["lesion"].tolist() == fake.lesions.tolist()
    names = np.array(CLASSES)
    assert table["class"].tolist() == names[fake.labels].tolist()
    assert table["label"].tolist() == names[fake.predicted].tolist()
    assert table["correct"].tolist() == fake.correct.tolist()
    assert set(table["rule"]) == {"balanced"}
    # float32 probabilities survive exactly.
    found = table[list(CLASSES)].to_numpy(np.float64).astype(np.float32)
    assert np.array_equal(found, fake.probabilities)


def test_what_is_called_follows_the_rule_and_new_probabilities() -> None:
    fake = fake_predictions(200)
    plain = fake.probabilities.argmax(axis=1)
    assert np.array_equal(fake.predicted, plain)
    balanced = replace(fake, rulebook=rulebook("balanced"))
    assert not np.array_equal(balanced.predicted, plain)
    assert balanced.rules == ("balanced", "most-probable")
    chosen = balanced.probabilities[np.arange(200), balanced.predicted]
    assert np.array_equal(balanced.confidence, chosen)
    swapped = replace(balanced, probabilities=fake.probabilities[::-1])
    assert np.array_equal(swapped.predicted, balanced.predicted[::-1])
    assert np.array_equal(balanced.take(np.arange(9)).predicted, balanced.predicted[:9])


def test_class_named_like_a_column_is_refused(tmp_path: Path) -> None:
    fake = fake_predictions(5, classes=("label", "nv"), shares=(1, 1))
    with pytest.raises(DermaError, match="'label'"):
        write_predictions_csv(fake, tmp_path / "predictions.csv")
    assert list(tmp_path.iterdir()) == []


def test_shapes_that_disagree_are_refused() -> None:
    fake = fake_predictions(10)
    with pytest.raises(DermaError, match="do not match"):
        replace(fake, labels=fake.labels[:9])
    with pytest.raises(DermaError, match="do not match"):
        replace(fake, classes=("a", "b"))
