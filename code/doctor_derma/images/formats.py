"""The kinds of files: one list of those that are read, and what to do with those that are not.

The first bytes decide, not the name. `FORMATS` is the only list of what is read: the server, its
page, the importers, ``derma predict`` and Ray take suffixes, media types and names from it.
"""

import re
import struct
from typing import BinaryIO, NamedTuple


class Format(NamedTuple):
    """A kind of picture that is read.

    Attributes
    ----------
    name : as people call it
    decoders : Pillow's names for it; none where another library decodes it
    suffixes : of its files, in lower case
    media_types : as browsers and clients announce it
    """

    name: str
    decoders: tuple[str, ...]
    suffixes: tuple[str, ...]
    media_types: tuple[str, ...]


FORMATS = (
    # Cameras write MPO, a JPEG with further ones behind it, under either suffix.
    Format("JPEG", ("JPEG",), (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"), ("image/jpeg",)),
    Format("PNG", ("PNG",), (".png",), ("image/png",)),
    Format("WebP", ("WEBP",), (".webp",), ("image/webp",)),
    Format("TIFF", ("TIFF",), (".tif", ".tiff"), ("image/tiff",)),
    Format("HEIC", (), (".heic", ".heif", ".hif"), ("image/heic", "image/heif")),
    Format("AVIF", ("AVIF",), (".avif",), ("image/avif",)),
    Format("JPEG 2000", ("JPEG2000",), (".jp2", ".j2k", ".j2c", ".jpf", ".jpx"), ("image/jp2",)),
    Format("GIF", ("GIF",), (".gif",), ("image/gif",)),
    Format("DICOM", (), (".dcm", ".dicom"), ("application/dicom",)),
    Format("BMP", ("BMP",), (".bmp", ".dib"), ("image/bmp",)),
)
IMAGE_SUFFIXES = frozenset(suffix for each in FORMATS for suffix in each.suffixes)
MEDIA_TYPES = tuple(media_type for each in FORMATS for media_type in each.media_types)
# Pillow knows more, and some of those run other programs on the file, such as EPS.
DECODERS = tuple(decoder for each in FORMATS for decoder in each.decoders)
# For sentences.
NAMES = ", ".join(each.name for each in FORMATS[:-1]) + f" or {FORMATS[-1].name}"
# For a page's file chooser: few systems know the media types of all.
ACCEPT = ",".join((*MEDIA_TYPES, *(s for each in FORMATS for s in each.suffixes)))

# What is not read, and what to do with it.
RAW = "a RAW photograph"
_VIDEO = "a video"
ADVICE = {
    RAW: "export it as JPEG",
    _VIDEO: "save one picture of it as JPEG",
    "JPEG XL": "save it as JPEG or PNG",
    "a file of Photoshop": "export it as JPEG or PNG",
    "PDF": "export the picture in it as JPEG or PNG",
    "SVG": "export it as PNG",
    "PostScript": "export it as PNG",
    "an icon": "save it as PNG",
    "a zip archive or office file": "unpack it, or save the picture in it as JPEG or PNG",
    "a web page": "save the picture itself",
    "the pointer of a file that Git LFS has not fetched": "run 'git lfs pull'",
}
FOREIGN_SUFFIXES = frozenset(
    {".dng", ".nef", ".cr2", ".cr3", ".crw", ".arw", ".raf", ".orf", ".rw2", ".raw", ".pef", ".srw"}
    | {".x3f", ".jxl", ".psd", ".svg", ".eps", ".ico", ".tga"}
)
# Of these a folder of pictures may hold some, without anybody thinking them pictures.
_DOCUMENTS = frozenset({"PDF", "PostScript", _VIDEO, "a zip archive or office file", "a web page"})

# Bytes of a beginning that tell.
LENGTH = 512
TIFF_ORDERS = {b"II*\0": "<", b"MM\0*": ">"}
BIG_TIFF = (b"II+\0", b"MM\0+")
_BEGINNINGS = (
    (rb"\xff\xd8", "JPEG"),
    (rb"\x89PNG\r\n\x1a\n", "PNG"),
    (rb"RIFF.{4}WEBP", "WebP"),
    (rb"II\*\0.{4}CR|II\x1a\0.{4}HEAPCCDR", RAW),
    (rb"II[*+]\0|MM\0[*+]", "TIFF"),
    (rb"\x00\x00\x00\x0cjP  |\xff\x4f\xff\x51", "JPEG 2000"),
    (rb"GIF8[79]a", "GIF"),
    (rb".{128}DICM", "DICOM"),
    (rb"FUJIFILM|IIR[OS]|MMOR|IIU\x00|FOVb|\x00MRM", RAW),
    (rb"\x00\x00\x00\x0cJXL |\xff\x0a", "JPEG XL"),
    (rb"8BPS", "a file of Photoshop"),
    (rb"%PDF", "PDF"),
    (rb"%!PS", "PostScript"),
    (rb"(?i:\s*(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)?<svg)", "SVG"),
    (rb"\x1aE\xdf\xa3|RIFF.{4}AVI ", _VIDEO),
    (rb"\x00\x00\x01\x00.\x00", "an icon"),
    (rb"PK\x03\x04", "a zip archive or office file"),
    (rb"(?i:\s*<(!doctype|html))", "a web page"),
    (rb"version https://git-lfs", "the pointer of a file that Git LFS has not fetched"),
    (rb"BM", "BMP"),
)
_READ = frozenset(each.name for each in FORMATS)
_HEIF_BRANDS = frozenset(
    (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1")
)
_AVIF_BRANDS = frozenset((b"avif", b"avis"))
# Tags of TIFF and DNG, and the colours of a sensor that is not yet a picture.
_PHOTOMETRIC, _SUB_DIRECTORIES, _DNG_VERSION = 262, 330, 50706
_SENSOR_COLOURS = (32803, 34892)
_MOST_TAGS, _MOST_DIRECTORIES = 1_000, 10


def kind_of(head: bytes) -> str | None:
    """Return what a file is by its first ``LENGTH`` bytes.

    Returns
    -------
    name of one of ``FORMATS``, key of ``ADVICE``, or None where it is neither

    Examples
    --------
    >>> kind_of(b"GIF89a"), kind_of(b"%PDF-1.7"), kind_of(b"a text")
    ('GIF', 'PDF', None)
    """
    if head[4:8] == b"ftyp":
        return _kind_of_boxes(head)
    matching = (kind for start, kind in _BEGINNINGS if re.match(start, head, re.DOTALL))
    return next(matching, None)


def is_known(head: bytes) -> bool:
    """Say whether a file begins as one of a format that is read."""
    return kind_of(head) in _READ


def foreign_picture(suffix: str, head: bytes) -> bool:
    """Say whether a file is a picture of a kind that is not read, by its suffix or first bytes."""
    kind = kind_of(head)
    return suffix in FOREIGN_SUFFIXES or (kind in ADVICE and kind not in _DOCUMENTS)


def is_raw(stream: BinaryIO) -> bool:
    """Say whether a TIFF is a RAW photograph: DNG, NEF, ARW and others are, with a small preview.

    Looks at the first directory and those below it, where the sensor's values lie (TIFF 6.0,
    section 2; Adobe DNG 1.7, chapter 2).
    """
    try:
        order = TIFF_ORDERS[stream.read(4)]
        (first,) = struct.unpack(order + "I", stream.read(4))
        tags = _directory(stream, first, order)
        below = tags.get(_SUB_DIRECTORIES, [])[:_MOST_DIRECTORIES]
        colours = [tags, *(_directory(stream, at, order) for at in below)]
    except (KeyError, struct.error):
        return False
    return _DNG_VERSION in tags or any(
        value in _SENSOR_COLOURS for each in colours for value in each.get(_PHOTOMETRIC, [])
    )


def _directory(stream: BinaryIO, at: int, order: str) -> dict[int, list[int]]:
    """Return the whole numbers of a directory of a TIFF, by tag."""
    stream.seek(at)
    (count,) = struct.unpack(order + "H", stream.read(2))
    entries = stream.read(12 * min(count, _MOST_TAGS))
    tags = {}
    for start in range(0, len(entries) - 11, 12):
        tag, kind, values = struct.unpack_from(order + "HHI", entries, start)
        code, size = {3: ("H", 2), 4: ("I", 4), 13: ("I", 4)}.get(kind, ("", 1))
        values = min(values, _MOST_DIRECTORIES)
        stored = entries[start + 8 : start + 12]
        if size * values > 4:
            stream.seek(*struct.unpack(order + "I", stored))
            stored = stream.read(size * values)
        tags[tag] = list(struct.unpack_from(f"{order}{values}{code}", stored)) if code else []
    return tags


def _kind_of_boxes(head: bytes) -> str:
    """Tell the files apart that begin with a box of brands (ISO/IEC 14496-12, 4.3)."""
    length = int.from_bytes(head[:4])
    brands = {head[8:12], *(head[at : at + 4] for at in range(16, min(length, len(head)), 4))}
    if brands & _AVIF_BRANDS:
        return "AVIF"
    if brands & _HEIF_BRANDS:
        return "HEIC"
    return RAW if b"crx " in brands else _VIDEO
