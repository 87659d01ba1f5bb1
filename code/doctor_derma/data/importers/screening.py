"""Which pictures of a source can be used: those that decode and stand once, under one label."""

import hashlib
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from rich.progress import track
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from doctor_derma.cpus import usable_cpus
from doctor_derma.data.importers.pictures import READ_ERRORS
from doctor_derma.data.importers.records import InspectedImage, Reason, ReportedImage, SourceImage
from doctor_derma.data.manifest import SPLITS
from doctor_derma.images.decoding import UnreadableImage, open_image, without_identity
from doctor_derma.images.formats import LENGTH, kind_of
from doctor_derma.images.thumbnails import near_identical_pairs, thumbnail
from doctor_derma.terminal import terminal

# Images that wait to be decoded, or until those before them are.
_AHEAD = 256


def inspect_images(
    images: Sequence[SourceImage],
) -> tuple[list[InspectedImage], list[ReportedImage]]:
    """Divide images, in order, into those that can be used and those that can't be.

    Every image is in exactly one of the two lists. Only thumbnails stay in memory.
    """
    usable, reported = [], []
    # Pillow decodes outside Python's lock, so threads use every core.
    with ThreadPoolExecutor(usable_cpus()) as threads:
        outcomes = track(
            _in_order(threads, images),
            "Checking images",
            total=len(images),
            console=terminal(error=True),
        )
        for outcome in outcomes:
            if isinstance(outcome, InspectedImage):
                usable.append(outcome)
            else:
                reported.append(outcome)
    return usable, reported


def _in_order(
    threads: Executor, images: Iterable[SourceImage]
) -> Iterator[InspectedImage | ReportedImage]:
    """Give the outcomes one by one; ``Executor.map`` would make a task of each image at once."""
    waiting: deque[Future[InspectedImage | ReportedImage]] = deque()
    for image in images:
        waiting.append(threads.submit(_inspect, image))
        if len(waiting) > _AHEAD:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _inspect(source: SourceImage) -> InspectedImage | ReportedImage:
    if source.left_out:
        detail = f"{source.origin}: {source.left_out}"
        return ReportedImage(source.image, Reason.DROPPED, detail)
    if source.read is None:
        return ReportedImage(source.image, Reason.MISSING, "listed in the metadata, no such file")
    if (dx := source.dx) is None:
        return ReportedImage(source.image, Reason.UNLABELLED, f"{source.origin}: no class known")
    try:
        encoded = source.read()
        if kind_of(encoded[:LENGTH]) == "DICOM":
            # The file tells of the patient, and is never copied.
            source = replace(source, read=partial(_read_anonymous, source.read), suffix=".png")
            encoded = without_identity(encoded)
        picture = open_image(encoded, least_side=None)
    except UnreadableImage as error:
        return ReportedImage(source.image, _reason(error), f"{source.origin}: {error}")
    except READ_ERRORS as error:
        return ReportedImage(source.image, Reason.CORRUPT, f"{source.origin}: {error}")
    return InspectedImage(
        source=source,
        dx=dx,
        lesion=source.lesion or source.image,
        sha256=hashlib.sha256(encoded).hexdigest(),
        width=picture.width,
        height=picture.height,
        thumbnail=np.asarray(thumbnail(picture)),
    )


def _read_anonymous(read: Callable[[], bytes]) -> bytes:
    return without_identity(read())


def _reason(error: UnreadableImage) -> Reason:
    if error.kind == "unsupported":
        return Reason.UNSUPPORTED
    return Reason.TRUNCATED if "truncat" in str(error.__cause__).lower() else Reason.CORRUPT


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
    pairs = near_identical_pairs([image.thumbnail for image in images])
    twins = [(i, j) for i, j in pairs if images[i].sha256 != images[j].sha256]
    copies = _groups([image.sha256 for image in images])
    lesions = _joined_lesions(images, [*twins, *_linked(copies)])
    dropped: dict[int, ReportedImage] = {}
    for i, j in [*_contradicting_copies(images, copies), *twins]:
        if images[i].dx != images[j].dx:
            _report_conflict(images, dropped, i, j)
            _report_conflict(images, dropped, j, i)
    _report_copies(images, copies, dropped)
    noted = _report_crossings(images, lesions, twins, dropped)
    kept = [index for index in range(len(images)) if index not in dropped]
    return Screened(
        images=[images[index] for index in kept],
        lesions=[lesions[index] for index in kept],
        reported=[*dropped.values(), *(note for i, note in noted.items() if i not in dropped)],
    )


