"""All files below a folder, through links too, and none without a word; which are pictures."""

from collections.abc import Iterator
from pathlib import Path

from doctor_derma.errors import DermaError
from doctor_derma.images.formats import IMAGE_SUFFIXES, LENGTH, foreign_picture, is_known


def files_below(folder: Path) -> list[Path]:
    """Return the files of a folder and its folders, sorted, but nothing hidden.

    A link is what it leads to. One that leads to a folder above it is not followed, one that
    leads nowhere is returned, as what reads it can say so.

    Raises a DermaError when a folder can't be listed.
    """
    return sorted(_below(folder, (folder.resolve(),)))


def is_picture(path: Path) -> bool:
    """Say whether a file of a folder is a picture, of a kind that is read or of another.

    A link that leads nowhere and a file that can't be opened are, if by their name: what
    decodes them gives the reason.
    """
    if path.suffix.lower() in IMAGE_SUFFIXES:
        return path.is_file() or not path.exists()
    if not path.is_file():
        return False
    try:
        with path.open("rb") as file:
            head = file.read(LENGTH)
    except OSError:
        return False
    return is_known(head) or foreign_picture(path.suffix.lower(), head)


def _below(folder: Path, above: tuple[Path, ...]) -> Iterator[Path]:
    try:
        entries = list(folder.iterdir())
    except OSError as error:
        raise DermaError(
            f"{folder}: can't be listed ({error.strerror}); check who may read it"
        ) from error
    for path in entries:
        if path.name.startswith("."):
            continue
        if not path.is_dir():
            yield path
        elif not path.is_symlink():
            yield from _below(path, (*above, path.resolve()))
        elif (target := path.resolve()) not in above:
            yield from _below(path, (*above, target))
