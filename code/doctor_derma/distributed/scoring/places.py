"""Where pictures lie: a local path, or the address of an object store through fsspec."""

import os
from pathlib import Path

from fsspec import AbstractFileSystem
from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem

from doctor_derma.errors import DermaError
from doctor_derma.images.decoding import IMAGE_SUFFIXES

TAR_SUFFIXES = (".tar", ".tar.gz", ".tgz")
PARQUET_SUFFIXES = (".parquet", ".pq")
_LOCAL = ("file://", "local://")


def absolute(source: str) -> str:
    """Return a place that means the same in any working directory and process."""
    for scheme in _LOCAL:
        if source.startswith(scheme):
            source = source.removeprefix(scheme)
    return source if is_remote(source) else os.path.abspath(os.path.expanduser(source))  # noqa: PTH100, PTH111


def is_remote(place: str) -> bool:
    """Say whether fsspec reads this place over a network or from memory."""
    return "://" in place


def is_picture(place: str) -> bool:
    """Say whether a file of a folder or a shard is taken for a picture; hidden ones aren't."""
    name = place.rpartition("/")[2]
    return not name.startswith(".") and Path(name).suffix.lower() in IMAGE_SUFFIXES


def is_tar(place: str) -> bool:
    return place.lower().endswith(TAR_SUFFIXES)


def is_parquet(place: str) -> bool:
    return place.lower().endswith(PARQUET_SUFFIXES)


def file_system(place: str) -> tuple[AbstractFileSystem, str]:
    """Return the file system of a place, and its path there.

    Raises
    ------
    DermaError
        When the protocol is unknown, or what it needs is not installed.
    """
    if not is_remote(place):
        return LocalFileSystem(), place
    try:
        return url_to_fs(place)
    except ImportError as error:
        raise DermaError(f"{place}: {str(error).rstrip('.')}, on every machine") from error
    except ValueError as error:
        raise DermaError(
            f"{place}: {error}; give a path or an address such as s3://bucket/folder"
        ) from error


def shown(place: str) -> str:
    """Return a place as text that any file can hold; bytes that are not UTF-8 are escaped."""
    return place.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
