import os
from pathlib import Path

import pytest

from data.pictures import class_folders, encoded, picture, write
from doctor_derma.data.importers.folder import read_folder
from doctor_derma.data.importers.importing import import_images
from doctor_derma.data.manifest import DatasetInfo
from doctor_derma.errors import DermaError

INFO = DatasetInfo("folder", "test", "none", 0)


def test_train_and_test_folders_keep_their_division(tmp_path: Path) -> None:
    source = tmp_path / "source"
    class_folders(source, {"train/a": 6, "train/b": 6, "test/a": 2, "test/b": 2})

    images = read_folder(source)
    summary = import_images(images, INFO, tmp_path / "data")

    table = summary.table.set_index("image")
    for image in images:
        if image.split == "test":
            assert table.loc[image.image, "split"] == "test"
        else:
            assert table.loc[image.image, "split"] in ("train", "val")
    counts = summary.table.groupby(["class", "split"]).size()
    assert counts["a", "test"] == counts["b", "test"] == 2
    assert counts["a", "val"] >= 1
    assert counts["b", "val"] >= 1


def test_one_level_has_no_division(tmp_path: Path) -> None:
    class_folders(tmp_path, {"a": 3, "b/deeper": 3})

    images = read_folder(tmp_path)

    assert {image.split for image in images} == {None}
    assert sorted(image.dx or "" for image in images) == ["a"] * 3 + ["b"] * 3


def test_metadata_names_lesions_by_path_file_or_stem(tmp_path: Path) -> None:
    class_folders(tmp_path, {"a": 3, "b": 1, "c": 18})
    others = "".join(f"c_{number},of c,,,\n" for number in range(18))
    (tmp_path / "metadata.csv").write_text(
        "image,lesion,age,sex,source\n"
        "a/a_0.jpg,one,40,female,Graz\n"
        "a_1.jpg,one,40,female,\n"
        "b_0,two,n/a,, Perth\n"
        "gone.jpg,three,,,\n" + others
    )

    images = {image.image: image for image in read_folder(tmp_path)}

    assert images["a_0"].lesion == images["a_1"].lesion == "one"
    assert (images["a_0"].age, images["a_0"].sex) == (40.0, "female")
    assert images["b_0"].lesion == "two"
    assert images["b_0"].age is None
    assert [images[name].source for name in ("a_0", "a_1", "b_0")] == ["Graz", None, "Perth"]
    assert images["a_2"].lesion is None
    assert images["gone.jpg"].read is None


def test_files_outside_class_folders_are_unlabelled(tmp_path: Path) -> None:
    class_folders(tmp_path, {"train/a": 1, "train/b": 1, "test/a": 1, "extra/c": 1})
    write(tmp_path / "top.jpg", encoded(picture(99)))
    write(tmp_path / "train" / "loose.png", encoded(picture(98)))
    write(tmp_path / ".hidden.jpg", encoded(picture(97)))
    write(tmp_path / "README.md", b"# not a picture")

    labels = {image.image: image.dx for image in read_folder(tmp_path)}

    assert labels == {
        "train_a_0": "a",
        "train_b_0": "b",
        "test_a_0": "a",
        "extra_c_0": None,
        "top": None,
        "loose": None,
    }


def test_same_file_names_in_several_folders_stay_apart(tmp_path: Path) -> None:
    seed = 0
    for split in ("train", "val", "test"):
        for dx in ("a", "b"):
            for number in range(2):
                seed += 1
                name = f"{number}.jpg"
                write(tmp_path / "source" / split / dx / name, encoded(picture(seed)))

    images = read_folder(tmp_path / "source")
    summary = import_images(images, INFO, tmp_path / "data")

    assert len({image.image for image in images}) == 12
    assert summary.kept == 12
    for image, path in zip(images, _written_paths(images, summary.table), strict=True):
        assert image.read is not None
        assert (tmp_path / "data" / path).read_bytes() == image.read()


def test_a_name_that_two_paths_come_to_is_given_once(tmp_path: Path) -> None:
    for number, name in enumerate(("mel/1.jpg", "nv/1.jpg", "nv-1.jpg")):
        write(tmp_path / name, encoded(picture(number)))
    names = [image.image for image in read_folder(tmp_path)]
    assert names == ["mel-1", "nv-1.jpg", "nv-1.jpg-2"]


def test_two_names_that_are_shown_as_one_are_two_images(tmp_path: Path) -> None:
    class_folders(tmp_path, {"a": 1, "b": 1})
    for index, name in enumerate(("grü.jpg".encode(), "grü.jpg".encode("cp1252"))):
        (tmp_path / "a" / os.fsdecode(name)).write_bytes(encoded(picture(70 + index)))

    images = [image for image in read_folder(tmp_path) if "grü" in image.image]

    assert len({image.image for image in images}) == 2
    assert len({image.read() for image in images if image.read}) == 2


