"""Published data sets are read as they lie, each on a small copy that is made here."""

import shutil
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from data.pictures import class_folders, encoded, picture, write
from doctor_derma.data.importers.importing import import_images
from doctor_derma.data.importers.presets import presets
from doctor_derma.data.importers.records import SourceImage
from doctor_derma.data.importers.sources import Source, find_source, table_source
from doctor_derma.data.manifest import DatasetInfo, read_dataset
from doctor_derma.errors import DermaError


def draw(root: Path, *names: str) -> None:
    for name in names:
        write(root / name, encoded(picture(zlib.crc32(name.encode()))))


def table(path: Path, *lines: str) -> Path:
    write(path, "\n".join(lines).encode())
    return path


def ham10000(root: Path) -> None:
    """The newer form, with the column dataset."""
    table(
        root / "HAM10000_metadata.csv",
        "lesion_id,image_id,dx,dx_type,age,sex,localization,dataset",
        "HAM_1,ISIC_1,bkl,histo,80.0,male,scalp,vidir_modern",
        "HAM_2,ISIC_2,nv,follow_up,,female,back,rosendahl",
    )
    draw(root, "HAM10000_images_part_1/ISIC_1.jpg", "HAM10000_images_part_2/ISIC_2.jpg")


def ham10000_kaggle(root: Path) -> None:
    """Each folder is there twice, and tables of pixels lie beside it."""
    ham10000(root)
    for part in ("1", "2"):
        shutil.copytree(
            root / f"HAM10000_images_part_{part}", root / f"ham10000_images_part_{part}"
        )
    text = (root / "HAM10000_metadata.csv").read_text()
    lines = [line.rpartition(",")[0] for line in text.splitlines()]
    table(root / "HAM10000_metadata.csv", *lines)
    table(root / "hmnist_8_8_L.csv", "pixel0000,pixel0001,label", "169,171,2", "25,51,4")


def isic2018(root: Path) -> None:
    head = "image,MEL,NV,BCC,AKIEC,BKL,DF,VASC"
    for split, name, marks in (
        ("Training", "ISIC_1", "0.0,1.0,0.0,0.0,0.0,0.0,0.0"),
        ("Validation", "ISIC_2", "0.0,0.0,0.0,1.0,0.0,0.0,0.0"),
        ("Test", "ISIC_3", "1.0,0.0,0.0,0.0,0.0,0.0,0.0"),
    ):
        folder = f"ISIC2018_Task3_{split}_GroundTruth"
        table(root / folder / f"{folder}.csv", head, f"{name},{marks}")
        draw(root, f"ISIC2018_Task3_{split}_Input/{name}.jpg")
    table(
        root / "ISIC2018_Task3_Training_LesionGroupings.csv",
        "image,lesion_id,diagnosis_confirm_type",
        "ISIC_1,HAM_7,histopathology",
    )


def isic2019(root: Path) -> None:
    table(
        root / "ISIC_2019_Training_GroundTruth.csv",
        "image,MEL,NV,BCC,AK,BKL,DF,VASC,SCC,UNK",
        "ISIC_1,0.0,0.0,0.0,1.0,0.0,0.0,0.0,0.0,0.0",
        "ISIC_2_downsampled,0.0,0.0,0.0,0.0,0.0,0.0,0.0,1.0,0.0",
        "ISIC_3,0.0,0.0,0.0,0.0,0.0,0.0,0.0,0.0,1.0",
    )
    table(
        root / "ISIC_2019_Training_Metadata.csv",
        "image,age_approx,anatom_site_general,lesion_id,sex",
        "ISIC_1,55.0,anterior torso,BCN_0000001,female",
        "ISIC_2_downsampled,30.0,upper extremity,,male",
        "ISIC_3,,,,",
    )
    draw(
        root,
        *(f"ISIC_2019_Training_Input/{n}.jpg" for n in ("ISIC_1", "ISIC_2_downsampled", "ISIC_3")),
    )


def isic2020(root: Path) -> None:
    table(
        root / "train.csv",
        "image_name,patient_id,sex,age_approx,anatom_site_general_challenge,diagnosis,"
        "benign_malignant,target",
        "ISIC_1,IP_7,male,45.0,head/neck,unknown,benign,0",
        "ISIC_2,IP_7,male,45.0,torso,melanoma,malignant,1",
    )
    draw(root, "jpeg/train/ISIC_1.jpg", "jpeg/train/ISIC_2.jpg")


