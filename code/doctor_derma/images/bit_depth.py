"""Pictures of more than 8 bits a channel, down to 8.

Cameras of 10 and 12 bits store their values in 16 as they are, so that white is 1023 or 4095.
Taken for 16 bits, such a picture is black.
"""

import sys
from typing import cast

import numpy as np
from PIL import Image, ImageChops, ImageFile

# Modes of grey pictures of more than 8 bits; colours of 16 bits Pillow reads as their high bytes.
DEEP_GREY = ("I;16", "I;16B", "I;16L", "I;16N", "I", "F")
_OTHER_ORDERS = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}
# Read in the other order of bytes, the low byte of each value is the one that Pillow keeps.
_LOW_BYTES = {
    f"{mode};16{order}": f"{mode};16{other}"
    for mode in ("RGB", "RGBA")
    for order, other in _OTHER_ORDERS.items()
}
# Fewer bits than a file of 16 has. 14 can't be told from a dark picture.
_FEWER_BITS = (8, 10, 12)


def raw_mode(image: Image.Image) -> str:
    """Return how the values of a picture are stored, such as ``RGB;16B``; "" once it is loaded."""
    tiles = getattr(image, "tile", None)
    if not tiles:
        return ""
    arguments = tiles[0].args
    return str(arguments[0] if isinstance(arguments, tuple) else arguments)


def bits_in_use(high: Image.Image) -> int:
    """Return 8, 10, 12 or 16: how many bits values have that Pillow read the high bytes of."""
    extrema = cast("tuple[tuple[int, int], ...]", _colours(high).getextrema())
    brightest = max(highest for _, highest in extrema)
    return next((bits for bits in _FEWER_BITS if brightest < 1 << (bits - 8)), 16)


def read_low_bytes(image: ImageFile.ImageFile) -> bool:
    """Have a picture that isn't loaded yet read the low byte of each value; say if that can be."""
    low = _LOW_BYTES.get(raw_mode(image))
    if low is None:
        return False
    image.tile = [
        tile._replace(args=(low, *tile.args[1:]) if isinstance(tile.args, tuple) else low)
        for tile in image.tile
    ]
    return True


def join_bytes(high: Image.Image, low: Image.Image, bits: int) -> Image.Image:
    """Return the upper 8 of so many bits, RGB, from the high and the low bytes of 16.

    Transparency has all 16 bits, whatever the colours have, and stays.
    """
    shift = bits - 8
    upper = _colours(high).point([value << (8 - shift) & 255 for value in range(256)] * 3)
    lower = _colours(low).point([value >> shift for value in range(256)] * 3)
    joined = ImageChops.add(upper, lower)
    if high.mode == "RGBA":
        joined.putalpha(high.getchannel("A"))
    joined.info = high.info
    return joined


def grey_to_8_bits(image: Image.Image, raw: str) -> Image.Image:
    """Return a picture of ``DEEP_GREY`` as one of mode ``L``; ``raw`` is its ``raw_mode``."""
    values = np.asarray(image)
    white = 4095 if raw == "I;12" else white_of(values)
    if values.dtype == np.uint16:
        # A table takes a fraction of the memory that fractions would.
        grey = np.minimum(np.arange(65536) * 255 // white, 255).astype(np.uint8)[values]
    else:
        grey = np.clip(np.nan_to_num(values) * (255 / white), 0, 255).astype(np.uint8)
    shallow = Image.fromarray(grey)
    shallow.info = image.info
    return shallow


def white_of(values: np.ndarray) -> int:
    """Return the value that is white: 1 for fractions, else the most of 8, 10, 12 or 16 bits."""
    highest = np.nan_to_num(values).max(initial=0)
    if values.dtype.kind == "f" and highest <= 1:
        return 1
    return next((2**bits - 1 for bits in _FEWER_BITS if highest < 2**bits), 65535)


def _colours(image: Image.Image) -> Image.Image:
    return image if image.mode == "RGB" else image.convert("RGB")
