"""Folds keep lesions whole and classes even, and are the same every time."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from doctor_derma.errors import DermaError
from doctor_derma.training.folds import assign_folds


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


@settings(max_examples=50, deadline=None)
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


def test_folds_need_no_torch() -> None:
    code = (
        "import sys; from doctor_derma.training.folds import assign_folds\n"
        "assign_folds(['a', 'b'] * 4, [str(i) for i in range(8)], 2)\n"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