def milk10k(root: Path) -> None:
    table(
        root / "MILK10k_Training_GroundTruth.csv",
        "lesion_id,AKIEC,BCC,BEN_OTH,BKL,DF,INF,MAL_OTH,MEL,NV,SCCKA,VASC",
        "IL_1,0.0,0.0,0.0,0.0,0.0,0.0,0.0,0.0,0.0,1.0,0.0",
        "IL_2,0.0,0.0,0.0,0.0,0.0,1.0,0.0,0.0,0.0,0.0,0.0",
    )
    table(
        root / "MILK10k_Training_Metadata.csv",
        "lesion_id,image_type,isic_id,attribution,copyright_license,image_manipulation,age_approx,"
        "sex,skin_tone_class,site,MONET_hair",
        "IL_1,clinical: close-up,ISIC_1,MILK,CC-BY-NC,,65,male,3,head_neck_face,0.1",
        "IL_1,dermoscopic,ISIC_2,MILK,CC-BY-NC,,65,male,3,head_neck_face,0.1",
        "IL_2,dermoscopic,ISIC_3,MILK,CC-BY-NC,,40,female,,trunk,0.2",
    )
    places = ("IL_1/ISIC_1", "IL_1/ISIC_2", "IL_2/ISIC_3")
    draw(root, *(f"MILK10k_Training_Input/{place}.jpg" for place in places))


def bcn20000(root: Path) -> None:
    head = "bcn_filename,age_approx,anatom_site_general,diagnosis,lesion_id,capture_date,sex,split"
    table(
        root / "bcn_20k_train.csv",
        head,
        "BCN_0000000001.jpg,55.0,anterior torso,MEL,BCN_0003884,2012-05-16,male,train",
        "BCN_0000000003.jpg,50.0,anterior torso,AK,BCN_0000019,2015-07-09,female,train",
    )
    table(
        root / "bcn_20k_test.csv",
        head,
        "BCN_0000000002.jpg,60.0,head/neck,,BCN_0000021,2012-05-16,male,test",
    )
    draw(root, "bcn_20k_train/BCN_0000000001.jpg", "bcn_20k_train/BCN_0000000003.jpg")
    draw(root, "bcn_20k_test/BCN_0000000002.jpg")


def pad_ufes_20(root: Path) -> None:
    table(
        root / "metadata.csv",
        "patient_id,lesion_id,smoke,age,gender,fitspatrick,region,diagnostic,img_id,biopsed",
        "PAT_46,881,False,55,FEMALE,3.0,NECK,ACK,PAT_46_881_14.png,True",
        "PAT_47,,,77,,,ARM,SEK,PAT_47_1_2.png,False",
    )
    draw(root, "images/imgs_part_1/PAT_46_881_14.png", "images/imgs_part_2/PAT_47_1_2.png")


def derm7pt(root: Path) -> None:
    table(
        root / "meta" / "meta.csv",
        "case_num,diagnosis,seven_point_score,location,sex,clinic,derm,case_id,notes",
        "1,melanoma (in situ),3,back,female,NEL/Nel026.jpg,NEL/NEL025.JPG,,",
        "2,clark nevus,0,arm,male,NEL/Nel028.jpg,NEL/NEL027.JPG,,",
        "3,miscellaneous,0,arm,male,NEL/Nel030.jpg,NEL/NEL029.JPG,,",
    )
    for name, row in (("train", 0), ("valid", 1), ("test", 2)):
        table(root / "meta" / f"{name}_indexes.csv", "indexes", str(row))
    draw(
        root,
        *(
            f"images/NEL/{'NEL' if n % 2 else 'Nel'}0{n}.{'JPG' if n % 2 else 'jpg'}"
            for n in range(25, 31)
        ),
    )


def ph2(root: Path) -> None:
    table(
        root / "PH2_dataset.txt",
        "||   Name || Histological Diagnosis || Clinical Diagnosis || Asymmetry | Streaks ||",
        "|| IMD003 ||                        ||                  0 ||         0 |       A ||",
        "|| IMD058 ||               Melanoma ||                  2 ||         2 |       P ||",
        "",
        "Legends:",
        "Clinical Diagnosis: 0 - Common Nevus; 1 - Atypical Nevus; 2 - Melanoma.",
    )
    for name in ("IMD003", "IMD058"):
        place = f"PH2 Dataset images/{name}"
        draw(root, f"{place}/{name}_Dermoscopic_Image/{name}.bmp")
        draw(root, f"{place}/{name}_lesion/{name}_lesion.bmp")


