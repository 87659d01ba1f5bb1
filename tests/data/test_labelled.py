"""Any table that labels pictures, by its columns, and what a person can say of them."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from data.pictures import encoded, picture, write
from doctor_derma.commands.app import app
from doctor_derma.data.importers.sources import find_source, table_source
from doctor_derma.data.manifest import read_dataset
from doctor_derma.errors import DermaError

ROWS = pd.DataFrame(
    [
        (f"pic_{n}", ["Melanoma", "naevus", "Wart"][n % 3], n // 6, 40.0 + n if n else None)
        for n in range(24)
    ],
    columns=["file", "finding", "mole", "years"],
)
FLAGS = {"image": "file", "label": "finding", "lesion": "mole", "age": "years"}
LABELS = {"melanoma": "mel", "NAEVUS": "nv", "wart": "drop"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder of 24 pictures, nested, of which a table tells elsewhere."""
    for number in range(24):
        write(tmp_path / "in" / f"part{number % 2}" / f"PIC_{number}.JPG", encoded(picture(number)))
    return tmp_path / "in"


WRITERS: dict[str, Callable[[Path], object]] = {
    "x.csv": lambda path: ROWS.to_csv(path, index=False),
    "x.tsv": lambda path: ROWS.to_csv(path, index=False, sep="\t", encoding="utf-8-sig"),
    "y.csv": lambda path: ROWS.to_csv(path, index=False, sep=";", decimal=",", encoding="utf-16"),
    "x.xlsx": lambda path: ROWS.to_excel(path, index=False),
    "x.parquet": lambda path: ROWS.to_parquet(path),
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_table_in_any_format_gives_the_same(name: str, folder: Path, tmp_path: Path) -> None:
    path = tmp_path / name
    WRITERS[name](path)
    source = table_source(path, [folder], settings=FLAGS | {"labels": LABELS, "name": "moles"})
    assert (source.name, len(source.images)) == ("moles", 24)
    for number, image in enumerate(source.images):
        assert image.image == f"PIC_{number}"
        assert image.dx == ("mel", "nv", None)[number % 3]
        assert (image.left_out is not None) == (number % 3 == 2)
        assert image.lesion == f"moles {number // 6}"
        assert image.age == (40.0 + number if number else None)


@pytest.mark.parametrize("writing", ["{}", "{}.jpg", "{}.PNG", "part1\\{}.JPG", "{upper}"])
def test_ids_in_any_writing_name_their_picture(writing: str, folder: Path, tmp_path: Path) -> None:
    names = [writing.format(name, upper=name.upper()) for name in ROWS["file"]]
    ROWS.assign(file=names).to_csv(tmp_path / "x.csv", index=False)
    images = table_source(tmp_path / "x.csv", [folder], settings=FLAGS).images
    assert [image.image for image in images] == [f"PIC_{number}" for number in range(24)]
    assert all(image.read for image in images)


def test_usual_names_of_columns_need_no_flags(folder: Path) -> None:
    rows = ROWS.rename(columns={"file": "Image_ID", "finding": "Diagnosis", "mole": "patient"})
    rows.to_csv(folder / "notes.csv", index=False)
    source = find_source(folder)
    assert source.description.startswith(f"{folder}, a table of labels (notes.csv): 24 pictures")
    assert {image.dx for image in source.images} == {"Melanoma", "naevus", "Wart"}
    assert source.images[7].lesion == "patient 1"


def test_columns_and_labels_in_a_file_and_flags_before_them(folder: Path, tmp_path: Path) -> None:
    ROWS.to_csv(tmp_path / "x.csv", index=False)
    (tmp_path / "x.yaml").write_text(
        "image: file\nlabel: finding\nlesion: mole\nname: moles\nlicence: ours\n"
        "labels: {melanoma: mel, '*': drop}\n"
    )
    read = table_source(
        tmp_path / "x.csv", [folder], columns=tmp_path / "x.yaml", settings={"name": "other"}
    )
    assert (read.name, read.licence) == ("other", "ours")
    assert [image.dx for image in read.images[:3]] == ["mel", None, None]


def test_columns_of_marks_are_one_label(folder: Path, tmp_path: Path) -> None:
    marks = pd.get_dummies(ROWS["finding"]).astype(int).assign(file=ROWS["file"])
    marks.loc[5, ["Wart"]] = 0
    marks.to_csv(tmp_path / "x.csv", index=False)
    settings = {"image": "file", "classes": ["Melanoma", "naevus", "Wart"]}
    images = table_source(tmp_path / "x.csv", [folder], settings=settings).images
    assert [image.dx for image in images[:6]] == [
        *("Melanoma", "naevus", "Wart", "Melanoma", "naevus", None)
    ]


def test_one_picture_in_two_places_is_one_and_two_of_a_name_are_a_question(
    folder: Path, tmp_path: Path
) -> None:
    ROWS.to_csv(tmp_path / "x.csv", index=False)
    write(tmp_path / "copy" / "pic_3.jpg", encoded(picture(3)))
    both = [folder, tmp_path / "copy"]
    images = table_source(tmp_path / "x.csv", both, settings=FLAGS).images
    assert (images[3].image, len(images)) == ("PIC_3", 24)
    write(tmp_path / "copy" / "pic_3.jpg", encoded(picture(77)))
    with pytest.raises(DermaError, match=r"x\.csv: 'pic_3' can be .*PIC_3\.JPG or .*pic_3\.jpg"):
        table_source(tmp_path / "x.csv", both, settings=FLAGS)


def test_two_pictures_of_one_name_and_size_stay_two(tmp_path: Path) -> None:
    contents = [encoded(picture(number)) for number in (1, 2)]
    most = max(map(len, contents))
    first, second = (content.ljust(most, b"\0") for content in contents)
    write(tmp_path / "in" / "p1" / "1.jpg", first)
    write(tmp_path / "in" / "p2" / "1.jpg", second)
    table = tmp_path / "x.csv"
    table.write_text("image,label\np1/1.jpg,mel\np2/1.jpg,nv\n")
    images = table_source(table, [tmp_path / "in"]).images
    assert [(image.dx, image.read and image.read()) for image in images] == [
        *(("mel", first), ("nv", second))
    ]
    table.write_text("image,label\n1.jpg,mel\n")
    with pytest.raises(DermaError, match=r"x\.csv: '1\.jpg' can be .*p1/1\.jpg or .*p2/1\.jpg"):
        table_source(table, [tmp_path / "in"])


def test_every_picture_has_a_name_of_its_own(tmp_path: Path) -> None:
    files = ["p1/left/1.jpg", "p2/left/1.jpg", "d/a.jpg", "d/a.png", "d/b.jpg"]
    for number, file in enumerate(files):
        write(tmp_path / "in" / file, encoded(picture(number)))
    rows = [f"{file},mel" for file in files]
    (tmp_path / "x.csv").write_text("\n".join(["image,label", *rows]))
    images = table_source(tmp_path / "x.csv", [tmp_path / "in"]).images
    assert [image.image for image in images] == [
        *("p1-left-1", "p2-left-1", "d-a.jpg", "d-a.png", "b")
    ]


def test_numbers_of_lesions_have_the_name_of_the_set_before_them(
    folder: Path, tmp_path: Path
) -> None:
    """The lesion 3 of one table is not that of another."""
    rows = ROWS.rename(columns={"file": "image", "finding": "label", "mole": "lesion"})
    for name in ("graz", "perth"):
        rows.to_csv(tmp_path / f"{name}.csv", index=False)
        images = table_source(tmp_path / f"{name}.csv", [folder]).images
        assert images[23].lesion == f"{name} 3"
    rows.to_csv(folder / "notes.csv", index=False)
    assert find_source(folder).images[23].lesion == "in 3"


def test_a_word_that_is_no_split_beside_some_that_are_is_named(
    folder: Path, tmp_path: Path
) -> None:
    def splits(*written: str | None) -> list[str | None]:
        ROWS.assign(split=[written[0]] * 22 + [*written]).to_csv(tmp_path / "x.csv", index=False)
        images = table_source(tmp_path / "x.csv", [folder], settings=FLAGS).images
        return [image.split for image in images[-2:]]

    assert splits("Training", "test") == ["train", "test"]
    assert splits("train", None) == ["train", None]
    assert splits("left", "right") == [None, None]
    message = r"x\.csv: 'holdout' is no split by its name, as 'train' of other rows are; write"
    with pytest.raises(DermaError, match=message):
        splits("train", "holdout")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, r"x\.csv: has no column dx or diagnosis or .*found file, finding, mole, years"),
        ({"label": "dx2"}, r"x\.csv: has no column dx2 \(found"),
        (FLAGS | {"lesion": "spot"}, r"x\.csv: column 'spot' is missing \(found age|file"),
        (FLAGS | {"image": "mole"}, r"x\.csv: none of 24 rows names one of 24 pictures"),
        (FLAGS | {"colour": "mole"}, "'colour' is no setting; they are name, title, image"),
        (FLAGS | {"classes": "mole"}, "'classes' is 'mole', and should be a list of columns"),
    ],
)
def test_a_mistake_is_one_sentence(
    settings: dict[str, object], message: str, folder: Path, tmp_path: Path
) -> None:
    ROWS.to_csv(tmp_path / "x.csv", index=False)
    with pytest.raises(DermaError, match=message) as caught:
        table_source(tmp_path / "x.csv", [folder], settings=settings)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"label: [", r"x\.yaml: can't be read"),
        (b"just words", r"x\.yaml: holds no settings; write lines such as"),
        (b"labels: finding", r"x\.yaml: 'labels' is 'finding', and should be a map"),
        (None, r"x\.yaml: can't be read"),
    ],
)
def test_a_file_of_settings_that_is_none_is_one_sentence(
    content: bytes | None, message: str, folder: Path, tmp_path: Path
) -> None:
    ROWS.to_csv(tmp_path / "x.csv", index=False)
    if content is not None:
        (tmp_path / "x.yaml").write_bytes(content)
    with pytest.raises(DermaError, match=message) as caught:
        table_source(tmp_path / "x.csv", [folder], columns=tmp_path / "x.yaml")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["x.xlsx", "x.parquet", "x.csv", "gone.csv"])
