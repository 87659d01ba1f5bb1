import csv
import hashlib
import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from data.pictures import encoded, picture, sources, write
from doctor_derma.commands.app import app
from doctor_derma.data.importers.importing import import_images
from doctor_derma.data.manifest import MANIFEST_FILE, DatasetInfo
from doctor_derma.data.masks import import_masks, read_mask
from doctor_derma.errors import DermaError

# What sources() calls its pictures, all of 96x72 pixels.
NAMES = [f"{dx}{number:03d}" for dx in ("mel", "nv") for number in range(6)]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    info = DatasetInfo("small", "made here", "none", seed=0)
    import_images(sources({"mel": 6, "nv": 6}), info, folder, val=0.2, test=0.2)
    return folder


def disc(width: int = 96, height: int = 72) -> np.ndarray:
    """A circle around the middle, a third of the height wide each way."""
    rows, columns = np.mgrid[0:height, 0:width]
    distance = np.hypot(rows - (height - 1) / 2, columns - (width - 1) / 2)
    return distance < height / 3


def png(pixels: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def white(mask: np.ndarray) -> bytes:
    return png(np.where(mask, 255, 0).astype(np.uint8))


def archive(members: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as opened:
        for name, content in members.items():
            opened.writestr(name, content)
    return stream.getvalue()


def reported(data: Path) -> dict[str, tuple[str, str]]:
    with (data / "masks" / "import_report.csv").open(newline="") as stream:
        return {row["image"]: (row["reason"], row["detail"]) for row in csv.DictReader(stream)}


def test_every_mask_is_written_as_one_bit_png(data: Path, tmp_path: Path) -> None:
    before = hashlib.sha256((data / MANIFEST_FILE).read_bytes()).hexdigest()
    masks = tmp_path / "masks"
    for name in NAMES:
        write(masks / "deeper" / f"{name}_segmentation.png", white(disc()))

    summary = import_masks(masks, data)

    assert (summary.seen, summary.kept, summary.reported) == (12, 12, ())
    for name in NAMES:
        mask = read_mask(data, name)
        assert mask is not None
        assert mask.dtype == bool
        assert np.array_equal(mask, disc())
    with Image.open(data / "masks" / "mel000.png") as stored:
        assert stored.mode == "1"
    assert reported(data) == {}
    assert hashlib.sha256((data / MANIFEST_FILE).read_bytes()).hexdigest() == before


def test_a_zip_alone_or_in_a_folder_of_pictures(data: Path, tmp_path: Path) -> None:
    members = {f"inner/{name}_segmentation.png": white(disc()) for name in NAMES}
    # As macOS packs it, and as in the archive, where the pictures lie beside the masks.
    members["__MACOSX/inner/._mel000_segmentation.png"] = b"no picture"
    source = tmp_path / "published"
    write(source / "segmentations.zip", archive(members))
    write(source / "images.zip", archive({f"{name}.jpg": encoded(picture(1)) for name in NAMES}))

    for place in (source / "segmentations.zip", source):
        summary = import_masks(place, data)
        assert (summary.seen, summary.kept, summary.reported) == (12, 12, ())
        assert np.array_equal(read_mask(data, "nv005"), disc())


def test_each_unusable_mask_has_its_reason(data: Path, tmp_path: Path) -> None:
    bad = {
        "mel000": b"no picture",
        "mel001": b"",
        "mel002": white(disc())[:-40],
        "mel003": white(disc(72, 96)),
        "mel004": white(np.zeros((72, 96), bool)),
        "mel005": encoded(picture(3)),
        "stranger": white(disc()),
    }
    masks = tmp_path / "masks"
    for name, content in bad.items():
        write(masks / f"{name}_segmentation.png", content)
    write(masks / "nv000_segmentation.png", white(disc()))
    write(masks / "z" / "nv000_segmentation.png", white(~disc()))

    summary = import_masks(masks, data)

    assert (summary.seen, summary.kept) == (9, 1)
    rows = reported(data)
    assert {name: reason for name, (reason, _) in rows.items()} == {
        "mel000": "unreadable",
        "mel001": "unreadable",
        "mel002": "unreadable",
        "mel003": "wrong-shape",
        "mel004": "empty",
        "mel005": "not-binary",
        "stranger": "no-image",
        "nv000": "duplicate",
        **{f"nv00{number}": "no-mask" for number in range(1, 6)},
    }
    assert rows["mel003"][1].endswith("72x96 pixels, but the image has 96x72")
    assert summary.reasons["no-mask"] == 5
    assert np.array_equal(read_mask(data, "nv000"), disc())
    assert [read_mask(data, name) for name in NAMES if name != "nv000"] == [None] * 11


def test_a_damaged_member_of_an_archive_is_one_bad_mask(data: Path, tmp_path: Path) -> None:
    first, second = white(disc()), white(disc())
    whole = archive({"mel000.png": first, "mel001.png": second})
    at = whole.index(first) + len(first) // 2
    (tmp_path / "masks.zip").write_bytes(whole[:at] + b"\x00\x00\x00\x00" + whole[at + 4 :])

    summary = import_masks(tmp_path / "masks.zip", data)

    assert summary.kept == 1
    assert reported(data)["mel000"][0] == "unreadable"
    assert np.array_equal(read_mask(data, "mel001"), disc())


def test_other_sizes_and_other_numbers_for_inside(data: Path, tmp_path: Path) -> None:
    masks = tmp_path / "masks"
    half = np.arange(96) < 48
    columns = np.broadcast_to(half, (72, 96))
    write(masks / "mel000.png", white(np.repeat(np.repeat(columns, 3, axis=0), 3, axis=1)))
    write(masks / "mel001.png", png(columns.astype(np.uint8)))
    write(masks / "mel002.png", png(columns.copy()))

    assert import_masks(masks, data).kept == 3

    for name in ("mel000", "mel001", "mel002"):
        assert np.array_equal(read_mask(data, name), columns)


def test_masks_are_replaced_as_a_whole_or_not_at_all(data: Path, tmp_path: Path) -> None:
    write(tmp_path / "one" / "mel000.png", white(disc()))
    write(tmp_path / "two" / "nv000.png", white(disc()))
    import_masks(tmp_path / "one", data)
    import_masks(tmp_path / "two", data)
    assert read_mask(data, "mel000") is None
    assert read_mask(data, "nv000") is not None

    write(tmp_path / "three" / "mel000.png", b"no picture")
    with pytest.raises(
        DermaError, match=r"three: none of 1 masks can be used \(mel000: .*\); name"
    ):
        import_masks(tmp_path / "three", data)
    assert read_mask(data, "nv000") is not None
    leftovers = [path.name for path in data.iterdir() if path.name.startswith(".")]
    assert leftovers == []


def test_files_of_someone_else_stay(data: Path, tmp_path: Path) -> None:
    write(data / "masks" / "mine.txt", b"mine")
    write(tmp_path / "one" / "mel000.png", white(disc()))
    with pytest.raises(DermaError, match=r"masks: holds other files"):
        import_masks(tmp_path / "one", data)
    assert (data / "masks" / "mine.txt").read_bytes() == b"mine"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("nowhere", None, "no such folder or zip archive"),
        ("masks.zip", b"not a zip", "can't be opened as a zip archive"),
        ("masks.zip", archive({"notes.txt": b"nothing"}), "no masks found"),
        ("masks.zip", archive({"x.png": white(disc())}), "none of 1 masks can be used"),
    ],
)
def test_a_bad_source_is_one_sentence(
    data: Path, tmp_path: Path, name: str, content: bytes | None, message: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DermaError, match=message) as raised:
        import_masks(tmp_path / name, data)
    assert str(tmp_path / name) in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_name_cannot_lead_out_of_the_folder(tmp_path: Path) -> None:
    write(tmp_path / "secret.png", white(disc()))
    (tmp_path / "data" / "masks").mkdir(parents=True)
    assert read_mask(tmp_path / "data", "../../secret") is None


def test_a_damaged_mask_is_named(data: Path) -> None:
    write(data / "masks" / "mel000.png", b"no picture")
    with pytest.raises(DermaError, match=r"mel000\.png: .*; import the masks again"):
        read_mask(data, "mel000")


def test_the_command_says_what_became_of_them(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "m" / "mel000.png", white(disc()))
    monkeypatch.setenv("DERMA_ROOT", str(data.parent))
    done = CliRunner().invoke(app, ["data", "import", "masks", str(tmp_path / "m")])
    assert done.exit_code == 0
    said = " ".join(done.stdout.split())
    assert said.startswith("1 masks seen: 1 imported. Reported: no-mask 11. Reasons are in")
