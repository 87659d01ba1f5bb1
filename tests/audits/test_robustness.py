"""Drops that can be worked out by hand, from grey pictures and a classifier of brightness."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from doctor_derma.audits.corruptions import (
    CORRUPTIONS,
    SEVERITIES,
    TITLES,
    example_picture,
    plot_corruptions,
)
from doctor_derma.audits.groups import ALL
from doctor_derma.audits.robustness import (
    MEAN,
    measure_robustness,
    plot_robustness,
    plot_robustness_drops,
    robustness_table,
    stratified_subset,
)
from doctor_derma.errors import DermaError
from doctor_derma.evaluation.bootstrap import lesion_weights
from doctor_derma.evaluation.plots.style import save_png
from doctor_derma.evaluation.predictions import Predictions
from evaluation.fake_predictions import fake_predictions

# One stop darker makes 120 an 88; 200 falls below 100 with 2.25 stops, severity 4.
GREYS = (200, 120, 40)


class Brightness:
    """Calls a picture bright with 90% when its mean is above 100, else dark with 90%."""

    name = "brightness"
    class_names = ("bright", "dark")
    height = 12
    width = 16

    def __init__(self) -> None:
        self.pictures = 0

    def predict_pixels(self, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        assert pixels.dtype == np.uint8
        assert pixels.shape[1:] == (12, 16, 3)
        self.pictures += len(pixels)
        bright = np.where(pixels.mean(axis=(1, 2, 3)) > 100, 0.9, 0.1)
        maps = np.zeros((len(pixels), 2, 2, 2), dtype=np.float32)
        return np.stack([bright, 1 - bright], axis=1), maps


@pytest.fixture(scope="module")
def predictions(tmp_path_factory: pytest.TempPathFactory) -> Predictions:
    """Three images each of 4 lesions a class, right on every clean picture."""
    folder = tmp_path_factory.mktemp("greys")
    paths = [folder / f"{grey}.png" for grey in GREYS]
    for grey, path in zip(GREYS, paths, strict=True):
        Image.new("RGB", (48, 36), (grey, grey, grey)).save(path)
    labels = np.array([0, 0, 1] * 4)
    return Predictions(
        name="brightness",
        classes=("bright", "dark"),
        images=np.array([f"image{n}" for n in range(12)]),
        lesions=np.array([f"lesion{n // 3}{'ab'[label]}" for n, label in enumerate(labels)]),
        paths=np.array([str(path) for path in paths * 4]),
        labels=labels,
        probabilities=np.where(labels[:, None] == [0, 1], 0.9, 0.1),
    )


@pytest.fixture(scope="module")
def frame(predictions: Predictions) -> pd.DataFrame:
    return measure_robustness(Brightness(), predictions, resamples=200, seed=3)


def figures(frame: pd.DataFrame, corruption: str, metric: str, column: str) -> list[float]:
    of = frame[(frame["corruption"] == corruption) & (frame["metric"] == metric)]
    assert of["severity"].tolist() == [*map(str, SEVERITIES), MEAN]
    return of[column].tolist()


@pytest.mark.parametrize(
    ("metric", "clean", "values"),
    [
        ("accuracy", 1, [1, 2 / 3, 2 / 3, 1 / 3, 1 / 3]),
        ("balanced_accuracy", 1, [1, 3 / 4, 3 / 4, 1 / 2, 1 / 2]),
        # Half of the bright ones tie with the dark one, then all.
        ("macro_auc", 1, [1, 3 / 4, 3 / 4, 1 / 2, 1 / 2]),
    ],
)
def test_values_and_drops_are_those_worked_out(
    frame: pd.DataFrame, metric: str, clean: float, values: list[float]
) -> None:
    mean = float(np.mean(values))
    assert figures(frame, "darker", metric, "value") == pytest.approx([*values, mean])
    drops = [clean - value for value in (*values, mean)]
    assert figures(frame, "darker", metric, "drop") == pytest.approx(drops)


def test_growing_calibration_error_and_changed_decisions_count_as_worse(
    frame: pd.DataFrame,
) -> None:
    # Confidence is 0.9 throughout: the error is its distance from accuracy, 0.1 when clean.
    errors = [0.1, 0.9 - 2 / 3, 0.9 - 2 / 3, 0.9 - 1 / 3, 0.9 - 1 / 3]
    assert figures(frame, "darker", "ece", "value")[:5] == pytest.approx(errors)
    drops = [error - 0.1 for error in errors]
    assert figures(frame, "darker", "ece", "drop")[:5] == pytest.approx(drops)
    changed = [0, 1 / 3, 1 / 3, 2 / 3, 2 / 3]
    for column in ("value", "drop"):
        assert figures(frame, "darker", "decisions_changed", column)[:5] == pytest.approx(changed)


def test_drops_are_paired_on_the_draws_of_lesions(
    frame: pd.DataFrame, predictions: Predictions
) -> None:
    (weights,) = lesion_weights(predictions.lesions, [200], seed=3)
    wrong = np.array([200, 120, 40] * 4) == 120  # At severity 2.
    lost = (weights @ wrong) / weights.sum(axis=1)
    expected = np.quantile(lost, [0.025, 0.975])
    for metric in ("accuracy", "decisions_changed"):
        found = [
            figures(frame, "darker", metric, column)[1] for column in ("drop_low", "drop_high")
        ]
        assert found == pytest.approx(expected)
    assert expected[1] > expected[0]
    more_wrong = np.array([200, 120, 40] * 4) > 100  # At severities 4 and 5.
    mean = (2 * wrong + 2 * more_wrong) / 5
    low, high = np.quantile((weights @ mean) / weights.sum(axis=1), [0.025, 0.975])
    assert figures(frame, "darker", "accuracy", "drop_low")[5] == pytest.approx(low)
    assert figures(frame, "darker", "accuracy", "drop_high")[5] == pytest.approx(high)


def test_what_changes_nothing_costs_nothing(frame: pd.DataFrame) -> None:
    for name in ("jpeg", "blur", "rotation"):
        for column in ("drop", "drop_low", "drop_high"):
            assert figures(frame, name, "accuracy", column) == [0] * 6


def test_overall_mean_is_that_of_the_corruptions(frame: pd.DataFrame) -> None:
    means = frame[(frame["severity"] == MEAN) & (frame["metric"] == "accuracy")]
    means = means.set_index("corruption")["drop"]
    assert means[ALL] == pytest.approx(means[list(CORRUPTIONS)].mean())
    clean = frame[frame["corruption"] == "clean"].set_index("metric")
    assert clean["value"].to_dict() == pytest.approx(
        {"accuracy": 1, "balanced_accuracy": 1, "macro_auc": 1, "ece": 0.1, "decisions_changed": 0}
    )
    assert (clean[["drop", "drop_low", "drop_high"]] == 0).all(axis=None)
    assert len(frame) == 5 * (1 + len(CORRUPTIONS) * 6 + 1)


@pytest.mark.slow
def test_limit_predicts_fewer_pictures(predictions: Predictions) -> None:
    classifier = Brightness()
    frame = measure_robustness(classifier, predictions, resamples=5, limit=6)
    kept = stratified_subset(predictions, 6, seed=0)
    assert classifier.pictures == len(kept.images) * len(CORRUPTIONS) * len(SEVERITIES)
    assert set(frame["images"]) == {len(kept.images)}
    assert set(frame["lesions"]) == {kept.lesion_count}


def test_subset_keeps_lesions_whole_and_classes_in_their_shares() -> None:
    fake = fake_predictions(600)
    subset = stratified_subset(fake, 200, seed=1)
    whole = Counter(fake.lesions.tolist())
    assert all(whole[name] == n for name, n in Counter(subset.lesions.tolist()).items())
    assert [name for name in fake.images if name in set(subset.images)] == subset.images.tolist()
    for name, (images, _) in fake.class_counts().items():
        # The last lesion that is drawn may bring up to two images more than the share.
        assert images / 3 - 0.5 <= subset.class_counts()[name][0] <= images / 3 + 2.5
    rows = np.isin(fake.images, subset.images)
    assert np.array_equal(subset.labels, fake.labels[rows])
    assert np.array_equal(subset.probabilities, fake.probabilities[rows])
    again = stratified_subset(fake, 200, seed=1)
    assert again.images.tolist() == subset.images.tolist()
    other = stratified_subset(fake, 200, seed=2)
    assert other.images.tolist() != subset.images.tolist()


def test_subset_of_no_fewer_is_everything() -> None:
    fake = fake_predictions(20)
    assert stratified_subset(fake, 20, seed=0) is fake
    assert set(stratified_subset(fake, 1, seed=0).labels) == set(fake.labels)


def test_wrong_settings_are_named(predictions: Predictions, tmp_path: Path) -> None:
    with pytest.raises(DermaError, match="limit: 0"):
        measure_robustness(Brightness(), predictions, limit=0)
    with pytest.raises(DermaError, match="path is unknown"):
        measure_robustness(Brightness(), replace(predictions, paths=np.full(12, "")))
    with pytest.raises(DermaError, match="not those of brightness"):
        measure_robustness(Brightness(), replace(predictions, classes=("dark", "bright")))
    missing = np.full(12, str(tmp_path / "none.png"))
    with pytest.raises(DermaError, match=r"none\.png"):
        measure_robustness(Brightness(), replace(predictions, paths=missing))


def test_table_has_a_row_a_corruption_and_the_mean(frame: pd.DataFrame) -> None:
    table = robustness_table(frame)
    assert [row[0] for row in table.rows] == [*CORRUPTIONS, ALL]
    darker = dict(zip(table.header, table.rows[list(CORRUPTIONS).index("darker")], strict=True))
    assert darker["Accuracy lost"].startswith("0.400 (")
    assert darker["Balanced accuracy lost"].startswith("0.300 (")
    assert "12 images of 8 lesions" in table.title
    assert "accuracy 1.000" in table.note


@pytest.mark.slow
@pytest.mark.filterwarnings("error")
def test_plots_show_the_figures(frame: pd.DataFrame, tmp_path: Path) -> None:
    frame.to_csv(tmp_path / "robustness.csv", index=False)
    back = pd.read_csv(tmp_path / "robustness.csv")
    levels = plot_robustness(back)
    panels = {axes.get_title(loc="left"): axes for axes in levels.axes}
    assert [*panels] == [TITLES[name] for name in CORRUPTIONS]
    lines = {line.get_label(): line for line in panels["Darker"].lines}
    drawn = lines["Accuracy"].get_ydata()
    assert drawn == pytest.approx([1, 2 / 3, 2 / 3, 1 / 3, 1 / 3])
    drops = plot_robustness_drops(back)
    names = [label.get_text() for label in drops.axes[0].get_yticklabels()]
    assert names[0] == TITLES[ALL]
    assert sorted(names[1:]) == sorted(TITLES[name] for name in CORRUPTIONS)
    for number, figure in enumerate((levels, drops)):
        save_png(figure, tmp_path / f"{number}.png")


@pytest.mark.slow
def test_contact_sheet_shows_every_severity() -> None:
    picture = example_picture((40, 30))
    assert picture.shape == (30, 40, 3)
    figure = plot_corruptions(picture)
    assert len(figure.axes) == len(CORRUPTIONS) * 6
    first = figure.axes[0].images[0].get_array()
    assert np.array_equal(first, picture)