def test_a_file_that_is_no_table_is_one_sentence(name: str, folder: Path, tmp_path: Path) -> None:
    message = "gone.csv: no such file; name a table"
    if name != "gone.csv":
        (tmp_path / name).write_bytes(b"PK\x03\x04 \0 nothing")
        message = f"{name}: not a readable table (.*); save it as CSV"
    with pytest.raises(DermaError, match=message) as caught:
        table_source(tmp_path / name, [folder])
    assert "\n" not in str(caught.value)


def test_rows_that_contradict_each_other_are_named(folder: Path, tmp_path: Path) -> None:
    again = pd.concat([ROWS, ROWS.iloc[:1]])
    again.to_csv(tmp_path / "x.csv", index=False)
    assert len(table_source(tmp_path / "x.csv", [folder], settings=FLAGS).images) == 24
    again.iloc[-1, 1] = "Wart"
    again.to_csv(tmp_path / "x.csv", index=False)
    with pytest.raises(DermaError, match=r"two rows are of .*PIC_0\.JPG, 'Melanoma' .* and 'Wart'"):
        table_source(tmp_path / "x.csv", [folder], settings=FLAGS)


def run(*arguments: object, answer: str = "") -> tuple[object, str]:
    done = CliRunner().invoke(app, ["data", "import", *map(str, arguments)], input=answer)
    return done.exception, " ".join(done.output.split())


