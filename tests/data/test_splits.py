from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from doctor_derma.data.splits import assign_splits, require_every_class, split_in, split_named
from doctor_derma.errors import DermaError

SPLITS = {"train", "val", "test"}


@st.composite
def labelled_images(draw: st.DrawFn) -> tuple[list[str], list[str]]:
    """Draw classes of 3 to 40 lesions with 1 to 5 images each, in any order."""
    images = [
        (dx, f"{dx}{lesion}")
        for dx in draw(st.lists(st.sampled_from("abcdef"), min_size=2, unique=True))
        for lesion in range(draw(st.integers(3, 40)))
        for _ in range(draw(st.integers(1, 5)))
    ]
    shuffled = draw(st.permutations(images))
    return [dx for dx, _ in shuffled], [lesion for _, lesion in shuffled]


@given(labelled_images(), st.integers(0, 2**32), st.floats(0.05, 0.4), st.floats(0.05, 0.4))
def test_no_lesion_crosses_and_every_class_is_everywhere(
    images: tuple[list[str], list[str]], seed: int, val: float, test: float
) -> None:
    classes, lesions = images
    splits = assign_splits(classes, lesions, val=val, test=test, seed=seed)

    assert len(set(zip(lesions, splits, strict=True))) == len(set(lesions))
    assert set(zip(classes, splits, strict=True)) == {
        (dx, split) for dx in classes for split in SPLITS
    }
    assert splits == assign_splits(classes, lesions, val=val, test=test, seed=seed)


@given(labelled_images(), st.integers(0, 1000))
def test_shares_are_close_in_every_class(images: tuple[list[str], list[str]], seed: int) -> None:
    classes, lesions = images
    splits = assign_splits(classes, lesions, val=0.2, test=0.2, seed=seed)

    total = Counter(classes)
    held = Counter(zip(classes, splits, strict=True))
    for dx, count in total.items():
        for split in ("val", "test"):
            # Whole lesions of up to five images are dealt.
            assert abs(held[dx, split] - 0.2 * count) <= 5


def test_the_order_of_images_does_not_matter_and_the_seed_does() -> None:
    lesions = [f"lesion{number}" for number in range(60)]
    classes = ["a", "b"] * 30
    forward = assign_splits(classes, lesions, seed=0)
    backward = assign_splits(classes[::-1], lesions[::-1], seed=0)

    assert forward == backward[::-1]
    assert forward != assign_splits(classes, lesions, seed=1)


def test_lesions_with_many_images_are_in_every_split() -> None:
    lesions = [f"big{n // 4}" for n in range(80)] + [f"small{n}" for n in range(200)]
    classes = ["a"] * 280 + ["b"] * 30
    lesions += [f"other{n}" for n in range(30)]
    splits = assign_splits(classes, lesions)

    big = Counter(
        split for lesion, split in zip(lesions, splits, strict=True) if lesion.startswith("big")
    )
    assert big["val"] / 80 == pytest.approx(0.15, abs=0.06)
    assert big["test"] / 80 == pytest.approx(0.15, abs=0.06)


@pytest.mark.parametrize("seed", range(5))
def test_single_images_even_out_what_large_lesions_leave(seed: int) -> None:
    """Of 160 images 15% are 24: one lesion of 20, and 4 of the 100 single ones."""
    lesions = [f"large{n // 20}" for n in range(60)] + [f"single{n}" for n in range(100)]
    classes = ["a"] * 160 + ["b"] * 20
    splits = assign_splits(classes, [*lesions, *(f"other{n}" for n in range(20))], seed=seed)
    held = Counter(splits[:160])
    assert held["val"] == pytest.approx(24, abs=1)
    assert held["test"] == pytest.approx(24, abs=1)


@pytest.mark.parametrize("seed", range(5))
def test_a_rare_class_is_everywhere_though_its_patients_have_a_common_one(seed: int) -> None:
    patients = [f"p{n // 2}" for n in range(6)] + [f"q{n}" for n in range(100)]
    splits = assign_splits(["z", "a"] * 3 + ["a"] * 100, patients, seed=seed)
    assert {splits[0], splits[2], splits[4]} == SPLITS


@pytest.mark.parametrize("seed", range(5))
def test_patients_of_rare_classes_are_dealt_before_the_common_ones(seed: int) -> None:
    """Three patients have an image of z, and 20 of a; a hundred have one of a."""
    patients = [f"p{n // 21}" for n in range(63)] + [f"q{n}" for n in range(100)]
    classes = (["z"] + ["a"] * 20) * 3 + ["a"] * 100
    splits = assign_splits(classes, patients, seed=seed)
    assert {splits[0], splits[21], splits[42]} == SPLITS
    held = Counter(split for dx, split in zip(classes, splits, strict=True) if dx == "a")
    assert held["val"] == pytest.approx(24, abs=1)
    assert held["test"] == pytest.approx(24, abs=1)


def test_the_seed_is_0_where_none_is_said() -> None:
    lesions = [str(number) for number in range(60)]
    assert assign_splits(["a", "b"] * 30, lesions) == assign_splits(
        ["a", "b"] * 30, lesions, seed=0
    )