def test_sexes_are_words_and_numbers_of_lesions_have_the_folder_before_them(
    tmp_path: Path,
) -> None:
    source = tmp_path / "graz"
    class_folders(source, {"a": 2, "b": 2})
    (source / "metadata.csv").write_text(
        "image,lesion,sex\na_0,7,F\na_1,L7,Female\nb_0,,m\nb_1,,\n"
    )
    images = {image.image: image for image in read_folder(source)}
    assert {name: (image.lesion, image.sex) for name, image in images.items()} == {
        "a_0": ("graz 7", "female"),
        "a_1": ("L7", "female"),
        "b_0": (None, "male"),
        "b_1": (None, None),
    }


def _written_paths(images, table) -> list[str]:
    return table.set_index("image").loc[[image.image for image in images], "path"].tolist()


def test_bad_layouts_are_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(DermaError, match="no such folder"):
        read_folder(tmp_path / "nowhere")
    with pytest.raises(DermaError, match="no class folders with images"):
        read_folder(tmp_path)
    write(tmp_path / "top.jpg", encoded(picture(1)))
    with pytest.raises(DermaError, match="no class folders with images"):
        read_folder(tmp_path)
    class_folders(tmp_path, {"test/a": 1})
    with pytest.raises(DermaError, match="has test/ but no train/"):
        read_folder(tmp_path)
    class_folders(tmp_path, {"train/a": 1})
    (tmp_path / "metadata.csv").write_text("file,lesion\nx,y\n")
    with pytest.raises(DermaError, match=r"metadata\.csv: column 'image' is missing"):
        read_folder(tmp_path)


@pytest.mark.parametrize("name", ["metadata.csv", "Metadata.CSV", "metadata.tsv"])
@pytest.mark.parametrize(
    "writing",
    [
        "{folder}\\{name}.jpg",
        "{name}.JPG",
        "./{folder}/{name}.jpg",
        "all/images/{folder}/{name}.jpg",
        "wrong folder/{name}.jpg",
    ],
)
def test_lesions_stay_together_however_rows_name_their_pictures(
    writing: str, name: str, tmp_path: Path
) -> None:
    source = tmp_path / "source"
    class_folders(source, {"mel": 8, "nv": 8})
    rows = [
        f"{writing.format(folder=dx, name=f'{dx}_{number}')};L{dx}{number // 2}"
        for dx in ("mel", "nv")
        for number in range(8)
    ]
    (source / name).write_text("\n".join(["image;lesion", *rows]))
    summary = import_images(read_folder(source), INFO, tmp_path / "data", val=0.25, test=0.25)
    assert (summary.seen, summary.kept, summary.missing) == (16, 16, 0)
    assert summary.table["lesion"].nunique() == 8
    assert summary.table.groupby("lesion")["split"].nunique().max() == 1


def test_a_table_about_other_pictures_stops_the_import(tmp_path: Path) -> None:
    class_folders(tmp_path, {"a": 10, "b": 10})
    rows = [f"{dx}_{number},L{number}" for dx in "ab" for number in range(10)]
    table = tmp_path / "metadata.csv"
    table.write_text("\n".join(["image,lesion", *rows, "gone,L"]))
    images = read_folder(tmp_path)
    assert [image.image for image in images if image.read is None] == ["gone"]
    summary = import_images(images, INFO, tmp_path.parent / "data-without-one")
    assert (summary.seen, summary.kept, summary.left_out, summary.missing) == (20, 20, 0, 1)

    table.write_text("\n".join(["image,lesion", *rows[:12], "first,L", "second,L"]))
    message = (
        r"metadata\.csv: 12 of 14 rows name a picture below .*; the first that names none is "
        r"'first', the first picture is 'a/a_0\.jpg'"
    )
    with pytest.raises(DermaError, match=message):
        read_folder(tmp_path)


def test_rows_that_contradict_each_other_are_named(tmp_path: Path) -> None:
    class_folders(tmp_path, {"a": 2, "b": 2})
    table = tmp_path / "metadata.csv"
    table.write_text("image,lesion\na_0.jpg,one\na/a_0.JPG,one\n")
    assert {image.lesion for image in read_folder(tmp_path)} == {"one", None}
    table.write_text("image,lesion\na_0.jpg,one\na/a_0.JPG,two\n")
    with pytest.raises(
        DermaError, match=r"'a_0\.jpg' and 'a/a_0\.JPG' are one picture, a/a_0\.jpg"
    ):
        read_folder(tmp_path)


def test_a_table_in_another_format_is_not_passed_over(tmp_path: Path) -> None:
    class_folders(tmp_path, {"a": 2, "b": 2})
    (tmp_path / "metadata.xlsx").write_bytes(b"PK")
    with pytest.raises(DermaError, match=r"metadata\.xlsx: not a readable table; save it as"):
        read_folder(tmp_path)
    (tmp_path / "metadata.xlsx").unlink()
    for name in ("metadata.csv", "metadata.tsv"):
        (tmp_path / name).write_text("image,lesion\n")
    with pytest.raises(DermaError, match=r"metadata\.csv: metadata\.tsv is there too"):
        read_folder(tmp_path)
