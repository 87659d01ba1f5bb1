"""The first stage: a unit to blocks of pictures at the network's size."""

import json
import pickle
from collections.abc import Iterator
from typing import Any, NamedTuple

from doctor_derma.bundle import BundleInfo
from doctor_derma.distributed.scoring.places import shown
from doctor_derma.distributed.scoring.reading import Found, find_pictures
from doctor_derma.distributed.scoring.units import Unit
from doctor_derma.images.decoding import UnreadableImage
from doctor_derma.inference.classifier import ReadPicture, read_picture


class Decoded(NamedTuple):
    """One picture of a block: its pixels, or the reason why it has none."""

    path: str
    picture: ReadPicture | None
    error: str | None


def decode_unit(row: dict[str, Any], info: BundleInfo, block: int) -> Iterator[dict[str, Any]]:
    """Read and decode the blocks of a unit that are not done yet.

    Parameters
    ----------
    row : ``number`` of the unit, ``unit`` as JSON, and ``done``, a JSON list
        of its blocks whose rows are written
    info : of the bundle: the network's size, and what a fault is
    block : pictures in a block; the last one of a unit may hold fewer

    Yields
    ------
    for each block ``number``, ``block``, whether it is the unit's ``last``, and ``pictures``,
    pickled Decoded; at the end, for a shard that can't be read whole, one with its ``failure``
    """
    unit, done = Unit.from_json(row["unit"]), set(json.loads(row["done"]))
    number, index = int(row["number"]), 0
    waiting: list[Decoded] = []
    seen = 0
    try:
        for found in find_pictures(unit):
            # A block is given when the next picture is there, so that it is known as the last
            # or not. The rest of a shard that breaks is never taken for its last block.
            if seen and seen % block == 0:
                if index not in done:
                    yield _given(number, index, False, waiting)
                index, waiting = index + 1, []
            if index not in done:
                waiting.append(decode_one(found, info))
            seen += 1
        if not seen:
            raise ValueError("no pictures in it")
    # What file formats and object stores raise has no base class; the driver reports it.
    except Exception as error:
        reason = str(error).strip() or type(error).__name__
        yield _given(
            number, -1, False, [], f"{reason}, after {seen:,} pictures" if seen else reason
        )
        return
    if index not in done:
        yield _given(number, index, True, waiting)


def decode_one(found: Found, info: BundleInfo) -> Decoded:
    """Decode a picture, or say why it can't be."""
    try:
        return Decoded(found.path, read_picture(found.load(), info), None)
    except UnreadableImage as error:
        return Decoded(found.path, None, shown(str(error)))


def _given(
    number: int, index: int, last: bool, pictures: list[Decoded], failure: str = ""
) -> dict[str, Any]:
    return {
        "number": number,
        "block": index,
        "last": last,
        "pictures": pickle.dumps(pictures, protocol=5),
        "failure": shown(failure),
    }