def test_the_command_imports_a_table_and_adds_it_to_what_is_there(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DERMA_ROOT", str(tmp_path / "root"))
    # Each picture is a lesion of its own; the last nine come later.
    for name, part in (("a.csv", ROWS.iloc[:15]), ("b.csv", ROWS)):
        part.to_csv(tmp_path / name, index=False)
    columns = ["--image", "file", "--label", "finding", "--map", "wart=drop", "--images", folder]
    error, said = run("table", tmp_path / "a.csv", *columns, "--name", "first")
    assert error is None
    assert "15 images seen: 10 kept, 5 left out" in said
    before = read_dataset(tmp_path / "root" / "data").table.set_index("image")
    error, said = run("table", tmp_path / "b.csv", *columns, "--name", "second", "--add")
    assert error is None
    dataset = read_dataset(tmp_path / "root" / "data")
    after = dataset.table.set_index("image")
    assert dataset.info.name == "first, second"
    assert len(after) == 16
    assert after.loc[before.index, "split"].equals(before["split"])
    assert after["source"].value_counts().to_dict() == {"first": 10, "second": 6}


def test_a_map_that_is_none_is_named(folder: Path, tmp_path: Path) -> None:
    error, _ = run("table", tmp_path / "x.csv", "--map", "wart")
    assert str(error) == "--map wart: write LABEL=CLASS or LABEL=drop, as in melanoma=mel"


def test_the_command_says_what_it_sees_and_asks(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DERMA_ROOT", str(tmp_path / "root"))
    ROWS.rename(columns={"file": "image", "finding": "label"}).to_csv(folder / "x.csv", index=False)
    error, said = run("auto", folder, answer="n\n")
    assert error is None
    assert "a table of labels (x.csv): 24 pictures with a class; Melanoma 8" in said
    error, _ = run("auto", folder)
    assert "nothing was imported; say --yes" in str(error)
    assert not (tmp_path / "root" / "data").exists()
    error, said = run("auto", folder, answer="y\n")
    assert error is None
    assert read_dataset(tmp_path / "root" / "data").classes == ("Melanoma", "Wart", "naevus")