def ph2_sheet(root: Path) -> None:
    ph2(root)
    (root / "PH2_dataset.txt").unlink()
    head = ["Image Name", "Histological Diagnosis", "Common Nevus", "Atypical Nevus", "Melanoma"]
    rows = [["PH2 database", *[None] * 4], *[[None] * 5] * 11, head]
    rows += [["IMD003", None, "X", None, None], ["IMD058", "Melanoma", None, None, "X"]]
    pd.DataFrame(rows).to_excel(root / "PH2_dataset.xlsx", header=False, index=False)


def fitzpatrick17k(root: Path) -> None:
    table(
        root / "fitzpatrick17k.csv",
        "md5hash,fitzpatrick_scale,fitzpatrick_centaur,label,nine_partition_label,"
        "three_partition_label,qc,url,url_alphanum",
        "0a1b,5,6,psoriasis,inflammatory,non-neoplastic,,http://x/1.jpg,x1.jpg",
        "0c2d,-1,2,melanoma,malignant melanoma,malignant,,http://x/2.jpg,x2.jpg",
    )
    draw(root, "data/finalfitz17k/0a1b.jpg", "data/finalfitz17k/0c2d.jpg")


def ddi(root: Path) -> None:
    table(
        root / "ddi_metadata.csv",
        ",DDI_ID,DDI_file,skin_tone,malignant,disease",
        "0,1,000001.png,56,True,melanoma-in-situ",
        "1,2,000002.png,12,False,seborrheic-keratosis",
    )
    draw(root, "000001.png", "000002.png")


def isic_archive(root: Path) -> None:
    """As isic-cli writes it: only the columns that a collection knows."""
    table(
        root / "metadata.csv",
        "isic_id,attribution,copyright_license,age_approx,anatom_site_general,diagnosis_1,"
        "diagnosis_2,diagnosis_3,fitzpatrick_skin_type,image_type,lesion_id,patient_id,sex",
        "ISIC_1,Anonymous,CC-0,55,head/neck,Malignant,Malignant melanocytic proliferations "
        '(Melanoma),"Melanoma, NOS",II,dermoscopic,IL_1,IP_1,male',
        "ISIC_2,Vienna,CC-BY-NC,30,,Benign,Benign soft tissue proliferations - Vascular,,,"
        "dermoscopic,,IP_2,female",
        "ISIC_3,Vienna,CC-BY-NC,30,,Benign,Benign other,Scar,,dermoscopic,,,",
        "ISIC_4,Vienna,CC-BY-NC,30,,Benign,,Nevus,,TBP tile: close-up,,,",
    )
    draw(root, *(f"ISIC_{number}.jpg" for number in range(1, 5)))


