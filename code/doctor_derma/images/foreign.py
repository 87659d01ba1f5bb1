"""Files that people take for pictures and that are not read here, by their first bytes."""

import re

_BRANDS = {
    **dict.fromkeys((b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1"), "HEIC"),
    **dict.fromkeys((b"avif", b"avis"), "AVIF"),
    **dict.fromkeys((b"qt  ", b"isom", b"mp41", b"mp42", b"M4V "), "a video"),
    b"crx ": "a raw file of a camera",
}
_BEGINNINGS = (
    (rb"GIF8[79]a", "GIF"),
    (rb"\x00\x00\x00\x0cjP  |\xff\x4f\xff\x51", "JPEG 2000"),
    (rb"\x00\x00\x00\x0cJXL |\xff\x0a", "JPEG XL"),
    (rb".{128}DICM", "DICOM"),
    (rb"8BPS", "a file of Photoshop"),
    (rb"%PDF", "PDF"),
    (rb"\s*(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)?<svg", "SVG"),
    (rb"PK\x03\x04", "a zip archive or office file"),
    (rb"FUJIFILM|IIRO|IIU\x00", "a raw file of a camera"),
    (rb"\s*<(!doctype|html)", "a web page"),
    (rb"version https://git-lfs", "the pointer of a file that Git LFS has not fetched"),
)
# Of these a folder of pictures may hold some, without anybody thinking them pictures.
_DOCUMENTS = frozenset({"PDF", "a zip archive or office file", "a web page", "a video"})
_SUFFIXES = frozenset(
    {".heic", ".heif", ".avif", ".gif", ".jp2", ".j2k", ".jxl", ".dcm", ".dicom", ".psd", ".svg"}
    | {".dng", ".nef", ".cr2", ".cr3", ".arw", ".raf", ".orf", ".rw2", ".raw", ".ico", ".tga"}
)
LENGTH = 512


def foreign_kind(head: bytes) -> str | None:
    """Return what a file is by its first ``LENGTH`` bytes, such as HEIC; None where unknown."""
    if head[4:8] == b"ftyp":
        return _BRANDS.get(head[8:12], "a video or a picture of another kind")
    for beginning, kind in _BEGINNINGS:
        if re.match(beginning, head, re.DOTALL | re.IGNORECASE):
            return kind
    return None


def foreign_picture(suffix: str, head: bytes) -> bool:
    """Say whether a file is a picture of a kind that is not read, by its suffix or first bytes."""
    kind = foreign_kind(head)
    return suffix in _SUFFIXES or (kind is not None and kind not in _DOCUMENTS)
