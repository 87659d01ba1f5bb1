"""Which pictures of a source can be used: those that decode and stand once, under one label."""

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from doctor_derma.cpus import usable_cpus
from doctor_derma.data.importers.pictures import READ_ERRORS
from doctor_derma.data.importers.records import InspectedImage, Reason, ReportedImage, SourceImage
from doctor_derma.data.manifest import SPLITS
from doctor_derma.images.decoding import UnreadableImage, open_image, without_identity
from doctor_derma.images.formats import LENGTH, kind_of
from doctor_derma.images.thumbnails import near_identical_pairs, thumbnail
from doctor_derma.terminal import with_progress

# Images that are given to the threads at once: each is a task that waits in memory.
_AT_ONCE = 512


def inspect_images(
    images: Sequence[SourceImage],
) -> tuple[list[InspectedImage], list[ReportedImage]]:
    """Divide images, in order, into those that can be used and those that can't be.

    Every image is in exactly one of the two lists. Only thumbnails stay in memory.
    """
    parts = (images[start : start + _AT_ONCE] for start in range(0, len(images), _AT_ONCE))
    # Pillow decodes outside Python's lock, so threads use every core.
    with ThreadPoolExecutor(usable_cpus()) as threads:
        steps = (outcome for part in parts for outcome in threads.map(_inspect, part))
        outcomes = list(with_progress(steps, "Checking images", len(images)))
    usable = [one for one in outcomes if isinstance(one, InspectedImage)]
    return usable, [one for one in outcomes if isinstance(one, ReportedImage)]


def _inspect(source: SourceImage) -> InspectedImage | ReportedImage:
    def bad(reason: Reason, detail: object) -> ReportedImage:
        return ReportedImage(source.image, reason, f"{source.origin}: {detail}")

    if source.left_out:
        return bad(Reason.DROPPED, source.left_out)
    if (read := source.read) is None:
        return ReportedImage(source.image, Reason.MISSING, "listed in the metadata, no such file")
    if (dx := source.dx) is None:
        return bad(Reason.UNLABELLED, "no class known")
    try:
        encoded = read()
        if kind_of(encoded[:LENGTH]) == "DICOM":
            # The file tells of the patient, and is never copied.
            source = replace(source, read=lambda: without_identity(read()), suffix=".png")
            encoded = without_identity(encoded)
        picture = open_image(encoded, least_side=None)
    except UnreadableImage as error:
        return bad(_reason(error), error)
    except READ_ERRORS as error:
        return bad(Reason.CORRUPT, error)
    return InspectedImage(
        source=source,
        dx=dx,
        lesion=source.lesion or source.image,
        sha256=hashlib.sha256(encoded).hexdigest(),
        width=picture.width,
        height=picture.height,
        thumbnail=thumbnail(picture),
    )


def _reason(error: UnreadableImage) -> Reason:
    if error.kind == "unsupported":
        return Reason.UNSUPPORTED
    return Reason.TRUNCATED if "truncat" in str(error.__cause__).lower() else Reason.CORRUPT


def screen(
    images: Sequence[InspectedImage],
) -> tuple[list[InspectedImage], list[ReportedImage]]:
    """Drop duplicates and conflicts, and join lesions that share a picture.

    Returned are the images that may be used, with their joined lesions, and what is to be reported.

    - Same bytes, or near-identical, with different classes: all go, none can be trusted.
    - Same bytes: one stays, the one that is held out furthest (test, then val).
    - Near-identical: all stay as one lesion, so that a split can't part them.
    - In a source that is already divided, a lesion (joined as above) in several splits
      stays only in the one that is held out furthest.
    """
    if not images:
        return [], []
    pairs = near_identical_pairs([image.thumbnail for image in images])
    twins = [(i, j) for i, j in pairs.tolist() if images[i].sha256 != images[j].sha256]
    digests = np.array([image.sha256 for image in images])
    copies = sorted(places.tolist() for places in repeated(digests))
    lesions = _joined_lesions(images, pairs)
    dropped = _conflicts(images, copies, twins)
    for places in copies:
        stays = max(places, key=lambda place: _held_out(images[place]))
        detail = f"the same bytes as {images[stays].source.image}"
        for place in places:
            if place != stays:
                dropped.setdefault(place, _report(images[place], Reason.DUPLICATE_BYTES, detail))
    noted = _report_crossings(images, lesions, twins, dropped)
    kept = [
        replace(image, lesion=lesion)
        for place, (image, lesion) in enumerate(zip(images, lesions, strict=True))
        if place not in dropped
    ]
    return kept, [*dropped.values(), *(note for i, note in noted.items() if i not in dropped)]


