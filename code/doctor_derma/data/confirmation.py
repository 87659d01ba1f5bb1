"""How each diagnosis was confirmed, kept as ``confirmation.csv`` beside the manifest.

It is no column of the manifest, whose bytes are the data set's fingerprint.
"""

from pathlib import Path

from doctor_derma.atomic import replacing_file
from doctor_derma.data.importers.ham10000 import METADATA_NAMES
from doctor_derma.data.importers.tables import read_table, require_columns, same_name
from doctor_derma.data.manifest import read_dataset
from doctor_derma.errors import DermaError

CONFIRMATION_FILE = "confirmation.csv"
COLUMNS = ("image_id", "dx_type")


def import_confirmations(source: Path, folder: Path) -> int:
    """Keep how the diagnoses of the manifest's images were confirmed, such as by histology.

    Parameters
    ----------
    source : a table with ``image_id`` and ``dx_type``, or a folder with
        ``HAM10000_metadata.csv``
    folder : the ``data/`` folder, which holds the manifest

    Returns
    -------
    Number of images of which it is known

    Raises
    ------
    DermaError
        When there is no data set, no such table, a column is missing, or no row with a
        ``dx_type`` is of an image in the manifest.
    """
    images = {same_name(name): name for name in read_dataset(folder).table["image"]}
    path = _metadata_file(source)
    table = read_table(path)
    require_columns(path, table, COLUMNS)
    rows = table.loc[:, list(COLUMNS)].apply(lambda column: column.str.strip())
    rows["image_id"] = rows["image_id"].map(same_name).map(images)
    known = rows[rows["image_id"].notna() & (rows["dx_type"] != "")].drop_duplicates("image_id")
    if known.empty:
        raise DermaError(
            f"{path}: no row tells the dx_type of an image in {folder}; name the metadata of "
            "the imported images"
        )
    with replacing_file(folder / CONFIRMATION_FILE) as scratch:
        known.to_csv(scratch, index=False)
    return len(known)


def read_confirmations(folder: Path) -> dict[str, str]:
    """Return how the diagnosis of each image was confirmed; empty where nothing was imported."""
    path = folder / CONFIRMATION_FILE
    if not path.is_file():
        return {}
    table = read_table(path)
    require_columns(path, table, COLUMNS)
    return dict(zip(table["image_id"], table["dx_type"], strict=True))


def _metadata_file(source: Path) -> Path:
    places = [source / name for name in METADATA_NAMES] if source.is_dir() else [source]
    found = next((path for path in places if path.is_file()), None)
    if found is None:
        raise DermaError(
            f"{places[0]}: no such file; name a table with the columns {' and '.join(COLUMNS)}"
        )
    return found