LAYOUTS = {
    "ham10000": (
        ham10000,
        [
            ("ISIC_1", "bkl", "HAM_1", None, 80.0, "male", "scalp", "vidir_modern"),
            ("ISIC_2", "nv", "HAM_2", None, None, "female", "back", "rosendahl"),
        ],
    ),
    "ham10000 kaggle": (
        ham10000_kaggle,
        [
            ("ISIC_1", "bkl", "HAM_1", None, 80.0, "male", "scalp", None),
            ("ISIC_2", "nv", "HAM_2", None, None, "female", "back", None),
        ],
    ),
    "isic2018": (
        isic2018,
        [
            ("ISIC_1", "nv", "HAM_7", "train", None, None, None, None),
            ("ISIC_2", "akiec", None, "val", None, None, None, None),
            ("ISIC_3", "mel", None, "test", None, None, None, None),
        ],
    ),
    "isic2019": (
        isic2019,
        [
            ("ISIC_1", "akiec", "BCN_0000001", "train", 55.0, "female", "anterior torso", None),
            ("ISIC_2_downsampled", "scc", None, "train", 30.0, "male", "upper extremity", None),
            ("ISIC_3", "dropped", None, "train", None, None, None, None),
        ],
    ),
    "isic2020": (
        isic2020,
        [
            ("ISIC_1", "benign", "patient IP_7", None, 45.0, "male", "head/neck", None),
            ("ISIC_2", "malignant", "patient IP_7", None, 45.0, "male", "torso", None),
        ],
    ),
    "milk10k": (
        milk10k,
        [
            ("ISIC_1", "dropped", "IL_1", None, 65.0, "male", "head_neck_face", None),
            ("ISIC_2", "scc", "IL_1", None, 65.0, "male", "head_neck_face", None),
            ("ISIC_3", "inf", "IL_2", None, 40.0, "female", "trunk", None),
        ],
    ),
    "bcn20000": (
        bcn20000,
        [
            ("BCN_0000000001", "mel", "BCN_0003884", "train", 55.0, "male", "anterior torso", None),
            ("BCN_0000000002", None, "BCN_0000021", "test", 60.0, "male", "head/neck", None),
            (
                "BCN_0000000003",
                "akiec",
                "BCN_0000019",
                "train",
                50.0,
                "female",
                "anterior torso",
                None,
            ),
        ],
    ),
    "pad-ufes-20": (
        pad_ufes_20,
        [
            ("PAT_46_881_14", "akiec", "pad-ufes-20 881", None, 55.0, "female", "NECK", None),
            ("PAT_47_1_2", "bkl", "patient PAT_47", None, 77.0, None, "ARM", None),
        ],
    ),
    "derm7pt": (
        derm7pt,
        [
            ("NEL025", "mel", "derm7pt 1", "train", None, "female", "back", None),
            ("NEL027", "nv", "derm7pt 2", "val", None, "male", "arm", None),
            ("NEL029", "dropped", "derm7pt 3", "test", None, "male", "arm", None),
        ],
    ),
    "ph2": (
        ph2,
        [
            ("IMD003", "nv", None, None, None, None, None, None),
            ("IMD058", "mel", None, None, None, None, None, None),
        ],
    ),
    "ph2 sheet": (
        ph2_sheet,
        [
            ("IMD003", "nv", None, None, None, None, None, None),
            ("IMD058", "mel", None, None, None, None, None, None),
        ],
    ),
    "fitzpatrick17k": (
        fitzpatrick17k,
        [
            ("0a1b", "non-neoplastic", None, None, None, None, None, None),
            ("0c2d", "malignant", None, None, None, None, None, None),
        ],
    ),
    "ddi": (
        ddi,
        [
            ("000001", "malignant", None, None, None, None, None, None),
            ("000002", "benign", None, None, None, None, None, None),
        ],
    ),
    "isic-archive": (
        isic_archive,
        [
            ("ISIC_1", "mel", "IL_1", None, 55.0, "male", "head/neck", "Anonymous"),
            ("ISIC_2", "vasc", "patient IP_2", None, 30.0, "female", None, "Vienna"),
            ("ISIC_3", "dropped", None, None, 30.0, None, None, "Vienna"),
            ("ISIC_4", "dropped", None, None, 30.0, None, None, "Vienna"),
        ],
    ),
}


def known(image: SourceImage) -> tuple[object, ...]:
    dx = "dropped" if image.left_out else image.dx
    return (
        *(image.image, dx, image.lesion, image.split),
        *(image.age, image.sex, image.site, image.source),
    )


def found(source: Source) -> list[tuple[object, ...]]:
    return sorted(map(known, source.images), key=lambda row: str(row[0]))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_published_layout_is_recognised_and_read(layout: str, tmp_path: Path) -> None:
    make, rows = LAYOUTS[layout]
    make(tmp_path)
    source = find_source(tmp_path)
    assert source.name == layout.split()[0]
    assert found(source) == rows
    assert all(image.read and image.read() for image in source.images)


def test_every_preset_has_a_copy_that_is_read() -> None:
    assert {name.split()[0] for name in LAYOUTS} == set(presets())


def test_skin_tones_and_patients_are_kept(tmp_path: Path) -> None:
    tones = {}
    for name in ("pad-ufes-20", "fitzpatrick17k", "ddi", "milk10k", "isic-archive"):
        LAYOUTS[name][0](tmp_path / name)
        images = find_source(tmp_path / name).images
        tones[name] = {image.image: image.skin_tone for image in images if image.skin_tone}
        if name == "pad-ufes-20":
            assert {image.patient for image in images} == {"PAT_46", "PAT_47"}
    assert tones == {
        "pad-ufes-20": {"PAT_46_881_14": "3"},
        "fitzpatrick17k": {"0a1b": "5"},
        "ddi": {"000001": "56", "000002": "12"},
        "milk10k": {"ISIC_1": "3", "ISIC_2": "3"},
        "isic-archive": {"ISIC_1": "II"},
    }


