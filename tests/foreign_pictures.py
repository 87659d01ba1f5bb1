"""Finds pictures in a git repository that nobody has said are the project's own.

Every tracked file is one of three: a drawing at a place where one is expected, an exception with
a reason, or text without a picture in it. Pixels written as numbers are not found.
"""

import base64
import hashlib
import io
import re
import subprocess
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from PIL import Image

RASTER_SUFFIXES = {
    *(".jfif", ".jpe", ".jpeg", ".jpg", ".j2k", ".jp2", ".jxl", ".avif", ".heic", ".heif", ".webp"),
    *(".png", ".gif", ".bmp", ".ico", ".tif", ".tiff", ".dcm", ".psd", ".svgz", ".tga"),
    *(".pbm", ".pgm", ".pnm", ".ppm", ".xpm"),
}
SIGNATURES = {
    "PNG": b"\x89PNG\r\n\x1a\n",
    "JPEG": b"\xff\xd8\xff",
    "GIF": b"GIF8",
    "WebP": b"RIFF",
    "BMP": b"BM",
    "TIFF": b"II*\x00",
    "TIFF, big-endian": b"MM\x00*",
}
# The page's background fills that much of a plot or a screenshot at least. Of 2,000 images of
# HAM10000 the most frequent colour has 9% of the pixels at most, of the plots it has 16% at least.
BACKGROUND_SHARE = 0.12
# Base64 in one piece, or in lines as in a mail, a notebook's JSON or strings of Python.
BASE64 = re.compile(rb"[A-Za-z0-9+/_-]{60,}(?:[\"']?(?:\\n|\s*\n\s*)[\"']?[A-Za-z0-9+/_-]+)*={0,2}")
BETWEEN_LINES = re.compile(rb"\\n|[\s\"'=]")
# A picture in fewer bytes shows nothing. Nobody can look into longer base64 of anything else.
FEWEST_BYTES = 100
MOST_UNKNOWN_BYTES = 1500


def find_foreign_pictures(root: Path, drawn: Iterable[str], excepted: Iterable[str]) -> list[str]:
    """Look through all tracked files of a repository.

    Parameters
    ----------
    root : the top of a working tree
    drawn : patterns of the paths of the project's own drawings, PNG; ``*`` is within a folder
    excepted : patterns of the paths of files that are not looked into

    Returns
    -------
    A line for each file that should not be there, or holds what should not be in it
    """
    contents = {
        path: (root / path).read_bytes()
        for path in tracked_files(root)
        if not _matches(path, excepted)
    }
    problems = {}
    digests = defaultdict(set)
    for path, content in contents.items():
        if not _matches(path, drawn):
            continue
        if problem := _why_no_drawing(content):
            problems[path] = problem
        else:
            digests[PurePosixPath(path).parent].add(hashlib.sha256(content).digest())
    for path, content in contents.items():
        if not _matches(path, drawn) and (
            problem := _why_not_text(path, content, digests[PurePosixPath(path).parent])
        ):
            problems[path] = problem
    return [f"{path}: {problem}" for path, problem in problems.items()]


def tracked_files(root: Path) -> list[str]:
    """Return the paths of the tracked files that are there, links left out."""
    command = ["git", "-C", str(root), "ls-files", "-z"]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    paths = [path for path in listed.split("\0") if path]
    return [path for path in paths if (root / path).is_file() and not (root / path).is_symlink()]


def _matches(path: str, patterns: Iterable[str]) -> bool:
    return any(PurePosixPath("/", path).match(f"/{pattern}") for pattern in patterns)


def _why_no_drawing(content: bytes) -> str | None:
    if _format(content) != "PNG":
        return f"{_format(content) or 'no picture'} at the place of a drawing in PNG"
    with Image.open(io.BytesIO(content)) as image:
        pixels = image.convert("RGB")
    colours = pixels.getcolors(pixels.width * pixels.height)
    background = max(count for count, _ in colours) / (pixels.width * pixels.height)
    if background < BACKGROUND_SHARE:
        return f"looks like a photograph, no colour has more than {background:.0%} of the pixels"
    return None


def _why_not_text(path: str, content: bytes, drawings: set[bytes]) -> str | None:
    if (suffix := PurePosixPath(path).suffix.lower()) in RASTER_SUFFIXES:
        return f"a picture ({suffix}) that no script of the project is known to draw"
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        return f"{_format(content) or 'neither text nor a known exception'}, binary"
    if b"\0" in content:
        return "neither text nor a known exception, binary"
    for run in BASE64.finditer(content):
        if problem := _why_not_drawn_beside(run[0], drawings):
            line = content.count(b"\n", 0, run.start()) + 1
            return f"{problem} as base64, line {line}"
    return None


def _why_not_drawn_beside(run: bytes, drawings: set[bytes]) -> str | None:
    text = BETWEEN_LINES.sub(b"", run).translate(bytes.maketrans(b"-_", b"+/"))
    decoded = base64.b64decode(text[: len(text) // 4 * 4] if len(text) % 4 == 1 else text + b"==")
    if len(decoded) < FEWEST_BYTES or hashlib.sha256(decoded).digest() in drawings:
        return None
    if name := _format(decoded):
        return f"{name} that is no drawing of the same folder"
    return f"{len(decoded):,} unknown bytes" if len(decoded) > MOST_UNKNOWN_BYTES else None


def _format(content: bytes) -> str | None:
    return next((name for name, start in SIGNATURES.items() if content.startswith(start)), None)
