"""Where pictures are: local paths, or URIs of object stores through fsspec."""

import glob
import os
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from fsspec import AbstractFileSystem
from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem

from doctor_derma.errors import DermaError
from doctor_derma.images.formats import IMAGE_SUFFIXES
from doctor_derma.images.walking import files_below
from doctor_derma.images.walking import is_picture as is_picture_file

TAR_SUFFIXES = (".tar", ".tar.gz", ".tgz")
PARQUET_SUFFIXES = (".parquet", ".pq")


def absolute(source: str) -> str:
    """Return a path or URI that means the same in any working directory and process."""
    for scheme in ("file://", "local://"):
        source = source.removeprefix(scheme)
    return source if is_remote(source) else os.path.abspath(os.path.expanduser(source))  # noqa: PTH100, PTH111


def is_remote(uri: str) -> bool:
    """Say whether fsspec reads it over a network or from memory."""
    return "://" in uri


def is_picture(uri: str) -> bool:
    """Say whether a file of a folder or a shard is taken for a picture; hidden ones aren't."""
    name = uri.rpartition("/")[2]
    return not name.startswith(".") and Path(name).suffix.lower() in IMAGE_SUFFIXES


def is_tar(uri: str) -> bool:
    """Say whether its ending is one of ``TAR_SUFFIXES``, in capitals or not."""
    return uri.lower().endswith(TAR_SUFFIXES)


def is_shard(uri: str) -> bool:
    """Say whether it is a tar or Parquet file by its ending, in capitals or not."""
    return uri.lower().endswith(TAR_SUFFIXES + PARQUET_SUFFIXES)


def printable(uri: str) -> str:
    """Return it as text that any file can hold; bytes that are not UTF-8 are escaped."""
    return uri.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def file_system(uri: str) -> tuple[AbstractFileSystem, str]:
    """Return the file system that has it, and its path there.

    Raises a DermaError when the protocol is unknown, or what it needs is not installed.
    """
    try:
        return url_to_fs(uri) if is_remote(uri) else (LocalFileSystem(), uri)
    except ImportError as error:
        raise DermaError(f"{uri}: {str(error).rstrip('.')}, on every machine") from error
    except ValueError as error:
        raise DermaError(
            f"{uri}: {error}; give a path or an address such as s3://bucket/folder"
        ) from error


def list_files(sources: Sequence[str]) -> list[str]:
    """Return the pictures and shards that sources name, each once.

    Parameters
    ----------
    sources : from ``absolute``. A folder is searched with its subfolders for pictures, tar
        shards and Parquet files, and so is each folder that a pattern matches. A named local
        file is kept even when it doesn't exist, so that it gets a row with its error.

    Raises
    ------
    DermaError
        When there is no source, a folder or pattern matches nothing, or an object store
        doesn't answer.
    """
    if not sources:
        raise DermaError("no picture named; give files, folders, shards or patterns")
    found: dict[str, None] = {}
    for source in sources:
        matches = _list_remote(source) if is_remote(source) else _list_local(source)
        if not matches:
            raise DermaError(
                f"{source}: no pictures there, nor tar shards or Parquet files; check the name"
            )
        found.update(dict.fromkeys(matches))
    return list(found)


def _list_local(source: str) -> list[str]:
    if os.path.isdir(source):  # noqa: PTH112  # Path.is_dir raises for names that are too long.
        found = files_below(Path(source))
        # The first bytes of a local file can be had, and say what its name doesn't.
        return [str(path) for path in found if is_shard(str(path)) or is_picture_file(path)]
    if os.path.lexists(source) or not glob.has_magic(source):
        return [source]
    matches: list[str] = []
    # Path.glob takes no absolute pattern.
    for match in sorted(glob.glob(source, recursive=True)):  # noqa: PTH207
        matches += _list_local(match) if Path(match).is_dir() else [match]
    return matches


def _list_remote(source: str) -> list[str]:
    system, path = file_system(source)
    said = system._get_kwargs_from_urls(source)
    try:
        if glob.has_magic(path):
            matches = _matching(system, path)
        elif _is_wanted(path):  # Asking whether it is a folder may fetch all of it.
            # One that is made of the path lacks what else was said, such as an account.
            return [source if said or "::" in source else system.unstrip_protocol(path)]
        else:
            matches = system.find(path)
    except FileNotFoundError:
        return []
    # What the object stores raise has no base class.
    except Exception as error:
        raise DermaError(
            f"{source}: can't be listed ({error or type(error).__name__}); check the address and "
            "your access to it"
        ) from error
    found = sorted(system.unstrip_protocol(match) for match in matches if _is_wanted(match))
    if said.get("host"):  # Of FTP and its like, where it is no part of the path.
        host = urlsplit(source).netloc
        return [uri.replace("://", f"://{host}", 1) for uri in found]
    return found


def _matching(system: AbstractFileSystem, pattern: str) -> set[str]:
    """Return the files that match a pattern, and those of the folders that do."""
    matches = system.glob(pattern, detail=True)
    folders = [name for name in sorted(matches) if matches[name]["type"] == "directory"]
    found = set(matches) - set(folders)
    searched = ""
    for folder in folders:
        # With ** the folders in a folder match too, whose files are found with it.
        if not (searched and folder.startswith(searched)):
            found.update(system.find(folder))
            searched = folder.rstrip("/") + "/"
    return found


def _is_wanted(uri: str) -> bool:
    hidden = uri.rpartition("/")[2].startswith(".")
    return is_picture(uri) or (is_shard(uri) and not hidden)