def test_lists_of_different_lengths_are_refused() -> None:
    lesions = [str(number) for number in range(6)]
    for classes, splits in (("ababa", None), ("ababab", ["train"] * 5)):
        with pytest.raises(ValueError, match="zip"):
            assign_splits(list(classes), lesions, splits)
    with pytest.raises(ValueError, match="zip"):
        require_every_class(["a", "a", "a", "b"], ["train", "val", "test"])


def test_given_test_stays_and_val_is_cut_from_train() -> None:
    lesions = [f"l{number}" for number in range(80)]
    classes = ["a", "b"] * 40
    given_splits: list[str | None] = ["test" if number < 10 else "train" for number in range(80)]
    splits = assign_splits(classes, lesions, given_splits, val=0.2)

    assert splits[:10] == ["test"] * 10
    assert Counter(splits[10:]) == {"train": 56, "val": 14}


def test_a_whole_given_division_stays() -> None:
    given_splits: list[str | None] = ["train", "train", "val", "val", "test", "test"]
    assert assign_splits(list("ababab"), list("123456"), given_splits) == given_splits


def test_a_patient_with_lesions_of_several_classes_stays_whole() -> None:
    patients = [f"p{number % 20}" for number in range(60)]
    classes = ["nv" if number < 40 else "mel" for number in range(60)]
    splits = assign_splits(classes, patients)
    assert len(set(zip(patients, splits, strict=True))) == 20


@pytest.mark.parametrize(
    ("classes", "given_splits", "shares", "message"),
    [
        (
            "aaaabb",
            None,
            {},
            "class 'b' has 2 lesions, too few to put one into each of train, val, test; "
            "add images of other lesions or leave the class out$",
        ),
        ("aaaab", None, {}, "class 'b' has 1 lesion, too few"),
        ("aaaa", None, {}, "only class 'a' is in the source"),
        ("a", None, {}, "^only class 'a' is in the source"),
        ("", None, {}, "^no usable image is in the source; a classifier needs images of at least"),
        ("aaabbb", None, {"val": 0.0}, "val=0, test=0.15"),
        ("aaabbb", None, {"test": 0.0}, "val=0.15, test=0: both shares must be above 0"),
        ("aaabbb", None, {"val": 0.6, "test": 0.5}, "their sum below 1"),
        ("aaabbb", None, {"val": 0.5, "test": 0.5}, "their sum below 1"),
        (
            "aabba",
            ["train"] * 4 + ["test"],
            {},
            "^class 'b' has no usable image in test; add some there or leave the class out$",
        ),
        ("aabab", ["train"] * 3 + ["test"] * 2, {}, "class 'b' has 1 lesion, too few"),
    ],
)
def test_what_cannot_be_split_is_one_sentence(classes, given_splits, shares, message) -> None:
    lesions = [str(number) for number in range(len(classes))]
    with pytest.raises(DermaError, match=message):
        assign_splits(list(classes), lesions, given_splits, **shares)


@given(labelled_images(), st.integers(0, 1000), st.data())
def test_images_that_come_later_leave_the_others_where_they_are(
    images: tuple[list[str], list[str]], seed: int, data: st.DataObject
) -> None:
    classes, lesions = images
    before = assign_splits(classes, lesions, seed=seed)
    new = data.draw(st.lists(st.tuples(st.sampled_from(sorted(set(classes))), st.integers(0, 60))))
    later = [(dx, f"{dx}{lesion}") for dx, lesion in new]
    splits = assign_splits(
        [*classes, *(dx for dx, _ in later)],
        [*lesions, *(lesion for _, lesion in later)],
        [*before, *[None] * len(later)],
        seed=seed,
    )
    assert splits[: len(before)] == before
    whole = zip([*lesions, *(lesion for _, lesion in later)], splits, strict=True)
    assert len(set(whole)) == len({*lesions, *(lesion for _, lesion in later)})


@pytest.mark.parametrize(
    ("name", "whole", "part"),
    [
        ("train", "train", "train"),
        ("TRAIN", "train", "train"),
        ("TrainSet", "train", "train"),
        ("trainingdata", "train", "train"),
        ("imagestest", "test", "test"),
        ("Validation_set", "val", "val"),
        ("dev images", "val", "val"),
        ("2_tst", "test", "test"),
        # Words beside it that are no filling: a split is in the name, and the name is none.
        ("ISIC2018_Task3_Training_Input", None, "train"),
        ("LesionTrain", None, "train"),
        ("train_val", None, "train"),
        ("HAM10000", None, None),
        ("data", None, None),
        ("2018", None, None),
        ("contest", None, None),
    ],
)
def test_split_of_a_name(name: str, whole: str | None, part: str | None) -> None:
    assert split_named(name) == whole
    assert split_in(name) == part


def test_one_more_image_of_a_class_that_is_in_every_split_goes_into_any() -> None:
    given: list[str | None] = ["train", "val", "test"] * 2
    splits = assign_splits(list("aaabbba"), list("1234567"), [*given, None])
    assert splits[:6] == given
    assert splits[6] in SPLITS


def test_a_class_that_comes_later_fills_every_split_or_is_refused() -> None:
    given: list[str | None] = ["train", "val", "test"] * 2
    lesions = [str(number) for number in range(9)]
    splits = assign_splits(list("aaabbbccc"), lesions, [*given, None, None, None])
    assert set(splits[6:]) == SPLITS
    with pytest.raises(DermaError, match="class 'c' has 2 lesions, too few"):
        assign_splits(list("aaabbbcc"), lesions[:8], [*given, None, None])
