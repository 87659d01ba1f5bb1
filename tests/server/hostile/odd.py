"""Good pictures of kinds that are easily forgotten."""

from PIL import Image

from images.made import save
from server.hostile.pictures import noise

ORIENTATION = 0x0112


def odd_files(seed: int) -> dict[str, bytes]:
    """Return pictures that a viewer shows; most of them should be answered."""
    return {**_modes(seed), **_shapes(seed), **_metadata(seed), **_frames(seed)}


def _modes(seed: int) -> dict[str, bytes]:
    saved = {
        "JPEG": ("L", "RGB", "CMYK", "YCbCr"),
        "PNG": ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"),
        "TIFF": ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "I;16", "I", "F"),
        "BMP": ("1", "L", "P", "RGB", "RGBA"),
        "WEBP": ("RGB", "RGBA"),
    }
    files = {
        f"{format}-{mode}": save(noise(mode, 21, 13, seed), format)
        for format, modes in saved.items()
        for mode in modes
    }
    palette = noise("P", 21, 13, seed)
    files["PNG-P-transparent"] = save(palette, "PNG", transparency=bytes(range(256)))
    files["PNG-L-transparent"] = save(noise("L", 21, 13, seed), "PNG", transparency=7)
    for compression in ("tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg"):
        files[f"TIFF-{compression}"] = save(
            noise("RGB", 21, 13, seed), "TIFF", compression=compression
        )
    files["TIFF-group4"] = save(noise("1", 21, 13, seed), "TIFF", compression="group4")
    return files


def _shapes(seed: int) -> dict[str, bytes]:
    sizes = ((1, 1), (1, 9000), (9000, 1), (2, 3), (1, 65000), (16000, 2))
    return {
        f"{format}-{width}x{height}": save(noise("L", width, height, seed), format)
        for format in ("PNG", "JPEG", "BMP", "TIFF")
        for width, height in sizes
    }


def _metadata(seed: int) -> dict[str, bytes]:
    picture = noise("RGB", 32, 20, seed)
    files = {}
    for orientation in (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 65535):
        exif = Image.Exif()
        exif[ORIENTATION] = orientation
        for format in ("JPEG", "PNG", "WEBP", "TIFF"):
            files[f"{format}-orientation-{orientation}"] = save(picture, format, exif=exif)
    long = Image.Exif()
    long[0x010E] = "x" * 60_000
    files["JPEG-long-exif"] = save(picture, "JPEG", exif=long)
    files["JPEG-no-exif"] = save(picture, "JPEG", exif=b"Exif\0\0garbage")
    for size in (1, 128, 70_000, 900_000):
        files[f"JPEG-icc-{size}"] = save(picture, "JPEG", icc_profile=bytes(size))
        files[f"PNG-icc-{size}"] = save(picture, "PNG", icc_profile=b"\xff" * size)
    files["JPEG-comment"] = save(picture, "JPEG", comment=b"\xff\xd9" * 30_000)
    return files


def _frames(seed: int) -> dict[str, bytes]:
    frames = [noise("RGB", 16, 16, seed + index) for index in range(40)]
    first, *others = frames
    several = {"save_all": True, "append_images": others}
    return {
        "PNG-animated": save(first, "PNG", **several),
        "WEBP-animated": save(first, "WEBP", **several),
        "TIFF-pages": save(first, "TIFF", **several),
        "PNG-animated-forever": save(first, "PNG", **several, duration=1, loop=0),
    }
