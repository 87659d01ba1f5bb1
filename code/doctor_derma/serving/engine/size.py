"""How much memory a picture will take, from its header."""

import io

from PIL import Image

from doctor_derma.data.decoding import DRAFT_SIDE, FORMATS

# A phone's JPEG is under it, as it is decoded at a fraction of its size. One such picture a
# processor takes some 20 MB each, a picture at the limit of 50 megapixels 150 MB and more.
LARGE_PIXELS = 6_000_000


def pixels_in_memory(encoded: bytes) -> int:
    """Return how many pixels have to be in memory to decode a picture.

    0 for what is no picture, whose decoding gives the reason. A JPEG that shrinks while it is
    decoded counts as what it shrinks to, unless it is progressive: then all of its
    coefficients have to be kept first.
    """
    try:
        with Image.open(io.BytesIO(encoded), formats=FORMATS) as image:
            whole = image.width * image.height
            if whole > LARGE_PIXELS and not image.info.get("progressive"):
                image.draft(None, (DRAFT_SIDE, DRAFT_SIDE))
            return image.width * image.height
    except Exception:  # The decoder proper knows every way in which a file can be wrong.
        return 0
