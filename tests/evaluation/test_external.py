"""A model on another set: fewer classes, malignant against benign, answers, label shift, home."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from doctor_derma.evaluation.external import (
    assumed_shares,
    evaluate_external,
    write_external_evaluation,
)
from doctor_derma.evaluation.metrics import classification_metrics
from doctor_derma.evaluation.predictions import Predictions
from evaluation.fake_predictions import CLASSES, SHARES, fake_predictions, rulebook

MALIGNANT = [CLASSES.index(name) for name in ("akiec", "bcc", "mel")]
INFO = {"set": "clinic B", "weights_sha256": "0" * 64}
THRESHOLD = 0.9


def of_classes(names: tuple[str, ...], images: int = 400, seed: int = 3) -> Predictions:
    """Predictions of pictures of some classes only, half as many out of distribution."""
    every = fake_predictions(images, seed=seed, model_seed=seed + 1)
    keep = np.isin(every.labels, [CLASSES.index(name) for name in names])
    found = every.take(np.flatnonzero(keep))
    ood = np.where(np.arange(len(found.labels)) % 3 == 0, 1.5, 0.5)
    return replace(found, rulebook=rulebook("balanced"), ood=ood)


@pytest.fixture(scope="module")
def there() -> Predictions:
    return of_classes(("mel", "nv", "bcc"))


@pytest.fixture(scope="module")
def home() -> Predictions:
    return replace(fake_predictions(500, seed=9), rulebook=rulebook("balanced"))


def test_macro_metrics_are_of_the_classes_that_are_there(there: Predictions) -> None:
    found = evaluate_external(there, None, np.array(SHARES), THRESHOLD, resamples=20).metrics
    present = [CLASSES.index(name) for name in ("mel", "nv", "bcc")]
    aucs = [roc_auc_score(there.labels == k, there.probabilities[:, k]) for k in present]
    assert found["macro_auc"].value == pytest.approx(np.mean(aucs))
    right = [np.mean(there.predicted[there.labels == k] == k) for k in present]
    assert found["balanced_accuracy"].value == pytest.approx(np.mean(right))
    assert np.isnan(found["sensitivity_df"].value)
    assert found["macro_auc"].low < found["macro_auc"].value < found["macro_auc"].high


def test_malignant_is_any_of_its_classes(there: Predictions) -> None:
    found = evaluate_external(there, None, np.array(SHARES), THRESHOLD, resamples=20).metrics
    truth = np.isin(there.labels, MALIGNANT)
    score = there.probabilities[:, MALIGNANT].sum(axis=1)
    called = np.isin(there.predicted, MALIGNANT)
    assert found["auc_malignant"].value == pytest.approx(roc_auc_score(truth, score))
    precision = average_precision_score(truth, score)
    assert found["average_precision_malignant"].value == pytest.approx(precision)
    assert found["sensitivity_malignant"].value == pytest.approx(called[truth].mean())
    assert found["specificity_malignant"].value == pytest.approx((~called[~truth]).mean())
    best = max(
        np.mean(score[truth] >= threshold)
        for threshold in score
        if np.mean(score[~truth] < threshold) >= 0.9
    )
    assert found["sensitivity_at_90_specificity_malignant"].value == pytest.approx(best)


def test_a_picture_is_answered_where_one_class_is_left_and_it_is_like_the_training(
    there: Predictions,
) -> None:
    found = evaluate_external(there, None, np.array(SHARES), THRESHOLD, resamples=20).metrics
    # A class is in the set if what is more probable adds up to the threshold at most, or called.
    sets = [
        {k for k in range(7) if row[row > row[k]].sum() <= THRESHOLD} | {int(called)}
        for row, called in zip(there.probabilities, there.predicted, strict=True)
    ]
    assert there.ood is not None
    answered = np.array([len(one) == 1 for one in sets]) & (there.ood <= 1)
    assert 0 < answered.mean() < 1
    assert found["answered"].value == pytest.approx(answered.mean())
    assert found["out_of_distribution"].value == pytest.approx((there.ood > 1).mean())
    right = (there.predicted == there.labels)[answered].mean()
    assert found["accuracy_answered"].value == pytest.approx(right)
    covered = np.mean([label in one for label, one in zip(there.labels, sets, strict=True)])
    assert found["set_coverage"].value == pytest.approx(covered)


def test_home_is_of_the_same_classes(there: Predictions, home: Predictions) -> None:
    found = evaluate_external(there, home, np.array(SHARES), THRESHOLD, resamples=20)
    rows = np.isin(home.labels, np.unique(there.labels))
    expected = classification_metrics(
        home.labels[rows], home.probabilities[rows], CLASSES, home.predicted[rows]
    )
    assert found.home is not None
    assert found.home["accuracy"].value == pytest.approx(expected["accuracy"])
    assert found.home["macro_auc"].value == pytest.approx(expected["macro_auc"])
    # Its scores are unknown.
    assert "answered" not in found.home
    strangers = replace(home, labels=np.full(len(home.labels), CLASSES.index("df")))
    assert evaluate_external(there, strangers, np.array(SHARES), 0.9, resamples=5).home is None


def test_label_shift_is_corrected_beside() -> None:
    shares = np.array([0.6, 0.05, 0.05, 0.05, 0.15, 0.05, 0.05])
    generator = np.random.default_rng(0)
    labels = generator.choice(7, 3000, p=shares)
    evidence = 2.5 * (labels[:, None] == np.arange(7)) + generator.normal(size=(3000, 7))
    odds = np.exp(2.5 * evidence) * np.array(SHARES)
    names = np.array([str(index) for index in range(3000)])
    shifted = Predictions(
        name="m",
        classes=CLASSES,
        images=names,
        lesions=names,
        paths=np.full(3000, ""),
        labels=labels,
        probabilities=odds / odds.sum(axis=1, keepdims=True),
        rulebook=rulebook("balanced"),
    )
    found = evaluate_external(shifted, None, np.array(SHARES), THRESHOLD, resamples=20)
    for name, share in zip(CLASSES, shares, strict=True):
        assert found.shares["estimated"][name] == pytest.approx(share, abs=0.03)
    assert found.corrected["accuracy"].value > found.uncorrected["accuracy"].value + 0.02
    assert found.corrected["log_loss"].value < found.uncorrected["log_loss"].value - 0.05
    most_probable = shifted.probabilities.argmax(axis=1) == labels
    assert found.uncorrected["accuracy"].value == pytest.approx(most_probable.mean())


def test_shares_are_assumed_as_the_probabilities_count_them() -> None:
    shares = np.array([0.7, 0.2, 0.1, 0.0])
    assert assumed_shares(shares, 1.0, 1.0) == pytest.approx(shares)
    assert assumed_shares(shares, 0.0, 2.0) == pytest.approx([1 / 3, 1 / 3, 1 / 3, 0])
    halved = np.sqrt([0.7, 0.2, 0.1, 0])
    assert assumed_shares(shares, 1.0, 2.0) == pytest.approx(halved / halved.sum())


@pytest.mark.slow
def test_the_folder_holds_all_of_it(there: Predictions, home: Predictions, tmp_path: Path) -> None:
    folder = tmp_path / "m" / "external" / "clinic_B"
    found, tables = write_external_evaluation(
        there, home, np.array(SHARES), THRESHOLD, INFO, folder, resamples=20
    )
    assert {path.name for path in folder.iterdir()} >= {
        *("metrics.json", "predictions.csv", "report.html", "external.png"),
        *("confusion_shares.png", "roc.png", "reliability.png", "by_class.png"),
    }
    kept = json.loads((folder / "metrics.json").read_text())
    assert kept["set"] == "clinic B"
    assert kept["metrics"]["auc_malignant"]["value"] == found.metrics["auc_malignant"].value
    assert kept["metrics"]["sensitivity_df"] == {"value": None, "low": None, "high": None}
    assert kept["home"]["accuracy"]["value"] == found.home["accuracy"].value  # type: ignore[index]
    assert kept["label_shift"]["shares"]["observed"]["df"] == 0
    assert kept["label_shift"]["corrected"]["ece"]["value"] == found.corrected["ece"].value
    assert tables[0].header == ("Metric", "clinic B", "Home, same classes")
    rows = {row[0]: row[1:] for row in tables[0].rows}
    assert rows["Malignant, ROC AUC\N{NO-BREAK SPACE}↑"] == (
        str(found.metrics["auc_malignant"]),
        str(found.home["auc_malignant"]),  # type: ignore[index]
    )
    assert rows["Share answered"] == (str(found.metrics["answered"]), "unknown")
    report = (folder / "report.html").read_text()
    assert "Not a medical device" in report
    assert "Malignant, ROC AUC" in report


@pytest.mark.slow
def test_one_class_alone_is_judged_by_what_it_has(tmp_path: Path) -> None:
    only = of_classes(("nv",))
    found, _ = write_external_evaluation(
        only, None, np.array(SHARES), THRESHOLD, INFO, tmp_path / "one", resamples=10
    )
    assert np.isnan(found.metrics["macro_auc"].value)
    assert np.isnan(found.metrics["sensitivity_malignant"].value)
    assert 0 < found.metrics["specificity_malignant"].value <= 1
    assert found.home is None


def test_sets_may_have_a_threshold_for_each_class(there: Predictions) -> None:
    limits = np.linspace(0.3, 0.95, len(CLASSES))
    found = evaluate_external(there, None, np.array(SHARES), limits, resamples=20).metrics
    # A class is in the set if what is more probable adds up to its own threshold at most.
    covered = [
        row[row > row[label]].sum() <= limits[label] or label == called
        for row, label, called in zip(
            there.probabilities, there.labels, there.predicted, strict=True
        )
    ]
    assert 0 < np.mean(covered) < 1
    assert found["set_coverage"].value == pytest.approx(np.mean(covered))