def repeated(keys: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the places of each key that stands more than once, in rising order."""
    order = np.argsort(keys, kind="stable")
    _, starts = np.unique(keys[order], return_index=True)
    return (places for places in np.split(order, starts[1:]) if len(places) > 1)


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


def _joined_lesions(images: Sequence[InspectedImage], pairs: np.ndarray) -> list[str]:
    """Return the lesion of each image, the first name of those that pairs of images join."""
    first: dict[str, int] = {}
    same = [(first.setdefault(image.lesion, i), i) for i, image in enumerate(images)]
    groups = connected_groups(np.concatenate([same, pairs]), len(images))
    name: dict[int, str] = {}
    for image, group in zip(images, groups, strict=True):
        name[group] = min(name.get(group, image.lesion), image.lesion)
    return [name[group] for group in groups]


def _conflicts(
    images: Sequence[InspectedImage],
    copies: Sequence[Sequence[int]],
    twins: Sequence[tuple[int, int]],
) -> dict[int, ReportedImage]:
    """Drop all images of a picture that has several classes, each with one of another class."""
    pairs = [
        (place, next(i for i in places if images[i].dx != images[place].dx))
        for places in copies
        if len({images[i].dx for i in places}) > 1
        for place in places
    ]
    dropped: dict[int, ReportedImage] = {}
    for i, j in [*pairs, *((i, j) for i, j in twins if images[i].dx != images[j].dx)]:
        for place, other in ((i, j), (j, i)):
            image, twin = images[place], images[other]
            same = f"the same picture as {twin.source.image}, which is {twin.dx}"
            detail = f"{image.dx} here, but {same}"
            dropped.setdefault(place, _report(image, Reason.CONFLICTING_LABELS, detail))
    return dropped


def _report_crossings(
    images: Sequence[InspectedImage],
    lesions: Sequence[str],
    twins: Sequence[tuple[int, int]],
    dropped: dict[int, ReportedImage],
) -> dict[int, ReportedImage]:
    """Drop what a given division lets cross, and return notes on the twins that stay."""
    furthest: dict[str, int] = defaultdict(int)
    for place, image in enumerate(images):
        if place not in dropped:
            furthest[lesions[place]] = max(furthest[lesions[place]], _held_out(image))
    notes: dict[int, ReportedImage] = {}
    partners = {j: i for i, j in twins} | dict(twins)
    for place, (image, lesion) in enumerate(zip(images, lesions, strict=True)):
        reason, detail = Reason.LESION_CROSSES_SPLITS, f"lesion {lesion}"
        if place in partners:
            twin = images[partners[place]]
            reason = Reason.NEAR_IDENTICAL
            detail = f"almost the same picture as {twin.source.image}"
            if twin.lesion != image.lesion:
                joined = f"{detail}, so both are lesion {lesion}"
                notes[place] = _report(image, reason, joined, kept=True)
        # One that isn't divided yet will go where its lesion is.
        divided = image.source.split is not None
        if divided and place not in dropped and _held_out(image) < furthest[lesion]:
            where = f"{detail}, which is in {SPLITS[furthest[lesion]]}"
            dropped[place] = _report(image, reason, where)
    return notes


def _report(
    image: InspectedImage, reason: Reason, detail: str, kept: bool = False
) -> ReportedImage:
    return ReportedImage(image.source.image, reason, detail, kept)


def _held_out(image: InspectedImage) -> int:
    return SPLITS.index(image.source.split) if image.source.split else 0
