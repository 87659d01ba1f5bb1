"""Small pictures to start from."""

import numpy as np
from PIL import Image

from images.made import save


def noise(mode: str, width: int, height: int, seed: int) -> Image.Image:
    """Return a picture of random pixels, which no codec makes small."""
    bands = max(len(Image.new(mode, (1, 1)).getbands()), 1)
    values = np.random.default_rng(seed).integers(0, 256, (height, width, bands), np.uint8)
    if mode in ("1", "P", "L"):
        return Image.fromarray(values[..., 0]).convert(mode)
    if mode == "I;16":
        return Image.fromarray(values[..., 0].astype(np.uint16) * 257)
    if mode in ("I", "F"):
        kind = np.int32 if mode == "I" else np.float32
        return Image.fromarray(values[..., 0].astype(kind) * 257)
    channels = [Image.fromarray(values[..., band]) for band in range(bands)]
    return Image.merge(mode, channels)


def base_files(seed: int) -> dict[str, bytes]:
    """Return one good file of each kind that the server reads."""
    picture = noise("RGB", 48, 36, seed)
    return {
        "jpeg": save(picture, "JPEG", quality=90),
        "progressive": save(picture, "JPEG", progressive=True),
        "png": save(picture, "PNG"),
        "palette": save(noise("P", 48, 36, seed), "PNG"),
        "webp": save(picture, "WEBP", quality=80),
        "lossless": save(picture, "WEBP", lossless=True),
        "tiff": save(picture, "TIFF"),
        "lzw": save(picture, "TIFF", compression="tiff_lzw"),
        "bmp": save(picture, "BMP"),
    }
