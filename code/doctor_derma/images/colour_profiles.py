"""Colours as a picture's ICC profile means them, in sRGB, which networks are trained on."""

import hashlib
import io
import threading
from collections import OrderedDict
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageCms

# Those of printing presses, the largest in use, have some 3 MB.
MAX_PROFILE_BYTES = 8_000_000
# Profiles that are in use together; strangers can send any number.
_KEPT = 32
# A profile that moves no colour further, in steps of 255, is another writing of sRGB.
_SAME = 3
_SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
# Pillow's mode for the colours that a profile is about.
_MODES = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}
_LEVELS = np.linspace(0, 255, 17).round().astype(np.uint8)


class Conversion(NamedTuple):
    """From the colours of one profile, in pictures of ``mode``, to sRGB."""

    mode: str
    transform: ImageCms.ImageCmsTransform

    def fits(self, mode: str) -> bool:
        """Say whether a picture of a mode can be meant; some carry the profile of what they were.

        A grey picture has the colours of an RGB profile, too.
        """
        if self.mode == "RGB":
            return mode != "CMYK"
        return mode == "CMYK" if self.mode == "CMYK" else mode in ("1", "L", "LA")

    def apply(self, image: Image.Image) -> Image.Image:
        """Return an RGB picture that carries no profile any more."""
        converted = self.transform.apply(image)
        converted.info = {}
        return converted


def conversion_to_srgb(profile: bytes) -> Conversion | None:
    """Return what turns colours of a profile into sRGB; None where they can stay as they are.

    That is so for sRGB itself, in whatever writing, for a damaged profile, and for one that is
    about no colours of pictures or is over ``MAX_PROFILE_BYTES``. The work is done once a
    profile.
    """
    if len(profile) > MAX_PROFILE_BYTES:
        return None
    key = hashlib.sha256(profile).digest()
    with _lock:
        if key in _conversions:
            _conversions.move_to_end(key)
            return _conversions[key]
    conversion = _build(profile)
    with _lock:
        _conversions[key] = conversion
        if len(_conversions) > _KEPT:
            _conversions.popitem(last=False)
    return conversion


_conversions: OrderedDict[bytes, Conversion | None] = OrderedDict()
_lock = threading.Lock()


def _build(profile: bytes) -> Conversion | None:
    try:
        opened = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        mode = _MODES.get(opened.profile.xcolor_space.strip())
        if mode is None:
            return None
        # White stays white and black black, whatever paper or screen the profile is of.
        transform = ImageCms.buildTransform(
            opened,
            _SRGB,
            mode,
            "RGB",
            renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
            flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
    # Little CMS says "cannot build transform" for all that is wrong, Pillow also other things.
    except Exception:
        return None
    conversion = Conversion(mode, transform)
    return None if _is_srgb(conversion) else conversion


def _is_srgb(conversion: Conversion) -> bool:
    """Say whether a conversion leaves a sample of all colours where they are."""
    if conversion.mode == "CMYK":
        return False
    axes = [_LEVELS] * len(conversion.mode)
    colours = np.stack(np.meshgrid(*axes), axis=-1).reshape(1, -1, len(axes))
    picture = Image.fromarray(colours.squeeze(-1) if len(axes) == 1 else colours)
    moved = np.asarray(conversion.apply(picture)).astype(int) - colours
    return int(np.abs(moved).max()) <= _SAME
