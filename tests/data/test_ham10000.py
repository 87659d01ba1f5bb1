import hashlib
import io
import shutil
import zipfile
from pathlib import Path

import pandas as pd
import pytest

from data.pictures import encoded, picture, write
from doctor_derma.data.importers.ham10000 import read_ham10000
from doctor_derma.data.importers.importing import import_images
from doctor_derma.data.manifest import DatasetInfo, read_dataset
from doctor_derma.errors import DermaError

HEADER = "lesion_id,image_id,dx,dx_type,age,sex,localization\n"
ROWS = (
    "HAM_1,ISIC_1,mel,histo,60.0,female,back\n"
    "HAM_1,ISIC_2,mel,histo,60.0,female,back\n"
    "HAM_2,ISIC_3,nv,follow_up,,male,unknown\n"
)


def zipped(names: list[str]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name in names:
            archive.writestr(name, encoded(picture(int(Path(name).stem[-1]))))
    return stream.getvalue()


def test_reads_zipped_and_unpacked_pictures_with_their_rows(tmp_path: Path) -> None:
    (tmp_path / "HAM10000_metadata.csv").write_text(HEADER + ROWS)
    write(tmp_path / "HAM10000_images_part_1.zip", zipped(["ISIC_1.jpg", "sub/ISIC_2.jpg"]))
    write(tmp_path / "HAM10000_images_part_2" / "ISIC_3.jpg", encoded(picture(3)))
    write(tmp_path / "HAM10000_segmentations_lesion_tschandl" / "ISIC_3_segmentation.png", b"mask")

    images = read_ham10000(tmp_path)

    assert [(image.image, image.lesion, image.dx) for image in images] == [
        ("ISIC_1", "HAM_1", "mel"),
        ("ISIC_2", "HAM_1", "mel"),
        ("ISIC_3", "HAM_2", "nv"),
    ]
    assert (images[0].age, images[0].sex, images[0].site) == (60.0, "female", "back")
    assert images[2].age is None
    assert [image.read() for image in images if image.read] == [
        encoded(picture(number)) for number in (1, 2, 3)
    ]


def test_rows_without_picture_and_pictures_without_row_are_listed(tmp_path: Path) -> None:
    (tmp_path / "HAM10000_metadata.csv").write_text(HEADER + ROWS + "HAM_3,ISIC_4,,histo,5,,\n")
    write(tmp_path / "HAM10000_images_part_1.zip", zipped(["ISIC_1.jpg", "ISIC_4.jpg"]))
    write(tmp_path / "ISIC_9.jpg", encoded(picture(9)))

    images = {image.image: image for image in read_ham10000(tmp_path)}

    assert images["ISIC_2"].read is None
    assert images["ISIC_4"].dx is None
    assert images["ISIC_9"].dx is None
    assert images["ISIC_9"].read is not None
    assert len(images) == 5


def test_metadata_as_dataverse_names_it(tmp_path: Path) -> None:
    table = (HEADER + ROWS).replace(",", "\t")
    (tmp_path / "HAM10000_metadata.tab").write_text(table)
    write(tmp_path / "HAM10000_images_part_1.zip", zipped(["ISIC_1.jpg"]))

    assert len(read_ham10000(tmp_path)) == 3


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(DermaError, match=r"HAM10000_metadata\.csv: not found"):
        read_ham10000(tmp_path)
    metadata = tmp_path / "HAM10000_metadata.csv"
    metadata.write_text((HEADER + ROWS).replace("lesion_id", "lesion"))
    with pytest.raises(DermaError, match="column 'lesion_id' is missing"):
        read_ham10000(tmp_path)
    metadata.write_text("")
    with pytest.raises(DermaError, match="not a readable table"):
        read_ham10000(tmp_path)
    metadata.write_text(HEADER + ROWS)
    with pytest.raises(DermaError, match="no pictures found"):
        read_ham10000(tmp_path)
    (tmp_path / "HAM10000_images_part_1.zip").write_bytes(b"PK not a zip")
    with pytest.raises(DermaError, match=r"part_1\.zip: can't be opened"):
        read_ham10000(tmp_path)


def test_damage_inside_an_archive_is_one_reported_image(tmp_path: Path) -> None:
    (tmp_path / "HAM10000_metadata.csv").write_text(HEADER + rows_of_two_classes())
    content = bytearray(zipped([f"ISIC_{number}.jpg" for number in range(8)]))
    content[content.find(encoded(picture(7))) + 300] ^= 0xFF
    write(tmp_path / "HAM10000_images_part_1.zip", bytes(content))

    summary = import_images(
        read_ham10000(tmp_path), DatasetInfo("ham10000", "test", "none", 0), tmp_path / "out"
    )

    assert summary.kept == 7
    assert summary.reasons == {"corrupt": 1}
    assert summary.reported[0].image == "ISIC_7"


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """Return a folder of 60 pictures of 40 lesions of two classes, in a zip with metadata."""
    rows = (
        f"L{n % 40},ISIC_{n},{'mel' if n % 40 < 12 else 'nv'},histo,50,male,back\n"
        for n in range(60)
    )
    (tmp_path / "HAM10000_metadata.csv").write_text(HEADER + "".join(rows))
    with zipfile.ZipFile(tmp_path / "HAM10000_images_part_1.zip", "w") as pictures:
        for n in range(60):
            pictures.writestr(f"ISIC_{n}.jpg", encoded(picture(n)))
    return tmp_path


def manifest(archive: Path) -> pd.DataFrame:
    info = DatasetInfo("ham10000", "test", "none", 0)
    import_images(read_ham10000(archive), info, archive / "data")
    return read_dataset(archive / "data").table


def test_the_split_is_for_good(archive: Path) -> None:
    """Shipped models are judged on the test split: it must not change under them."""
    splits = manifest(archive).set_index("image")["split"]
    assert {
        split: " ".join(name.removeprefix("ISIC_") for name in splits.index[splits == split])
        for split in ("val", "test")
    } == {"val": "10 11 14 19 25 30 50 51 54 59", "test": "4 5 15 24 26 29 33 44 45 55"}


def test_the_collection_of_an_image(archive: Path) -> None:
    without = manifest(archive)
    assert set(without["source"]) == {""}

    rows = "".join(f"ISIC_{n},{'rosendahl' if n % 2 else 'vidir_modern'}\n" for n in range(50))
    (archive / "HAM10000_sources.csv").write_text("image_id,dataset\n" + rows)
    beside = manifest(archive)
    counts = beside["source"].value_counts().to_dict()
    assert counts == {"rosendahl": 25, "vidir_modern": 25, "": 10}
    pd.testing.assert_frame_equal(beside.drop(columns="source"), without.drop(columns="source"))

    # The newer metadata says it in a column, which goes before.
    metadata = archive / "HAM10000_metadata.csv"
    head, *lines = metadata.read_text().splitlines()
    metadata.write_text(
        "\n".join([f"{head},dataset", *(f"{line},vidir_molemax" for line in lines)])
    )
    newer = manifest(archive)
    assert set(newer["source"]) == {"vidir_molemax"}
    pd.testing.assert_frame_equal(newer.drop(columns="source"), without.drop(columns="source"))


def test_a_table_of_collections_without_its_columns_is_named(archive: Path) -> None:
    (archive / "HAM10000_sources.csv").write_text("image,collection\nISIC_1,rosendahl\n")
    with pytest.raises(DermaError, match=r"HAM10000_sources\.csv: column 'image_id' is missing"):
        read_ham10000(archive)


def move(archive: Path, layout: str) -> None:
    """Lay the pictures of the archive out as others publish them."""
    pictures = archive / "HAM10000_images_part_1.zip"
    if layout == "another zip":
        pictures.rename(archive / "dataset.zip")
        return
    places = {
        "images": ["images"],
        "lower case": ["ham10000_images_part_1"],
        "doubled": ["HAM10000_images_part_1", "ham10000_images_part_1"],
        "nested": ["HAM10000_images_part_1/HAM10000_images_part_1"],
        "deep": ["a/b/jpg"],
        "loose": ["."],
    }[layout]
    for place in places:
        with zipfile.ZipFile(pictures) as opened:
            opened.extractall(archive / place)
    pictures.unlink()
    if layout == "deep":
        (archive / "HAM10000_metadata.csv").rename(archive / "a" / "ham10000_metadata.csv")


@pytest.mark.parametrize(
    "layout", ["images", "lower case", "doubled", "nested", "deep", "loose", "another zip"]
)
def test_other_layouts_give_the_same_data(layout: str, archive: Path) -> None:
    published = manifest(archive)
    masks = archive / "masks" / "ISIC_1_segmentation.png"
    write(masks, encoded(picture(77)))
    write(archive / "hmnist" / "sheet.jpg", encoded(picture(78)))
    for path in archive.glob("data/*"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    (archive / "data").rmdir()
    move(archive, layout)
    info = DatasetInfo("ham10000", "test", "none", 0)
    summary = import_images(read_ham10000(archive), info, archive.parent / "data-of-others")
    assert summary.reasons == {}
    pd.testing.assert_frame_equal(read_dataset(archive.parent / "data-of-others").table, published)


@pytest.mark.parametrize("writing", ["{}.jpg", "{}.JPG", "part_1/{}.jpg", "{lower}"])
def test_ids_in_another_writing_match(writing: str, archive: Path) -> None:
    published = manifest(archive)
    metadata = archive / "HAM10000_metadata.csv"
    head, *lines = metadata.read_text().splitlines()
    for number, line in enumerate(lines):
        lesion, name, *others = line.split(",")
        lines[number] = ",".join([lesion, writing.format(name, lower=name.lower()), *others])
    metadata.write_text("\n".join([head, *lines]))
    pd.testing.assert_frame_equal(manifest(archive), published)


def test_ids_of_other_pictures_are_named(archive: Path) -> None:
    metadata = archive / "HAM10000_metadata.csv"
    metadata.write_text(metadata.read_text().replace("ISIC_", "OTHER_"))
    with pytest.raises(DermaError, match=r"none of 60 rows names one of 60 pictures; .*'OTHER_0'"):
        read_ham10000(archive)


def rows_of_two_classes() -> str:
    rows = (f"L{n},ISIC_{n},{'mel' if n % 2 else 'nv'},histo,50,male,back\n" for n in range(8))
    return "".join(rows)


PUBLISHED = Path(__file__).parents[3] / "shared" / "ham10000"

if PUBLISHED.is_dir():

    def test_the_published_data_set(tmp_path: Path) -> None:
        info = DatasetInfo("ham10000", "doi:10.7910/DVN/DBW86T", "CC BY-NC 4.0", 0)
        summary = import_images(read_ham10000(PUBLISHED), info, tmp_path)

        assert (summary.seen, summary.kept) == (10015, 10013)
        # The archive holds two pictures twice; no other two lesions look the same.
        assert summary.reasons == {"duplicate-bytes": 2}
        table = read_dataset(tmp_path).table
        # The very images that the shipped models were judged on.
        test = ",".join(sorted(table.loc[table["split"] == "test", "image"]))
        assert hashlib.sha256(test.encode()).hexdigest().startswith("baad9b04af9475de")
        assert table.groupby("lesion")["split"].nunique().max() == 1
        assert table["lesion"].nunique() == 7470
        for _, rows in table.groupby("class"):
            shares = rows["split"].value_counts(normalize=True)
            assert shares["test"] == pytest.approx(0.15, abs=0.01)
            assert shares["val"] == pytest.approx(0.15, abs=0.01)