def test_dermamnist_is_read_from_its_arrays(tmp_path: Path) -> None:
    pictures = np.random.default_rng(0).integers(0, 255, (4, 28, 28, 3), dtype=np.uint8)
    arrays = {
        "train_images": pictures[:2],
        "train_labels": np.array([[5], [4]]),
        "val_images": pictures[2:3],
        "val_labels": np.array([[0]]),
        "test_images": pictures[3:],
        "test_labels": np.array([[6]]),
    }
    np.savez(tmp_path / "dermamnist.npz", **arrays)
    source = find_source(tmp_path)
    assert [(image.dx, image.split) for image in source.images] == [
        *(("nv", "train"), ("mel", "train"), ("akiec", "val"), ("vasc", "test"))
    ]
    assert len({image.image for image in source.images}) == 4
    for side in (64, 128):
        np.savez(tmp_path / f"dermamnist_{side}.npz", **arrays)
    largest = tmp_path / "dermamnist_128.npz"
    assert find_source(tmp_path).images[0].origin == f"{largest}:train_images[0]"
    for content in (b"nothing", b""):
        (tmp_path / "dermamnist.npz").write_bytes(content)
        with pytest.raises(DermaError, match=r"dermamnist\.npz: not a file of DermaMNIST"):
            table_source(tmp_path / "dermamnist.npz")


def test_pictures_in_an_archive_are_read_without_being_unpacked(tmp_path: Path) -> None:
    isic2019(tmp_path)
    with zipfile.ZipFile(tmp_path / "ISIC_2019_Training_Input.zip", "w") as archive:
        for path in (tmp_path / "ISIC_2019_Training_Input").iterdir():
            archive.write(path, f"ISIC_2019_Training_Input/{path.name}")
    shutil.rmtree(tmp_path / "ISIC_2019_Training_Input")
    assert found(find_source(tmp_path)) == LAYOUTS["isic2019"][1]


def test_several_layouts_in_a_folder_are_a_question(tmp_path: Path) -> None:
    isic2019(tmp_path / "a")
    ddi(tmp_path / "b")
    with pytest.raises(DermaError, match=r"can be isic2019 .*, ddi .*; choose with"):
        find_source(tmp_path)
    path = tmp_path / "b" / "ddi_metadata.csv"
    assert found(table_source(path, preset="ddi")) == LAYOUTS["ddi"][1]
    with pytest.raises(DermaError, match="preset 'dii' is not known; the presets are ham10000, "):
        table_source(path, preset="dii")


def test_class_folders_are_found_out_too(tmp_path: Path) -> None:
    class_folders(tmp_path, {"mel": 3, "nv": 3})
    source = find_source(tmp_path)
    assert sorted(str(image.dx) for image in source.images) == ["mel"] * 3 + ["nv"] * 3
    assert "class folders: 6 pictures with a class; mel 3, nv 3" in source.description


def test_what_would_be_imported_is_said(tmp_path: Path) -> None:
    isic_archive(tmp_path)
    assert find_source(tmp_path).description == (
        f"{tmp_path}, the ISIC archive (metadata.csv): 2 pictures with a class; mel 1, vasc 1; "
        "2 lesions or patients; no splits given; 2 left out by their label or kind. "
        "Licence: as the column copyright_license says."
    )


def test_what_is_dropped_is_in_the_report_and_the_manifest_has_skin_tones(tmp_path: Path) -> None:
    rows = [f"{n},{n:06d}.png,{12 if n % 2 else 56},{n < 8},x" for n in range(16)]
    table(tmp_path / "in" / "m.csv", "DDI_ID,DDI_file,skin_tone,malignant,disease", *rows)
    draw(tmp_path / "in", *(f"{n:06d}.png" for n in range(16)))
    source = table_source(tmp_path / "in" / "m.csv", settings={"labels": {"False": "drop"}})
    with pytest.raises(DermaError, match=r"only class 'malignant' .* dropped 8 \(first 000008: "):
        import_images(source.images, DatasetInfo("ddi", "x", "y", 0), tmp_path / "data")
    source = table_source(tmp_path / "in" / "m.csv")
    import_images(source.images, DatasetInfo("ddi", "x", "y", 0), tmp_path / "data")
    rows_of = read_dataset(tmp_path / "data").table.set_index("image")
    assert rows_of["skin_tone"].to_dict() == {
        f"{n:06d}": "12" if n % 2 else "56" for n in range(16)
    }
    assert "patient" not in rows_of.columns
