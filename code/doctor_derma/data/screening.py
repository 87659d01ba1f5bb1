"""Which images can stand side by side in a data set: duplicates, conflicts, crossings."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from doctor_derma.data.duplicates import near_identical_pairs
from doctor_derma.data.manifest import SPLITS
from doctor_derma.data.records import InspectedImage, Reason, ReportedImage


@dataclass(frozen=True)
class Screened:
    """Images that may be used, the lesion each belongs to, and what is to be reported.

    ``lesions[i]`` belongs to ``images[i]``. Lesions that share a picture have become one.
    """

    images: list[InspectedImage]
    lesions: list[str]
    reported: list[ReportedImage]


def screen(images: Sequence[InspectedImage]) -> Screened:
    """Drop duplicates and conflicts, and join lesions that share a picture.

    - Same bytes, or near-identical, with different classes: all go, none can be trusted.
    - Same bytes: one stays, the one that is held out furthest (test, then val).
    - Near-identical: all stay as one lesion, so that a split can't part them.
    - In a source that is already divided, a lesion (joined as above) in several splits
      stays only in the one that is held out furthest.
    """
    pairs = near_identical_pairs(np.array([image.thumbnail for image in images]))
    twins = [(i, j) for i, j in pairs if images[i].sha256 != images[j].sha256]
    copies = _same([image.sha256 for image in images])
    lesions = _joined_lesions(images, [*twins, *copies])
    dropped: dict[int, ReportedImage] = {}
    for i, j in [*_contradicting_copies(images), *twins]:
        if images[i].dx != images[j].dx:
            _report_conflict(images, dropped, i, j)
            _report_conflict(images, dropped, j, i)
    _report_copies(images, dropped)
    noted = _report_crossings(images, lesions, twins, dropped)
    kept = [index for index in range(len(images)) if index not in dropped]
    return Screened(
        images=[images[index] for index in kept],
        lesions=[lesions[index] for index in kept],
        reported=[*dropped.values(), *(note for i, note in noted.items() if i not in dropped)],
    )


def _same(keys: Sequence[str]) -> list[tuple[int, int]]:
    """Pair each index with the first one of the same key."""
    first: dict[str, int] = {}
    pairs = ((first.setdefault(key, index), index) for index, key in enumerate(keys))
    return [(i, j) for i, j in pairs if i != j]


def _contradicting_copies(images: Sequence[InspectedImage]) -> Iterator[tuple[int, int]]:
    """Pair each copy of a picture that has several classes with one of another class."""
    copies = defaultdict(list)
    for index, image in enumerate(images):
        copies[image.sha256].append(index)
    for indices in copies.values():
        for index in indices:
            others = (i for i in indices if images[i].dx != images[index].dx)
            if (other := next(others, None)) is not None:
                yield index, other


def _joined_lesions(
    images: Sequence[InspectedImage], pairs: Iterable[tuple[int, int]]
) -> list[str]:
    links = np.array([*_same([image.lesion for image in images]), *pairs]).reshape(-1, 2)
    graph = coo_array((np.ones(len(links)), (links[:, 0], links[:, 1])), shape=(len(images),) * 2)
    _, groups = connected_components(graph, directed=False) if images else (0, [])
    name: dict[int, str] = {}
    for image, group in zip(images, groups, strict=True):
        name[group] = min(name.get(group, image.lesion), image.lesion)
    return [name[group] for group in groups]


def _report_conflict(
    images: Sequence[InspectedImage], dropped: dict[int, ReportedImage], index: int, other: int
) -> None:
    image, twin = images[index], images[other]
    detail = f"{image.dx} here, but the same picture as {twin.source.image}, which is {twin.dx}"
    dropped.setdefault(index, ReportedImage(image.source.image, Reason.CONFLICTING_LABELS, detail))


def _report_copies(images: Sequence[InspectedImage], dropped: dict[int, ReportedImage]) -> None:
    copies = defaultdict(list)
    for index, image in enumerate(images):
        if index not in dropped:
            copies[image.sha256].append(index)
    for indices in copies.values():
        stays = max(indices, key=lambda index: _held_out(images[index]))
        for index in indices:
            if index != stays:
                detail = f"the same bytes as {images[stays].source.image}"
                name = images[index].source.image
                dropped[index] = ReportedImage(name, Reason.DUPLICATE_BYTES, detail)


def _report_crossings(
    images: Sequence[InspectedImage],
    lesions: Sequence[str],
    twins: Sequence[tuple[int, int]],
    dropped: dict[int, ReportedImage],
) -> dict[int, ReportedImage]:
    """Drop what a given division lets cross, and return notes on the twins that stay."""
    furthest: dict[str, int] = defaultdict(int)
    for index, image in enumerate(images):
        if index not in dropped:
            furthest[lesions[index]] = max(furthest[lesions[index]], _held_out(image))
    notes: dict[int, ReportedImage] = {}
    partners = dict([(j, i) for i, j in twins] + list(twins))
    for index, image in enumerate(images):
        name, split = image.source.image, SPLITS[furthest[lesions[index]]]
        reason, detail = Reason.LESION_CROSSES_SPLITS, f"lesion {lesions[index]}"
        if index in partners:
            twin = images[partners[index]]
            reason, detail = (
                Reason.NEAR_IDENTICAL,
                f"almost the same picture as {twin.source.image}",
            )
            if twin.lesion != image.lesion:
                joined = f"{detail}, so both are lesion {lesions[index]}"
                notes[index] = ReportedImage(name, reason, joined, kept=True)
        if index not in dropped and _held_out(image) < furthest[lesions[index]]:
            dropped[index] = ReportedImage(name, reason, f"{detail}, which is in {split}")
    return notes


def _held_out(image: InspectedImage) -> int:
    return SPLITS.index(image.source.split) if image.source.split else 0
