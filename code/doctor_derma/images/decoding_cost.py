"""How much memory a picture takes while Pillow decodes it, from its header."""

from PIL import ExifTags, Image

# Bytes a pixel at the peak, until the picture is RGB. Pillow has 4 for RGB, too.
_BYTES = {
    **dict.fromkeys(("1", "L", "P"), 5),
    "RGB": 4,
    **dict.fromkeys(("CMYK", "YCbCr", "LAB", "HSV", "RGBX"), 8),
    # The layer, white, both together, and RGB.
    **dict.fromkeys(("LA", "La", "PA", "RGBA", "RGBa"), 20),
    **dict.fromkeys(("I;16", "I;16B", "I;16L", "I;16N"), 10),
    **dict.fromkeys(("I", "F"), 24),
}
_UNKNOWN = 24
_TRANSPARENT = 20
# libwebp keeps two whole frames of four channels and gives Pillow a copy, to which comes the rest.
WEBP_BYTES = 32
# Read twice for the low and the high bytes, see bit_depth.
_DEEP_COLOUR = 16
_TURNED = _CONVERTED = 4


def bytes_to_decode(image: Image.Image) -> int:
    """Return the bytes that a picture which is opened but not loaded takes while it is decoded.

    Of a JPEG without its coefficients, which ``look_through`` counts.
    """
    each = _BYTES.get(image.mode, _UNKNOWN)
    if "transparency" in image.info:
        each = max(each, _TRANSPARENT)
    if image.format == "WEBP":
        each = WEBP_BYTES
    if ";16" in str(getattr(image, "tile", "")):
        each += _DEEP_COLOUR if image.mode in ("RGB", "RGBA") else 0
    if _is_turned(image):
        each += _TURNED
    if "icc_profile" in image.info:
        each += _CONVERTED
    return image.width * image.height * each


def _is_turned(image: Image.Image) -> bool:
    if image.format == "PNG" and "exif" not in image.info:
        # Pillow would decode all of it, as EXIF may stand behind the pixels.
        return False
    try:
        return image.getexif().get(ExifTags.Base.Orientation, 1) != 1
    except Exception:  # Whatever Pillow says of damaged EXIF, the picture counts as upright.
        return False
