"""Plots show the numbers they should, also for odd splits."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from doctor_derma.evaluation.bootstrap import bootstrap_metrics
from doctor_derma.evaluation.comparison import compare
from doctor_derma.evaluation.plots.classes import confusion_matrix
from doctor_derma.evaluation.plots.curves import macro_roc
from doctor_derma.evaluation.plots.style import DPI, class_colours, save_png
from doctor_derma.evaluation.predictions import Predictions
from doctor_derma.evaluation.report import comparison_plots, evaluation_plots
from drawing import assert_drawn
from evaluation.fake_predictions import fake_predictions

FAKE = fake_predictions(200)


def few_classes() -> Predictions:
    return fake_predictions(40, classes=("benign", "malignant"), shares=(3, 1))


def many_classes() -> Predictions:
    names = tuple(f"c{index:02d}" for index in range(12))
    return fake_predictions(150, classes=names, shares=(1,) * 12)


def absent_class() -> Predictions:
    return replace(FAKE, labels=np.where(FAKE.labels == 3, 5, FAKE.labels))


def one_class_only() -> Predictions:
    return replace(FAKE, labels=np.full(200, 5))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("make", [few_classes, many_classes, absent_class, one_class_only])
def test_every_plot_is_drawn(make: Callable[[], Predictions], tmp_path: Path) -> None:
    fake = make()
    for name, figure in evaluation_plots(fake, bootstrap_metrics(fake, resamples=20)).items():
        path = tmp_path / f"{name}.png"
        width, height = figure.get_size_inches()
        save_png(figure, path)
        assert_drawn(path, (width, height))


def test_axes_are_titled_and_legends_tell_the_area() -> None:
    intervals = bootstrap_metrics(FAKE, resamples=20)
    figures = evaluation_plots(FAKE, intervals)
    for figure in figures.values():
        axes = figure.axes[0]
        assert axes.get_title(loc="left")
        assert figure.axes[-1].get_xlabel()
    sensitivity = intervals["sensitivity_at_90_specificity_mel"].value
    for name, text in (
        ("roc", f"mel  {intervals['auc_mel']};  {sensitivity:.3f}"),
        ("pr", f"mel  {intervals['average_precision_mel']}"),
    ):
        (legend,) = figures[name].legends
        assert text in [entry.get_text() for entry in legend.get_texts()]


def test_roc_marks_each_class_at_90_specificity() -> None:
    intervals = bootstrap_metrics(FAKE, resamples=20)
    axes = evaluation_plots(FAKE, intervals)["roc"].axes[0]
    points = [line.get_xydata() for line in axes.lines if line.get_marker() == "o"]
    expected = [intervals[f"sensitivity_at_90_specificity_{name}"].value for name in FAKE.classes]
    np.testing.assert_allclose(np.concatenate(points), [[0.1, value] for value in expected])


def test_comparison_plots_name_the_models(tmp_path: Path) -> None:
    models = [FAKE, fake_predictions(200, name="se_resnet18", model_seed=4)]
    figures = comparison_plots(compare(models, resamples=30))
    assert set(figures) == {"model_metrics", "differences", "macro_roc"}
    ticks = [tick.get_text() for tick in figures["model_metrics"].axes[0].get_yticklabels()]
    assert ticks == ["eca_resnet18", "se_resnet18"]
    for name, figure in figures.items():
        save_png(figure, tmp_path / f"{name}.png")


def test_same_figure_same_bytes(tmp_path: Path) -> None:
    intervals = bootstrap_metrics(FAKE, resamples=20)
    for name in ("one.png", "two.png"):
        save_png(evaluation_plots(FAKE, intervals)["roc"], tmp_path / name)
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()


def test_a_plot_in_few_colours_shows_the_same_in_half_the_bytes(tmp_path: Path) -> None:
    intervals = bootstrap_metrics(FAKE, resamples=20)
    one, again = (evaluation_plots(FAKE, intervals)["roc"] for _ in range(2))
    save_png(one, tmp_path / "few.png")
    again.savefig(tmp_path / "all.png", dpi=DPI, bbox_inches="tight", pad_inches=0.14)
    assert (tmp_path / "few.png").stat().st_size < (tmp_path / "all.png").stat().st_size / 2
    with Image.open(tmp_path / "few.png") as few, Image.open(tmp_path / "all.png") as whole:
        assert few.mode == "P"
        few_pixels, pixels = (np.asarray(i.convert("RGB"), dtype=int) for i in (few, whole))
    assert np.abs(few_pixels - pixels).mean() < 0.5
    assert (few_pixels[pixels.min(axis=2) == 255] == 255).all()


def test_confusion_matrix_counts() -> None:
    matrix = confusion_matrix(FAKE)
    assert matrix.sum() == 200
    assert matrix.trace() == FAKE.correct.sum()
    assert np.array_equal(matrix.sum(axis=1), np.bincount(FAKE.labels, minlength=7))


def test_area_under_the_macro_curve_is_the_macro_auc() -> None:
    false_rate, true_rate = macro_roc(FAKE)
    area = np.trapezoid(true_rate, false_rate)
    assert area == pytest.approx(bootstrap_metrics(FAKE, resamples=1)["macro_auc"].value, abs=0.002)


def test_colours_belong_to_classes() -> None:
    colours = class_colours(FAKE.classes)
    assert len(set(colours.values())) == 7
    assert colours == class_colours(FAKE.classes)
