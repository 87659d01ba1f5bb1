"""Reads the HAM10000 archive as it is published, zipped or unpacked.

Tschandl, Rosendahl, Kittler: "The HAM10000 dataset, a large collection of multi-source
dermatoscopic images of common pigmented skin lesions", Scientific Data 5:180161, 2018,
doi:10.7910/DVN/DBW86T.
"""

from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from doctor_derma.data.importers.labelled import Labels, read_labelled
from doctor_derma.data.importers.pictures import PictureFile, find_pictures
from doctor_derma.data.importers.presets import preset_named
from doctor_derma.data.importers.records import SourceImage
from doctor_derma.data.importers.tables import read_table, require_columns, same_name, shown
from doctor_derma.errors import DermaError
from doctor_derma.images.walking import files_below

# Name, source and licence, as in the archive's record.
HAM10000 = ("ham10000", "doi:10.7910/DVN/DBW86T", "CC BY-NC 4.0")
METADATA_NAMES = ("HAM10000_metadata.csv", "HAM10000_metadata.tab", "HAM10000_metadata")
METADATA_COLUMNS = ("lesion_id", "image_id", "dx", "dx_type", "age", "sex", "localization")
# The newer metadata says in a column more which of four collections an image is from; beside
# the older one, a table of its own can say it.
SOURCES_COLUMNS = ("image_id", "dataset")
SOURCES_NAME = "HAM10000_sources.csv"
IMAGES_PATTERN = "ham10000_images*"


def read_ham10000(source: Path) -> list[SourceImage]:
    """List the images of a folder that holds ``HAM10000_metadata.csv`` and the pictures.

    Pictures lie in the folder, in ``HAM10000_images_part_1/`` and ``_part_2/``, or in zip
    archives of these names, in any case; an unpacked picture goes before a zipped one. What the
    metadata lists and isn't there is looked for in all other folders and archives. A row without
    a picture and a picture without a row are listed too, so that the import reports them. The
    collection of an image is in the column ``dataset``, or in ``HAM10000_sources.csv``.

    Raises
    ------
    DermaError
        When the metadata or a column is missing, there are no pictures or none of the rows', or
        an archive is damaged.
    """
    below = files_below(source) if source.is_dir() else []
    metadata = _find_table(source, below)
    table = read_table(metadata)
    require_columns(metadata, table, METADATA_COLUMNS)
    listed = {same_name(name) for name in table["image_id"] if name.strip()}
    pictures = _by_name(source, find_pictures(source), listed)
    if not pictures:
        parts = sorted({path.relative_to(source).parts[0] for path in below})
        raise DermaError(
            f"{source}: no pictures found in it, in folders or in zip archives (it holds "
            f"{', '.join(parts)}); put HAM10000_images_part_1.zip and _part_2.zip, or the unpacked "
            ".jpg files, there"
        )
    sources = metadata.with_name(SOURCES_NAME)
    joined = () if "dataset" in table.columns or not sources.is_file() else (sources,)
    for path in joined:
        require_columns(path, read_table(path, 1), SOURCES_COLUMNS)
    labels = Labels(preset_named("ham10000"), (metadata,), joined)
    return read_labelled(labels, list(pictures.values())) + [
        SourceImage(file.stem, file.path, file.read, file.suffix)
        for name, file in sorted(pictures.items())
        if name not in listed
    ]


def _find_table(source: Path, below: Sequence[Path]) -> Path:
    names = [name.casefold() for name in METADATA_NAMES]
    found = [path for path in below if path.name.casefold() in names]
    if not found:
        raise DermaError(
            f"{source / METADATA_NAMES[0]}: not found; name the folder that holds the HAM10000 "
            "archive, or fetch it with 'derma data download ham10000' (the folders below were "
            "searched, too)"
        )
    return min(found, key=lambda path: (len(path.parts), names.index(path.name.casefold())))


def _by_name(
    source: Path, pictures: Sequence[PictureFile], listed: set[str]
) -> dict[str, PictureFile]:
    """Return a picture a name, those in the published places before all others."""

    def is_published(picture: PictureFile) -> bool:
        below = picture.path.removeprefix(shown(str(source))).lstrip("/")
        return "/" not in below or fnmatchcase(below.casefold(), IMAGES_PATTERN)

    files = {same_name(one.path): one for one in reversed(pictures) if is_published(one)}
    # Not simply all: lesion masks may be unpacked beside the pictures.
    for picture in pictures:
        if (name := same_name(picture.path)) in listed:
            files.setdefault(name, picture)
    return files
