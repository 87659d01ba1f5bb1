"""Groups, their figures by hand, and which gaps are flagged."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from data.pictures import sources
from doctor_derma.audits.subgroups import (
    age_bands,
    compare_groups,
    image_groups,
    measure_subgroups,
    plot_subgroups,
    subgroups_table,
)
from doctor_derma.data.importers.importing import import_images
from doctor_derma.data.manifest import DatasetInfo, read_dataset
from doctor_derma.errors import DermaError
from doctor_derma.evaluation.bootstrap import bootstrap_metrics
from doctor_derma.evaluation.plots.style import save_png
from doctor_derma.evaluation.predictions import Predictions
from evaluation.fake_predictions import fake_predictions


def decided(cases: list[tuple[str, str, int, int]]) -> tuple[Predictions, pd.DataFrame]:
    """Make one lesion an image from (group, class, right, wrong): who is right has 0.8."""
    classes = ("mel", "nv")
    groups, names, probabilities = [], [], []
    for group, name, right, wrong in cases:
        groups += [group] * (right + wrong)
        names += [name] * (right + wrong)
        for is_right in [True] * right + [False] * wrong:
            probabilities.append([0.8, 0.2] if is_right == (name == "mel") else [0.2, 0.8])
    images = [f"I{index:03d}" for index in range(len(names))]
    table = pd.DataFrame({"image": images, "lesion": images, "class": names})
    predictions = Predictions.of_table(table, "by_hand", classes, np.array(probabilities))
    order = list(dict.fromkeys(groups))
    return predictions, pd.DataFrame({"site": pd.Categorical(groups, order, ordered=True)})


def row(frame: pd.DataFrame, group: str, metric: str) -> pd.Series:
    (found,) = (
        found
        for _, found in frame.iterrows()
        if (found["group"], found["metric"]) == (group, metric)
    )
    return found


# Group a: 2 of 10 melanomas and 30 of 30 nevi are right; b: 24 of 30 and 20 of 40.
CASES = [("a", "mel", 2, 8), ("a", "nv", 30, 0), ("b", "mel", 24, 6), ("b", "nv", 20, 20)]


def test_figures_by_hand() -> None:
    frame = compare_groups(*decided(CASES), resamples=50)

    accuracy = row(frame, "a", "accuracy")
    assert (accuracy["images"], accuracy["lesions"], accuracy["small"]) == (40, 40, False)
    assert accuracy["value"] == pytest.approx(32 / 40)
    # What b has with 10 melanomas and 30 nevi: 10 x 0.8 + 30 x 0.5 = 23 right of 40.
    assert accuracy["others"] == pytest.approx(23 / 40)
    assert accuracy["difference"] == pytest.approx(9 / 40)
    # b at its own mix against a: 30 x 0.2 + 40 x 1 = 46 right of 70.
    assert row(frame, "b", "accuracy")["others"] == pytest.approx(46 / 70)

    balanced = row(frame, "a", "balanced_accuracy")
    assert balanced["classes"] == "mel nv"
    assert (balanced["value"], balanced["others"]) == pytest.approx((0.6, 0.65))
    sensitivity = row(frame, "a", "sensitivity_mel")
    assert (sensitivity["value"], sensitivity["others"]) == pytest.approx((0.2, 0.8))
    # Of 10 x 30 pairs: the 2 found win all; the 8 others, at 0.2 like all nevi, tie.
    assert row(frame, "a", "auc_mel")["value"] == pytest.approx((60 + 120) / 300)
    # The top probability is always 0.8.
    over = row(frame, "a", "overconfidence")
    assert (over["value"], over["others"]) == pytest.approx((0.0, 0.8 - 23 / 40))
    assert row(frame, "all images", "accuracy")["value"] == pytest.approx(76 / 110)
    assert np.isnan(row(frame, "a", "ece")["others"])


def test_all_images_have_the_intervals_of_an_evaluation() -> None:
    fake = fake_predictions(600)
    groups = pd.DataFrame({"sex": pd.Categorical(["female", "male"] * 300, ordered=True)})
    frame = compare_groups(fake, groups, resamples=100, seed=3)
    whole = bootstrap_metrics(fake, resamples=100, seed=3)
    for metric in ("accuracy", "ece", "sensitivity_mel", "auc_mel"):
        found = row(frame, "all images", metric)
        known = whole[metric]
        assert (found["value"], found["low"], found["high"]) == pytest.approx(
            (known.value, known.low, known.high)
        )


def test_a_gap_is_flagged_and_a_different_mix_is_none() -> None:
    # Each class is right as often in both groups, but their accuracies are 0.76 and 0.58.
    same = [("a", "mel", 20, 20), ("a", "nv", 96, 16), ("b", "mel", 50, 50), ("b", "nv", 24, 4)]
    frame = compare_groups(*decided(same), resamples=200)
    accuracy = row(frame, "a", "accuracy")
    assert accuracy["value"] == pytest.approx(116 / 152)
    assert accuracy["difference"] == pytest.approx(0, abs=1e-9)
    assert not frame["flagged"].any()

    frame = compare_groups(*decided(CASES), resamples=200)
    accuracy = row(frame, "a", "accuracy")
    assert accuracy["flagged"]
    assert 0 < accuracy["difference_low"] < accuracy["difference_high"]
    assert not frame.loc[frame["metric"] == "ece", "flagged"].any()
    # Ten melanomas are too few, whatever the interval says.
    melanoma = row(frame, "a", "sensitivity_mel")
    assert melanoma["small"]
    assert melanoma["difference_high"] < 0
    assert not melanoma["flagged"]
    assert np.isnan(row(frame, "b", "sensitivity_mel")["p_holm"])


def test_small_groups_and_unanimous_ones_are_not_judged() -> None:
    cases = [("a", "nv", 0, 19), ("b", "nv", 40, 0), ("c", "nv", 20, 20), ("c", "mel", 20, 20)]
    frame = compare_groups(*decided(cases), resamples=100)
    small = row(frame, "a", "accuracy")
    assert (small["value"], small["small"], small["flagged"]) == (0, True, False)
    unanimous = row(frame, "b", "accuracy")
    assert (unanimous["low"], unanimous["high"], unanimous["small"]) == (1, 1, False)
    assert np.isnan(unanimous["p_holm"])


def test_what_too_few_lesions_allow() -> None:
    cases = [("a", "mel", 2, 2), ("a", "nv", 20, 10), ("b", "mel", 20, 20), ("b", "nv", 20, 20)]
    frame = compare_groups(*decided(cases), resamples=20)
    for metric in ("macro_auc", "balanced_accuracy", "auc_mel", "sensitivity_mel"):
        assert np.isnan(row(frame, "a", metric)["value"])
    # The others' 4 melanomas don't count either: they make no gap, the 40 nevi make 2/3 - 1/2.
    gap = row(frame, "b", "accuracy")
    assert gap["difference"] == pytest.approx((0.5 - 2 / 3) * 40 / 80)


def test_corrected_for_the_groups_of_the_attribute() -> None:
    groups = [("a", "nv", 30, 0, 1), ("b", "nv", 20, 10, 0), ("c", "nv", 20, 10, 0)]
    cases = [(g, n, right - less, wrong + less) for g, n, right, wrong, less in groups]
    predictions, table = decided(cases)
    frame = compare_groups(predictions, table, resamples=999)
    two = table.assign(site=table["site"].cat.rename_categories({"b": "bc", "c": "d"}))
    two["site"] = pd.Categorical(np.where(two["site"] == "a", "a", "bc"), ordered=True)
    alone = compare_groups(predictions, two, resamples=999)
    # The same gap and p, once the smallest of three and once of two.
    ratio = row(frame, "a", "accuracy")["p_holm"] / row(alone, "a", "accuracy")["p_holm"]
    assert ratio == pytest.approx(3 / 2)


def test_only_the_melanoma_figures_need_a_melanoma_class() -> None:
    predictions, groups = decided(CASES)
    frame = compare_groups(replace(predictions, classes=("bad", "good")), groups, resamples=5)
    metrics = {"macro_auc", "balanced_accuracy", "accuracy", "ece", "overconfidence"}
    assert set(frame["metric"]) == metrics


def test_groups_are_named_ordered_and_complete() -> None:
    rows = pd.DataFrame(
        {
            "image": list("abcdef"),
            "sex": ["male", " Female", None, "female", "", "female"],
            "age": [80, 30, 29.9, np.nan, 0, 75],
            "site": [None] * 6,
        }
    )
    groups = image_groups(rows, {"a": "histo"}, ["tan", "light", *["unknown"] * 4])
    assert list(groups) == ["sex", "age", "confirmation", "skin"]
    assert list(groups["sex"].cat.categories) == ["female", "male", "unknown"]
    assert list(groups["sex"]) == ["male", "female", "unknown", "female", "unknown", "female"]
    assert list(groups["age"].cat.categories) == ["under 30", "30 to 44", "75 and over", "unknown"]
    assert list(groups["confirmation"]) == ["histo"] + ["unknown"] * 5
    assert list(groups["skin"].cat.categories) == ["light", "tan", "unknown"]


def test_age_bands() -> None:
    ages = np.array([0, 29.9, 30, 44, 45, 60, 74, 75, 100, np.nan])
    assert age_bands(ages) == [
        *("under 30", "under 30", "30 to 44", "30 to 44", "45 to 59", "60 to 74", "60 to 74"),
        *("75 and over", "75 and over", "unknown"),
    ]


def test_from_a_data_set_with_masks(tmp_path: Path) -> None:
    images = [
        replace(image, sex=sex, age=50.0)
        for image, sex in zip(
            sources({"mel": 12, "nv": 12}), ["female", "male", "male"] * 8, strict=True
        )
    ]
    info = DatasetInfo("small", "made here", "none", seed=0)
    import_images(images, info, tmp_path, val=0.2, test=0.2)
    dataset = read_dataset(tmp_path)
    (tmp_path / "masks").mkdir()
    mask = np.zeros((72, 96), bool)
    mask[30:42, 40:56] = True
    for name in dataset.table["image"]:
        Image.fromarray(mask).save(tmp_path / "masks" / f"{name}.png")
    rows = dataset.table
    half = np.full((len(rows), 2), 0.5)
    predictions = Predictions.of_table(rows, "small", dataset.classes, half)

    frame, tones = measure_subgroups(predictions, dataset, resamples=5)

    assert tones["image"].tolist() == predictions.images.tolist()

    # All are 50 years old, which leaves nobody to compare with.
    assert list(frame["attribute"].unique())[:2] == ["all", "sex"]
    assert "age" not in set(frame["attribute"])
    assert row(frame, "male", "accuracy")["images"] == 16
    stranger = replace(predictions, images=np.array(["stranger", *predictions.images[1:]]))
    with pytest.raises(DermaError, match="image 'stranger' is not in the data set"):
        measure_subgroups(stranger, dataset, resamples=5)
    with pytest.raises(DermaError, match="resamples: 0 is too few"):
        measure_subgroups(predictions, dataset, resamples=0)


@pytest.mark.slow
@pytest.mark.filterwarnings("error")
def test_plot_and_table_show_the_gaps(tmp_path: Path) -> None:
    cases = [("a", "nv", 29, 1), ("a", "mel", 5, 5), ("b", "nv", 10, 30), ("tiny", "nv", 2, 1)]
    frame = compare_groups(*decided(cases), resamples=200)
    figure = plot_subgroups(frame, "site")
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles[:3] == ["Macro ROC AUC", "Balanced accuracy", "Accuracy"]
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels[2] == "tiny\n3 images, 3 lesions"
    markers = [line.get_marker() for line in figure.axes[2].get_lines()]
    assert "D" in markers
    save_png(figure, tmp_path / "site.png")

    table = subgroups_table(frame)
    assert ("Body site", "b", "40", "Accuracy", "0.250") in [cells[:5] for cells in table.rows]
    none = subgroups_table(frame[~frame["flagged"]])
    assert none.rows[0][0] == "none"


def test_melanomas_of_one_group_alone_have_figures_but_no_gap() -> None:
    cases = [("a", "mel", 24, 6), ("a", "nv", 30, 10), ("b", "nv", 30, 10)]
    frame = compare_groups(*decided(cases), resamples=50)
    found = row(frame, "a", "sensitivity_mel")
    assert found["value"] == pytest.approx(0.8)
    assert np.isnan(found["others"])
    assert not found["flagged"]
    assert np.isnan(row(frame, "a", "balanced_accuracy")["value"])
