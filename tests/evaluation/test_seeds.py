"""Architectures over seeds: the design, paired differences, and what luck can do."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from doctor_derma.errors import DermaError
from doctor_derma.evaluation.comparison import compare
from doctor_derma.evaluation.metrics import classification_metrics
from doctor_derma.evaluation.predictions import Predictions
from doctor_derma.evaluation.seeds import (
    SeedComparison,
    SeedRun,
    compare_over_seeds,
    compared_metrics,
    differing_settings,
    pair_runs,
)
from evaluation.fake_predictions import fake_predictions

SEEDS = (0, 1, 2)
SKILLS = {"resnet18": 2.0, "se_resnet18": 2.0, "eca_resnet18": 3.5}


def make_runs(
    skills: dict[str, float], seeds: tuple[int, ...] = SEEDS, images: int = 300
) -> tuple[list[SeedRun], list[Predictions]]:
    """Fake a run for each architecture and seed, the better the more skill."""
    runs = [SeedRun(f"{a}_seed{s}", a, s) for a, s in product(skills, seeds)]
    models = [
        fake_predictions(images, skills[run.architecture], run.name, model_seed=10 + index)
        for index, run in enumerate(runs)
    ]
    return runs, models


@pytest.fixture(scope="module")
def comparison() -> SeedComparison:
    return compare_over_seeds(*make_runs(SKILLS), resamples=200)


def test_every_pair_and_metric_is_compared(comparison: SeedComparison) -> None:
    assert comparison.architectures == tuple(SKILLS)
    assert comparison.seeds == SEEDS
    assert comparison.runs["se_resnet18"] == tuple(f"se_resnet18_seed{s}" for s in SEEDS)
    assert len(comparison.differences) == 3 * 5
    assert list(comparison.values) == [
        *("macro_auc", "balanced_accuracy", "accuracy", "ece"),
        "sensitivity_at_90_specificity_mel",
    ]
    assert "sensitivity_at_90_specificity_mel" not in compared_metrics(("nv", "bcc"))


def test_differences_pair_the_seeds(comparison: SeedComparison) -> None:
    _, models = make_runs(SKILLS)
    figures = {m.name: classification_metrics(m.labels, m.probabilities, m.classes) for m in models}
    for d in comparison.differences:
        expected = [
            figures[f"{d.second}_seed{s}"][d.metric] - figures[f"{d.first}_seed{s}"][d.metric]
            for s in SEEDS
        ]
        assert d.by_seed == pytest.approx(expected)
        assert d.interval.value == pytest.approx(np.mean(expected))
        assert d.p_holm >= d.p_value


def test_what_is_better_with_every_seed_is_significant(comparison: SeedComparison) -> None:
    found = {(d.first, d.second, d.metric): d for d in comparison.differences}
    clear = found["resnet18", "eca_resnet18", "accuracy"]
    assert clear.interval.low > 0
    assert clear.is_significant
    unclear = found["resnet18", "se_resnet18", "accuracy"]
    assert unclear.interval.low < 0 < unclear.interval.high
    assert not unclear.is_significant


def test_one_seed_is_the_plain_comparison() -> None:
    runs, models = make_runs({"resnet18": 2.0, "eca_resnet18": 2.5}, seeds=(4,))
    over_seeds = compare_over_seeds(runs, models, resamples=80)
    plain = {d.metric: d for d in compare(models, resamples=80).differences}
    for found in over_seeds.differences[:4]:
        assert found.interval == plain[found.metric].interval
        assert found.p_value == plain[found.metric].p_value


def one_lesion(accuracies: list[float], name: str) -> list[Predictions]:
    """One lesion of 100 images, so that only seeds can differ; one model an accuracy."""
    labels = np.arange(100) % 2
    models = []
    for seed, accuracy in enumerate(accuracies):
        called = np.where(np.arange(100) < 100 * accuracy, labels, 1 - labels)
        models.append(
            Predictions(
                name=f"{name}_seed{seed}",
                classes=("benign", "malignant"),
                images=np.array([f"i{index}" for index in range(100)]),
                lesions=np.full(100, "lesion"),
                paths=np.full(100, ""),
                labels=labels,
                probabilities=np.eye(2)[called] * 0.6 + 0.2,
            )
        )
    return models


def test_luck_of_the_seeds_by_hand() -> None:
    """Differences 0.1, 0.2 and 0.6: draws are means of three of them, drawn equally often."""
    models = one_lesion([0.2, 0.2, 0.2], "plain") + one_lesion([0.3, 0.4, 0.8], "eca")
    runs = [SeedRun(m.name, m.name.split("_")[0], int(m.name[-1])) for m in models]
    found = compare_over_seeds(runs, models, resamples=4000)
    (accuracy,) = (d for d in found.differences if d.metric == "accuracy")
    assert accuracy.by_seed == pytest.approx((0.1, 0.2, 0.6))
    # The 27 draws have the means 1/10 (1), 4/30 (3), 5/30 (3), 6/30 (1), 8/30 (3), 9/30 (6),
    # 10/30 (3), 13/30 (3), 14/30 (3), 18/30 (1): the ends have 1/27 each, more than a fortieth.
    assert (accuracy.interval.value, accuracy.interval.low, accuracy.interval.high) == (
        pytest.approx((0.3, 0.1, 0.6))
    )
    assert accuracy.p_value == pytest.approx(2 / 4001)


def test_order_of_runs_and_images_does_not_matter(comparison: SeedComparison) -> None:
    runs, models = make_runs(SKILLS)
    rows = np.random.default_rng(0).permutation(300)
    mixed = [models[0], *(model.take(rows) for model in models[1:])]
    order = [0, 5, 3, 4, 8, 7, 6, 2, 1]
    again = compare_over_seeds([runs[i] for i in order], [mixed[i] for i in order], resamples=200)
    assert again.differences == comparison.differences


def test_an_absent_class_leaves_its_figure_undefined() -> None:
    runs, models = make_runs({"resnet18": 2.0, "eca_resnet18": 2.0}, seeds=(0, 1), images=60)
    models = [replace(m, labels=np.where(m.labels == 4, 5, m.labels)) for m in models]
    found = compare_over_seeds(runs, models, resamples=20)
    assert np.isnan(found.differences[-1].interval.value)
    assert not found.differences[-1].is_significant
    assert np.isfinite(found.differences[0].interval.high)


def test_runs_are_sorted_by_architecture_and_seed() -> None:
    runs = [SeedRun("d", "se", 3), SeedRun("a", "eca", 3), SeedRun("c", "se", 1)]
    paired = pair_runs([*runs, SeedRun("b", "eca", 1)])
    names = {architecture: [run.name for run in of.values()] for architecture, of in paired.items()}
    assert names == {"se": ["c", "d"], "eca": ["b", "a"]}
    assert list(paired["se"]) == [1, 3]


@pytest.mark.parametrize(
    ("runs", "sentence"),
    [
        ([], "no runs given; name runs of two architectures or more"),
        ([("a", "se", 0), ("b", "se", 1)], "only runs of se given; name runs of two"),
        (
            [("a", "se", 0), ("b", "eca", 0), ("c", "se", 0)],
            "a and c are both se with seed 0; name one run",
        ),
        (
            [("a", "se", 0), ("b", "eca", 0), ("c", "eca", 2)],
            "se has no run with seed 2, but another architecture has; train it or leave",
        ),
    ],
)
def test_designs_that_do_not_pair_are_named(
    runs: list[tuple[str, str, int]], sentence: str
) -> None:
    with pytest.raises(DermaError, match=sentence):
        pair_runs([SeedRun(*run) for run in runs])


def test_other_settings_that_differ_are_named() -> None:
    first = {"model": "se_resnet18", "seed": 0, "epochs": 10, "mixup": 0.0}
    second = {"model": "resnet18", "seed": 1, "epochs": 12, "mixup": 0.0, "noise": 0.1}
    assert differing_settings([first, second]) == ["epochs"]
    assert differing_settings([first, first, {**first, "mixup": 0.2}]) == ["mixup"]
