"""The picture files of a source: in folders and in zip archives."""

import zipfile
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from doctor_derma.data.importers.tables import shown
from doctor_derma.errors import DermaError
from doctor_derma.images.formats import IMAGE_SUFFIXES
from doctor_derma.images.walking import files_below

# What reading a picture may raise: a member of an archive that is encrypted, or packed in an
# unknown way, is a RuntimeError.
READ_ERRORS = (OSError, zipfile.BadZipFile, zlib.error, RuntimeError)


class PictureFile(NamedTuple):
    """A picture as it lies in a source.

    Attributes
    ----------
    path : file, or archive and place in it, for people and for matching
    size : bytes of the file
    read : gives its bytes
    """

    path: str
    size: int
    read: Callable[[], bytes]

    @property
    def stem(self) -> str:
        """Name of the file, without folders and the last suffix."""
        return PurePosixPath(self.path).stem

    @property
    def suffix(self) -> str:
        """The last suffix in lower case, with its dot."""
        return _suffix(self.path)


def find_pictures(source: Path) -> list[PictureFile]:
    """List the pictures of a folder, whatever lies deeper included, or of a zip archive.

    Unpacked pictures come before zipped ones. Hidden files are none.

    Raises
    ------
    DermaError
        When the source is missing or an archive is damaged.
    """
    if not source.exists():
        raise DermaError(f"{source}: no such folder or zip archive; name the one with the pictures")
    if source.is_file():
        return list(_zipped_pictures(source))
    paths = files_below(source)
    archives = [path for path in paths if path.suffix.lower() == ".zip" and path.is_file()]
    unpacked = [
        # One that is a link to nowhere is read in vain.
        PictureFile(shown(str(path)), path.stat().st_size if path.is_file() else 0, reader(path))
        for path in paths
        if _is_picture(path.name)
    ]
    return unpacked + [picture for path in archives for picture in _zipped_pictures(path)]


def reader(path: Path) -> Callable[[], bytes]:
    """Return what reads a file; a path of many parts is only made when it is read."""
    place = str(path)
    return lambda: Path(place).read_bytes()


def _zipped_pictures(path: Path) -> Iterator[PictureFile]:
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DermaError(
            f"{path}: can't be opened as a zip archive ({reason}); download it again"
        ) from error
    for member in sorted(archive.infolist(), key=lambda member: member.filename):
        if _is_picture(member.filename):
            read = partial(archive.read, member.filename)
            yield PictureFile(shown(f"{path}/{member.filename}"), member.file_size, read)


def _is_picture(path: str) -> bool:
    # macOS puts a "._" twin beside every picture it zips.
    return _suffix(path) in IMAGE_SUFFIXES and not path.startswith(".") and "/." not in path


def _suffix(path: str) -> str:
    return f".{path.rpartition('.')[2]}".lower()