def _groups(keys: Sequence[str]) -> list[list[int]]:
    """Return the indices of each key, of those that stand more than once."""
    first: dict[str, int] = {}
    groups: dict[str, list[int]] = {}
    for index, key in enumerate(keys):
        if (before := first.setdefault(key, index)) != index:
            groups.setdefault(key, [before]).append(index)
    return sorted(groups.values())


def _linked(groups: Iterable[Sequence[int]]) -> list[tuple[int, int]]:
    return [(first, other) for first, *others in groups for other in others]


def _contradicting_copies(
    images: Sequence[InspectedImage], copies: Iterable[Sequence[int]]
) -> Iterator[tuple[int, int]]:
    """Pair each copy of a picture that has several classes with one of another class."""
    for indices in copies:
        for index in indices:
            others = (i for i in indices if images[i].dx != images[index].dx)
            if (other := next(others, None)) is not None:
                yield index, other


def _joined_lesions(
    images: Sequence[InspectedImage], pairs: Iterable[tuple[int, int]]
) -> list[str]:
    if not images:
        return []
    links = np.array([*_linked(_groups([image.lesion for image in images])), *pairs]).reshape(-1, 2)
    groups = connected_groups(links, len(images))
    name: dict[int, str] = {}
    for image, group in zip(images, groups, strict=True):
        name[group] = min(name.get(group, image.lesion), image.lesion)
    return [name[group] for group in groups]


def connected_groups(pairs: np.ndarray, count: int) -> np.ndarray:
    """Return the group of each of so many things that pairs link, directly or by others.

    Parameters
    ----------
    pairs : places of what is linked, int of shape (pairs, 2)

    Returns
    -------
    int of shape (count,), equal for what is in one group
    """
    links = (np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1]))
    _, groups = connected_components(coo_array(links, shape=(count, count)), directed=False)
    return groups


def _report_conflict(
    images: Sequence[InspectedImage], dropped: dict[int, ReportedImage], index: int, other: int
) -> None:
    image, twin = images[index], images[other]
    detail = f"{image.dx} here, but the same picture as {twin.source.image}, which is {twin.dx}"
    dropped.setdefault(index, ReportedImage(image.source.image, Reason.CONFLICTING_LABELS, detail))


def _report_copies(
    images: Sequence[InspectedImage],
    copies: Iterable[Sequence[int]],
    dropped: dict[int, ReportedImage],
) -> None:
    for indices in copies:
        stays = max(indices, key=lambda index: _held_out(images[index]))
        detail = f"the same bytes as {images[stays].source.image}"
        for index in indices:
            if index != stays:
                name = images[index].source.image
                copy = ReportedImage(name, Reason.DUPLICATE_BYTES, detail)
                dropped.setdefault(index, copy)


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
            reason = Reason.NEAR_IDENTICAL
            detail = f"almost the same picture as {twin.source.image}"
            if twin.lesion != image.lesion:
                joined = f"{detail}, so both are lesion {lesions[index]}"
                notes[index] = ReportedImage(name, reason, joined, kept=True)
        # One that isn't divided yet will go where its lesion is.
        divided = image.source.split is not None
        if divided and index not in dropped and _held_out(image) < furthest[lesions[index]]:
            dropped[index] = ReportedImage(name, reason, f"{detail}, which is in {split}")
    return notes


def _held_out(image: InspectedImage) -> int:
    return SPLITS.index(image.source.split) if image.source.split else 0
