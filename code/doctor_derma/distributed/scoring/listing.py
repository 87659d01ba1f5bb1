"""Sources on the command line to the files that they name."""

import glob
import os
from collections.abc import Sequence
from pathlib import Path

from doctor_derma.distributed.scoring.places import (
    file_system,
    is_parquet,
    is_picture,
    is_remote,
    is_tar,
)
from doctor_derma.errors import DermaError
from doctor_derma.images.walking import files_below
from doctor_derma.images.walking import is_picture as is_picture_file


def list_files(sources: Sequence[str]) -> list[str]:
    """Return the pictures and shards that sources name, each once.

    Parameters
    ----------
    sources : places, see ``places.absolute``. A folder is searched with its subfolders for
        pictures, tar shards and Parquet files, and so is each folder that a pattern matches.
        A named local file is kept even when it doesn't exist, so that it gets a row with
        its error.

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
        matches = _remote(source) if is_remote(source) else _local(source)
        if not matches:
            raise DermaError(
                f"{source}: no pictures there, nor tar shards or Parquet files; check the name"
            )
        found.update(dict.fromkeys(matches))
    return list(found)


def _local(source: str) -> list[str]:
    if os.path.isdir(source):  # noqa: PTH112  # Path.is_dir raises for names that are too long.
        return [str(path) for path in files_below(Path(source)) if _is_wanted_here(path)]
    if os.path.lexists(source) or not glob.has_magic(source):
        return [source]
    matches: list[str] = []
    # Path.glob takes no absolute pattern.
    for match in sorted(glob.glob(source, recursive=True)):  # noqa: PTH207
        matches += _local(match) if Path(match).is_dir() else [match]
    return matches


def _is_wanted_here(path: Path) -> bool:
    """Say so of a local file, whose first bytes can be had."""
    return is_tar(str(path)) or is_parquet(str(path)) or is_picture_file(path)


def _remote(source: str) -> list[str]:
    system, path = file_system(source)
    try:
        if glob.has_magic(path):
            matches = system.glob(path)
        elif _is_wanted(path):  # Asking whether it is a folder may fetch all of it.
            return [source]
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
    return sorted(system.unstrip_protocol(match) for match in matches if _is_wanted(match))


def _is_wanted(place: str) -> bool:
    hidden = place.rpartition("/")[2].startswith(".")
    return not hidden and (is_picture(place) or is_tar(place) or is_parquet(place))
