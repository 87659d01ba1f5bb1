from pathlib import Path

import pytest

from data.pictures import sources
from doctor_derma.data.confirmation import import_confirmations, read_confirmations
from doctor_derma.data.importers.importing import import_images
from doctor_derma.data.manifest import DatasetInfo, read_dataset
from doctor_derma.errors import DermaError

HEADER = "lesion_id,image_id,dx,dx_type,age,sex,localization\n"
ROWS = (
    "HAM_1,mel000,mel,histo,60.0,female,back\n"
    "HAM_2,nv001,nv, follow_up ,,male,unknown\n"
    "HAM_3,nv002,nv,,,male,unknown\n"
    "HAM_4,stranger,nv,histo,,male,unknown\n"
)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    info = DatasetInfo("small", "made here", "none", seed=0)
    import_images(sources({"mel": 6, "nv": 6}), info, folder, val=0.2, test=0.2)
    return folder


def test_known_confirmations_of_known_images_are_kept(data: Path, tmp_path: Path) -> None:
    assert read_confirmations(data) == {}
    fingerprint = read_dataset(data).fingerprint
    (tmp_path / "HAM10000_metadata.csv").write_text(HEADER + ROWS)

    # The archive's folder, and the table itself.
    for source in (tmp_path, tmp_path / "HAM10000_metadata.csv"):
        assert import_confirmations(source, data) == 2
        assert read_confirmations(data) == {"mel000": "histo", "nv001": "follow_up"}
    assert read_dataset(data).fingerprint == fingerprint


def test_what_is_missing_is_named(data: Path, tmp_path: Path) -> None:
    with pytest.raises(DermaError, match=r"nowhere\.csv: no such file"):
        import_confirmations(tmp_path / "nowhere.csv", data)
    table = tmp_path / "table.csv"
    table.write_text(HEADER.replace("dx_type", "type") + ROWS)
    with pytest.raises(DermaError, match="column 'dx_type' is missing"):
        import_confirmations(table, data)
    table.write_text(HEADER + "HAM_4,stranger,nv,histo,,male,unknown\n")
    with pytest.raises(DermaError, match="no row tells the dx_type of an image"):
        import_confirmations(table, data)
    assert read_confirmations(data) == {}
