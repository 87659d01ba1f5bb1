"""Folds keep lesions whole and classes even, and no run trains on what it is judged by."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from doctor_derma.data.manifest import Dataset, DatasetInfo
from doctor_derma.errors import DermaError
from doctor_derma.training.config import TrainConfig
from doctor_derma.training.folds import assign_folds, parts_of, recipes_in_turn


def lesions_of(
    counts: dict[str, int], largest: int = 4, seed: int = 0
) -> tuple[list[str], list[str]]:
    """Make so many lesions of each class with 1 to ``largest`` images: classes, lesions."""
    random = np.random.default_rng(seed)
    pairs = [
        (name, f"{name}{lesion}")
        for name, count in counts.items()
        for lesion in range(count)
        for _ in range(random.integers(1, largest + 1))
    ]
    random.shuffle(pairs)
    return [name for name, _ in pairs], [lesion for _, lesion in pairs]


@given(st.integers(2, 6), st.integers(0, 2**31), st.integers(6, 30), st.integers(6, 200))
def test_every_image_is_in_one_fold_and_no_lesion_in_two(
    folds: int, seed: int, rare: int, common: int
) -> None:
    classes, lesions = lesions_of({"df": rare, "nv": common}, seed=seed)
    assigned = assign_folds(classes, lesions, folds, seed)
    assert assigned.dtype == np.int64
    assert set(assigned) == set(range(folds))
    for lesion in set(lesions):
        assert len({assigned[i] for i, name in enumerate(lesions) if name == lesion}) == 1


def test_each_fold_has_its_share_of_each_class() -> None:
    classes, lesions = lesions_of({"nv": 500, "mel": 100, "df": 40})
    assigned = assign_folds(classes, lesions, 5, seed=3)
    for name in set(classes):
        inside = np.bincount(assigned[np.array(classes) == name], minlength=5)
        assert inside.min() > 0.8 * inside.mean()
        assert inside.max() < 1.2 * inside.mean()


def test_the_seed_alone_decides() -> None:
    classes, lesions = lesions_of({"nv": 60, "mel": 20})
    first = assign_folds(classes, lesions, 5, seed=1)
    assert (first == assign_folds(classes, lesions, 5, seed=1)).all()
    assert (first != assign_folds(classes, lesions, 5, seed=2)).any()


@pytest.mark.parametrize(
    ("folds", "message"),
    [(1, "--folds 1: use two or more"), (5, "class 'df' has 4 lesions, too few .* use fewer")],
)
def test_folds_that_cannot_be_filled_are_refused(folds: int, message: str) -> None:
    classes, lesions = lesions_of({"nv": 60, "df": 4})
    with pytest.raises(DermaError, match=message):
        assign_folds(classes, lesions, folds)


@pytest.mark.slow
def test_folds_need_no_torch() -> None:
    code = (
        "import sys; from doctor_derma.training.folds import assign_folds\n"
        "assign_folds(['a', 'b'] * 4, [str(i) for i in range(8)], 2)\n"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def dataset_of(sources: list[str], images: int = 240, crossing: bool = True) -> Dataset:
    """Make a data set in memory; some lesions were seen at two sources if ``crossing``."""
    random = np.random.default_rng(0)
    lesion = random.integers(0, images // 2, images)
    classes = np.array(["df", "mel", "nv"])[lesion % 3]
    split = np.array(["train", "train", "train", "val", "test"])[lesion % 5]
    source = np.array(sources)[lesion % len(sources)]
    if crossing:
        source[::10] = random.choice(sources, len(source[::10]))
    table = pd.DataFrame(
        {
            "image": [f"i{n}" for n in range(images)],
            "lesion": [f"l{n}" for n in lesion],
            "class": classes,
            "split": split,
            "source": source,
        }
    )
    info = DatasetInfo("made", "nowhere", "none", 0)
    return Dataset(Path("data"), info, table, ("df", "mel", "nv"), "0" * 64)


def lesions_in(dataset: Dataset, rows: np.ndarray) -> set[str]:
    return set(dataset.table["lesion"].iloc[rows])


def config_of(**settings: object) -> TrainConfig:
    return TrainConfig.model_validate(settings)


SOURCED = dataset_of(["here", "there", ""])


def test_without_folds_the_splits_are_all_that_counts() -> None:
    parts = parts_of(SOURCED, config_of())
    for rows, split in ((parts.train, "train"), (parts.val, "val"), (parts.judged, "val")):
        assert rows.tolist() == np.flatnonzero(SOURCED.table["split"] == split).tolist()


def test_every_image_but_those_of_the_test_split_is_judged_once() -> None:
    parts = [parts_of(SOURCED, config_of(folds=3, fold=fold)) for fold in range(3)]
    known = np.flatnonzero(SOURCED.table["split"] != "test").tolist()
    assert sorted(row for part in parts for row in part.judged) == known
    for part in parts:
        assert part.val.tolist() == part.judged.tolist() == sorted(part.judged)
        assert sorted([*part.train, *part.val]) == known
        assert not lesions_in(SOURCED, part.train) & lesions_in(SOURCED, part.judged)


@settings(max_examples=20, deadline=None)
@given(
    st.integers(0, 5),
    st.fixed_dictionaries(
        {},
        optional={
            "model": st.sampled_from(["resnet18", "se_resnet18"]),
            "epochs": st.integers(1, 9),
            "class_cap": st.integers(0, 9),
        },
    ),
)
def test_folds_follow_the_seed_and_no_other_setting(seed: int, others: dict[str, object]) -> None:
    first = parts_of(SOURCED, config_of(folds=4, fold=2, seed=seed))
    second = parts_of(SOURCED, config_of(folds=4, fold=2, seed=seed, **others))
    assert first.val.tolist() == second.val.tolist()
    other = parts_of(SOURCED, config_of(folds=4, fold=2, seed=seed + 1))
    assert first.val.tolist() != other.val.tolist()


@pytest.mark.parametrize("source", ["here", "there"])
def test_a_source_left_out_is_judged_and_teaches_nothing(source: str) -> None:
    parts = parts_of(SOURCED, config_of(leave_source_out=source))
    table = SOURCED.table
    wanted = (table["source"] == source) & (table["split"] != "test")
    assert parts.judged.tolist() == np.flatnonzero(wanted).tolist()
    for rows, split in ((parts.train, "train"), (parts.val, "val")):
        assert set(table["split"].iloc[rows]) == {split}
        # Not even other images of the lesions that were seen there.
        assert not lesions_in(SOURCED, rows) & lesions_in(SOURCED, parts.judged)
        kept = np.flatnonzero(
            (table["split"] == split)
            & ~table["lesion"].isin(table["lesion"][table["source"] == source])
        )
        assert rows.tolist() == kept.tolist()


def test_a_recipe_for_all_parts_is_one_for_each() -> None:
    assert {
        ending: r.fold for ending, r in recipes_in_turn(SOURCED, config_of(folds=3)).items()
    } == {
        "fold0": 0,
        "fold1": 1,
        "fold2": 2,
    }
    spaced = dataset_of(["a / b", "c"])
    found = recipes_in_turn(spaced, config_of(leave_source_out="all"))
    assert {ending: r.leave_source_out for ending, r in found.items()} == {
        "without-a-b": "a / b",
        "without-c": "c",
    }


def test_sources_whose_runs_would_have_one_name_are_refused() -> None:
    alike = dataset_of(["clinic A", "clinic-A", "clinic B"])
    message = "'clinic A' and 'clinic-A' would both end with without-clinic-A; rename one of these"
    for wanted in ("all", "clinic A"):
        with pytest.raises(DermaError, match=message):
            recipes_in_turn(alike, config_of(leave_source_out=wanted))


@pytest.mark.parametrize(
    ("sources", "wanted", "message"),
    [
        ([""], "here", "where the images of data are from isn't known; import data with a source"),
        (["here"], "here", "the images of data are all from here; import data with"),
        (
            ["a", "b"],
            "c",
            "--leave-source-out c: no image of data is from there; the sources are a, b",
        ),
    ],
)
def test_sources_that_cannot_be_left_out(sources: list[str], wanted: str, message: str) -> None:
    with pytest.raises(DermaError, match=message):
        parts_of(dataset_of(sources), config_of(leave_source_out=wanted))


@pytest.mark.parametrize("settings", [{"folds": 3}, {"leave_source_out": "all"}])
def test_a_run_has_one_part(settings: dict[str, object]) -> None:
    with pytest.raises(DermaError, match="stands for several runs; name one of them"):
        parts_of(SOURCED, config_of(**settings))
