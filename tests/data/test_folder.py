from pathlib import Path

import pytest

from data.pictures import class_folders, encoded, picture, write
from doctor_derma.data.folder import read_folder
from doctor_derma.data.importing import import_images
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
    class_folders(tmp_path, {"a": 3, "b": 1})
    (tmp_path / "metadata.csv").write_text(
        "image,lesion,age,sex,source\n"
        "a/a_0.jpg,one,40,female,Graz\n"
        "a_1.jpg,one,40,female,\n"
        "b_0,two,n/a,, Perth\n"
        "gone.jpg,three,,,\n"
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
