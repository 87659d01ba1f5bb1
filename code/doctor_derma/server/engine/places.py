"""Where a picture is decoded, by what its file says of itself."""

import io
from typing import Literal

from PIL import Image

from doctor_derma.images.decoding import DRAFT_SIDE, FORMATS, LARGE_BYTES, MAX_PIXELS
from doctor_derma.images.file_structure import look_through, webp_size
from doctor_derma.images.large_pictures import WEBP_BYTES, bytes_to_decode, can_shrink

# Pillow has to keep so much of a picture that it can't make smaller meanwhile.
MOST_BYTES = 110_000_000
# Of metadata that were compressed.
UNPACKED_BYTES = 1_000_000

Place = Literal["here", "apart", "nowhere"]


def place_for(encoded: bytes) -> Place:
    """Say where to decode a picture.

    ``here``, beside others and in a thread of the server, is for what takes little memory and
    time, and for what is no picture, as the decoder will say. ``apart`` is for all else, a
    picture at a time, and ``nowhere`` for what would not fit there either.
    """
    structure = look_through(encoded)
    if structure.excess:
        return "here"
    width, height = webp_size(encoded[:30])
    if width * height * WEBP_BYTES > LARGE_BYTES:
        return "apart"
    try:
        with Image.open(io.BytesIO(encoded), formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                return "here"
            image.draft(None, (DRAFT_SIDE, DRAFT_SIDE))
            taken = structure.coefficients + bytes_to_decode(image)
            format = image.format
    except Exception:  # The decoder proper knows every way in which a file can be wrong.
        return "apart" if structure.odd else "here"
    if taken > MOST_BYTES and not can_shrink(format):
        return "nowhere"
    easy = taken <= LARGE_BYTES and structure.unpacked <= UNPACKED_BYTES and not structure.odd
    return "here" if easy else "apart"
