"""The height and width at which a network sees a picture."""

import re
from typing import Annotated, NamedTuple

from pydantic import PlainSerializer, PlainValidator

LEAST_SIDE = 32


class Size(NamedTuple):
    """Height and width in pixels; written ``144x192``, or ``128`` where they are equal."""

    height: int
    width: int

    def __str__(self) -> str:
        return str(self.height) if self.is_square else f"{self.height}x{self.width}"

    @property
    def is_square(self) -> bool:
        return self.height == self.width

    def has_shape_of(self, other: "Size") -> bool:
        """Say whether the ratio of the sides is exactly that of another size."""
        return self.height * other.width == other.height * self.width


def read_size(written: object) -> Size:
    """Read a size as a recipe or a flag has it: one number for a square, or HEIGHTxWIDTH.

    Raises
    ------
    ValueError
        When it is neither, or a side is under ``LEAST_SIDE``.
    """
    if isinstance(written, Size):
        return written
    found = re.fullmatch(r"(\d+)(?:x(\d+))?", str(written), re.ASCII | re.IGNORECASE)
    if not found:
        raise ValueError("write a number of pixels, or HEIGHTxWIDTH such as 144x192")
    height = int(found[1])
    size = Size(height, int(found[2] or height))
    if min(size) < LEAST_SIDE:
        raise ValueError(f"a side is under {LEAST_SIDE} pixels; use {LEAST_SIDE} or more")
    return size


def _write_size(size: Size) -> int | str:
    return size.height if size.is_square else str(size)


# Of a setting. A square is written as a number, so that recipes are as they always were.
PictureSize = Annotated[Size, PlainValidator(read_size), PlainSerializer(_write_size)]
