"""Train, val and test: stratified by class, seeded, and grouped so that no lesion crosses."""

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence, Set

import numpy as np

from doctor_derma.data.manifest import SPLITS
from doctor_derma.errors import DermaError

# How people write the splits in the names of folders.
_SPELLINGS = {
    "train": ("train", "training", "trn"),
    "val": ("val", "valid", "validation", "validate", "validating", "dev", "development"),
    "test": ("test", "testing", "tests", "tst"),
}
_SPLIT_OF = {word: split for split, words in _SPELLINGS.items() for word in words}
# What is put beside it, as in "train_set", "TrainingData" or "test images".
_FILLING = r"(?:data)?sets?|data|images?|imgs?|pictures?|photos?|splits?|folders?|files?"
_GLUED = re.compile(rf"^(?:{_FILLING})?({'|'.join(_SPLIT_OF)})(?:{_FILLING})?$")


def assign_splits(
    classes: Sequence[str],
    lesions: Sequence[str],
    given: Sequence[str | None] | None = None,
    *,
    val: float = 0.15,
    test: float = 0.15,
    seed: int = 0,
) -> list[str]:
    """Return the split of each image.

    Where a source is already divided, its splits stay; those that it lacks are cut from
    its train images, each as ``val`` or ``test`` says. Images without a split go where others of
    their lesion are, and are divided by the shares where there are none.

    Parameters
    ----------
    classes, lesions : of each image
    given : the split each image came with, None for one that isn't divided
    val, test : shares of the images that are divided, each above 0 and together below 1

    Raises
    ------
    DermaError
        When a share is out of range, there are fewer than two classes, a class has fewer
        lesions than splits to fill, or a given split lacks a class.

    Examples
    --------
    Two classes of three lesions each, with two images of each lesion:

    >>> lesions = ["a", "a", "b", "b", "c", "c", "d", "d", "e", "e", "f", "f"]
    >>> splits = assign_splits(["mel"] * 6 + ["nv"] * 6, lesions, val=0.3, test=0.3)
    >>> sorted(splits[:6])
    ['test', 'test', 'train', 'train', 'val', 'val']
    >>> splits[0::2] == splits[1::2]
    True
    """
    require_shares(val, test)
    if len(set(classes)) < 2:
        found = f"only class '{classes[0]}' is" if classes else "no usable image is"
        raise DermaError(f"{found} in the source; a classifier needs images of at least two")
    given = given or [None] * len(classes)
    known = {lesion: split for lesion, split in zip(lesions, given, strict=True) if split}
    splits = [split or known.get(lesion, "") for split, lesion in zip(given, lesions, strict=True)]

    def divide(part: str, shares: Mapping[str, float], divided: Set[str] = frozenset()) -> None:
        indices = [index for index, split in enumerate(splits) if split == part]
        shares = {"train": 1 - sum(shares.values())} | dict(shares)
        dealt = [(classes[index], lesions[index]) for index in indices]
        for index, split in zip(indices, _divide(dealt, shares, divided, seed), strict=True):
            splits[index] = split

    shares = {"val": val, "test": test}
    divide("", shares, {dx for dx, split in zip(classes, splits, strict=True) if split})
    if wanted := {split: share for split, share in shares.items() if split not in splits}:
        divide("train", wanted)
    require_every_class(classes, splits)
    return splits


def require_shares(val: float, test: float) -> None:
    """Raise a ``DermaError`` when the shares leave nothing to a split."""
    if not (val > 0 and test > 0 and val + test < 1):
        raise DermaError(
            f"val={val:g}, test={test:g}: both shares must be above 0 and their sum below 1"
        )


def _divide(
    images: Sequence[tuple[str, str]], shares: Mapping[str, float], divided: Set[str], seed: int
) -> list[str]:
    """Deal whole lesions, class by class, to whichever split is furthest below its share.

    scikit-learn's StratifiedGroupKFold makes equal folds and may leave a rare class out
    of one; dealing keeps any shares, and gives each split a lesion of each class.

    Parameters
    ----------
    images : class and lesion of each
    divided : classes that need no lesion for each split, as others of theirs are in them
    """
    contents: dict[str, Counter[str]] = defaultdict(Counter)
    for dx, lesion in images:
        contents[lesion][dx] += 1
    lesions_of = Counter(dx for content in contents.values() for dx in content)
    for dx, count in sorted(lesions_of.items()):
        if count < len(shares) and dx not in divided:
            raise DermaError(
                f"class '{dx}' has {count} lesion{'s' * (count != 1)}, too few to put one into "
                f"each of {', '.join(shares)}; add images of other lesions or leave the class out"
            )
    # A group of several classes (all lesions of a patient, say) is dealt as its rarest one.
    strata: dict[str, list[str]] = defaultdict(list)
    for lesion in sorted(contents):
        strata[min(contents[lesion], key=lambda dx: (lesions_of[dx], dx))].append(lesion)
    generator = np.random.default_rng(seed)
    dealt: dict[str, Counter[str]] = {split: Counter() for split in shares}
    chosen: dict[str, str] = {}
    for dx in sorted(strata, key=lambda dx: (lesions_of[dx], dx)):
        shuffled = [strata[dx][index] for index in generator.permutation(len(strata[dx]))]
        # Lesions with many images first: each split gets its part of them, and the single
        # ones even the shares out. The sort is stable, so ties stay shuffled.
        for lesion in sorted(shuffled, key=lambda lesion: -contents[lesion][dx]):
            split = min(shares, key=lambda split: dealt[split][dx] / shares[split])
            chosen[lesion] = split
            dealt[split].update(contents[lesion])
    return [chosen[lesion] for _, lesion in images]


def require_every_class(classes: Sequence[str], splits: Sequence[str]) -> None:
    """Raise a ``DermaError`` when a class has no image in a split."""
    present = set(zip(classes, splits, strict=True))
    for dx in sorted(set(classes)):
        for split in SPLITS:
            if (dx, split) not in present:
                raise DermaError(
                    f"class '{dx}' has no usable image in {split}; add some there or leave "
                    "the class out"
                )


def split_named(name: str) -> str | None:
    """Return the split that a folder's name means, such as ``val`` for ``Validation_set``.

    Examples
    --------
    >>> split_named("Validation_set"), split_named("HAM10000")
    ('val', None)
    """
    words = [word for word in _words(name) if not re.fullmatch(_FILLING, word)]
    if len(words) != 1:
        return None
    found = _GLUED.match(words[0])
    return _SPLIT_OF[found[1]] if found else None


def split_in(name: str) -> str | None:
    """Return the split that a word of a name means, as in ``ISIC2018_Task3_Training_Input``."""
    found = (_GLUED.match(word) for word in _words(name))
    return next((_SPLIT_OF[match[1]] for match in found if match), None)


def _words(name: str) -> list[str]:
    # "TrainSet" is two words, "TRAIN" is one.
    apart = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    return re.findall(r"[a-z]+", apart.casefold())
