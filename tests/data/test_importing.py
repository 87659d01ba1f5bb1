import csv
import hashlib
import io
import os
import signal
import subprocess
import sys
import textwrap
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data.pictures import encoded, picture, source, sources, write
from doctor_derma.data.importers.folder import read_folder
from doctor_derma.data.importers.importing import ImportSummary, end_renames, import_images
from doctor_derma.data.importers.records import SourceImage
from doctor_derma.data.manifest import DatasetInfo, read_dataset
from doctor_derma.errors import DermaError
from images.made import heic
from images.made import save as saved
from images.test_dicom import dicom

INFO = DatasetInfo("test", "made up", "none", 0)


def report(folder: Path) -> list[tuple[str, str, str]]:
    with (folder / "import_report.csv").open(newline="") as stream:
        return [(row["image"], row["reason"], row["kept"]) for row in csv.DictReader(stream)]


def import_with(extra: list[SourceImage], folder: Path) -> ImportSummary:
    return import_images([*sources({"a": 6, "b": 6}), *extra], INFO, folder)


def files(folder: Path) -> dict[str, bytes]:
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def test_files_manifest_and_folders_agree(tmp_path: Path) -> None:
    images = sources({"a": 20, "b": 7})
    summary = import_images(images, INFO, tmp_path)

    dataset = read_dataset(tmp_path)
    assert dataset.classes == ("a", "b")
    assert summary.kept == summary.seen == 27
    assert report(tmp_path) == []
    by_name = {image.image: image for image in images}
    for row in dataset.table.to_dict("records"):
        folder = "test" if row["split"] == "test" else "train"
        assert row["path"].startswith(f"{folder}/{row['class']}/")
        read = by_name[row["image"]].read
        assert read is not None
        assert (tmp_path / row["path"]).read_bytes() == read()
        assert (row["width"], row["height"]) == (96, 72)
    assert len(files(tmp_path)) == 27 + 3


def test_names_that_look_like_missing_values_stay(tmp_path: Path) -> None:
    import_images(sources({"NA": 4, "None": 4}), INFO, tmp_path)
    assert read_dataset(tmp_path).classes == ("NA", "None")


def test_same_seed_same_manifest(tmp_path: Path) -> None:
    images = sources({"a": 20, "b": 7})
    import_images(images, INFO, tmp_path / "one")
    import_images(images, INFO, tmp_path / "two")
    import_images(images, INFO, tmp_path / "other", seed=1)

    manifests = {name: files(tmp_path / name)["manifest.csv"] for name in ("one", "two", "other")}
    assert manifests["one"] == manifests["two"] != manifests["other"]


def test_unusable_images_are_reported_with_a_reason(tmp_path: Path) -> None:
    whole = encoded(picture(500))
    png = io.BytesIO()
    picture(501).save(png, "PNG")
    extra = [
        source("noise", "a", b"not a picture at all"),
        source("empty", "a", b""),
        source("half", "a", whole[: len(whole) // 2]),
        source("half-png", "b", png.getvalue()[:700]),
        source("nameless", None, whole),
        SourceImage("gone", "gone.jpg", None, dx="a"),
        source("forbidden", "a", whole),
    ]

    def forbidden() -> bytes:
        raise PermissionError(13, "Permission denied")

    extra[-1] = SourceImage("forbidden", "forbidden.jpg", forbidden, dx="a")
    summary = import_with(extra, tmp_path)

    assert report(tmp_path) == [
        ("noise", "corrupt", "no"),
        ("empty", "corrupt", "no"),
        ("half", "truncated", "no"),
        ("half-png", "truncated", "no"),
        ("nameless", "unlabelled", "no"),
        ("gone", "missing", "no"),
        ("forbidden", "corrupt", "no"),
    ]
    counts = (summary.seen, summary.kept, summary.left_out, summary.missing)
    assert counts == (18, 12, 6, 1)


def test_same_bytes_are_kept_once_and_join_their_lesions(tmp_path: Path) -> None:
    content = encoded(picture(500))
    extra = [
        source("first", "a", content, lesion="x"),
        source("again", "a", content, lesion="y"),
        source("sibling", "a", encoded(picture(501)), lesion="y"),
    ]
    summary = import_with(extra, tmp_path)

    assert report(tmp_path) == [("again", "duplicate-bytes", "no")]
    lesions = summary.table.set_index("image")["lesion"]
    assert lesions["first"] == lesions["sibling"]


def test_copies_with_several_labels_all_go(tmp_path: Path) -> None:
    """Also those that agree with the first of them."""
    content = encoded(picture(500))
    extra = [source(f"x{number}", dx, content) for number, dx in enumerate("aabab")]
    summary = import_with(extra, tmp_path)
    assert report(tmp_path) == [
        (f"x{number}", "conflicting-labels", "no") for number in (0, 2, 1, 3, 4)
    ]
    assert summary.kept == 12


def test_near_identical_lesions_become_one(tmp_path: Path) -> None:
    extra = [
        source("first", "a", encoded(picture(500)), lesion="x"),
        source("again", "a", encoded(picture(500), quality=80), lesion="y"),
    ]
    summary = import_with(extra, tmp_path)

    assert report(tmp_path) == [
        ("first", "near-identical", "yes"),
        ("again", "near-identical", "yes"),
    ]
    assert (summary.kept, summary.left_out) == (14, 0)
    lesions = summary.table.set_index("image")["lesion"]
    assert lesions["first"] == lesions["again"]


def test_near_identical_images_of_one_lesion_are_no_fault(tmp_path: Path) -> None:
    extra = [
        source("first", "a", encoded(picture(500)), lesion="x"),
        source("again", "a", encoded(picture(500), quality=80), lesion="x"),
    ]
    assert import_with(extra, tmp_path).reported == ()


@pytest.mark.parametrize("quality", [90, 80], ids=["same bytes", "near-identical"])
def test_one_picture_with_two_labels_is_left_out_twice(tmp_path: Path, quality: int) -> None:
    extra = [
        source("as-a", "a", encoded(picture(500))),
        source("as-b", "b", encoded(picture(500), quality=quality)),
    ]
    import_with(extra, tmp_path)

    assert report(tmp_path) == [
        ("as-a", "conflicting-labels", "no"),
        ("as-b", "conflicting-labels", "no"),
    ]


def test_a_given_division_gives_way_to_test(tmp_path: Path) -> None:
    images = []
    for number, split in enumerate(["train"] * 6 + ["test"] * 2):
        for dx, start in (("a", 0), ("b", 100)):
            content = encoded(picture(start + number))
            images.append(source(f"{dx}{number}", dx, content, split=split))
    twin, same, lesion = (encoded(picture(seed)) for seed in (700, 701, 702))
    images += [
        source("twin-train", "a", encoded(picture(700), quality=80), split="train"),
        source("twin-test", "a", twin, split="test"),
        source("same-train", "a", same, split="train"),
        source("same-test", "a", same, split="test"),
        source("lesion-train", "a", lesion, split="train", lesion="x"),
        source("lesion-test", "a", encoded(picture(703)), split="test", lesion="x"),
    ]
    summary = import_images(images, INFO, tmp_path)

    assert sorted(row for row in report(tmp_path) if row[2] == "no") == [
        ("lesion-train", "lesion-crosses-splits", "no"),
        ("same-train", "duplicate-bytes", "no"),
        ("twin-train", "near-identical", "no"),
    ]
    splits = summary.table.set_index("image")["split"]
    assert splits["twin-test"] == splits["same-test"] == splits["lesion-test"] == "test"


def damage(kind: str, content: bytes, place: float) -> bytes:
    cut = int(place * len(content))
    match kind:
        case "cut":
            return content[:cut]
        case "flipped":
            return content[:cut] + bytes([content[cut] ^ 0x5A]) + content[cut + 1 :]
        case "overwritten":
            return content[:cut] + b"\x00" * 40 + content[cut + 40 :]
    return content


@pytest.mark.slow
@given(
    damages=st.lists(
        st.tuples(
            st.sampled_from(["whole", "cut", "flipped", "overwritten", "missing", "unlabelled"]),
            st.floats(0, 0.99),
            st.integers(0, 5),
            st.sampled_from(["a", "b"]),
            st.sampled_from([None, "x", "y"]),
        ),
        max_size=12,
    )
)
@settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck))
def test_kept_and_left_out_make_up_what_was_seen(damages, tmp_path_factory) -> None:
    extra = []
    for number, (kind, place, seed, dx, lesion) in enumerate(damages):
        content = damage(kind, encoded(picture(900 + seed)), place)
        whole = source(f"extra{number}", None if kind == "unlabelled" else dx, content)
        read = None if kind == "missing" else whole.read
        extra.append(SourceImage(whole.image, whole.origin, read, dx=whole.dx, lesion=lesion))
    folder = tmp_path_factory.mktemp("import")
    images = [*sources({"a": 4, "b": 4}), *extra]
    summary = import_images(images, INFO, folder)

    kept = read_dataset(folder).table
    left_out = [image for image, _, stays in report(folder) if stays == "no"]
    assert sorted([*kept["image"], *left_out]) == sorted(image.image for image in images)
    assert summary.kept + summary.left_out == summary.seen == len(images) - summary.missing
    assert kept.groupby("lesion")["split"].nunique().max() == 1
    assert kept["sha256"].is_unique


def test_an_import_replaces_the_earlier_one_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("mine")
    (tmp_path / "masks").mkdir()
    (tmp_path / "masks" / "one.png").write_bytes(b"mine")
    import_images(sources({"a": 9, "b": 9}), INFO, tmp_path)
    import_images(sources({"c": 4, "d": 4}), INFO, tmp_path)

    found = files(tmp_path)
    assert read_dataset(tmp_path).classes == ("c", "d")
    assert found["README.md"] == found["masks/one.png"] == b"mine"
    assert len(found) == 2 + 8 + 3


def test_own_files_in_train_are_not_deleted(tmp_path: Path) -> None:
    own = tmp_path / "train" / "a" / "own.jpg"
    own.parent.mkdir(parents=True)
    own.write_bytes(b"mine")

    with pytest.raises(DermaError, match=r"own\.jpg: no import wrote this file"):
        import_images(sources({"a": 4, "b": 4}), INFO, tmp_path)

    assert files(tmp_path) == {"train/a/own.jpg": b"mine"}


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ([], "no images found"),
        (sources({"a": 5}), "only class 'a'"),
        (sources({"a": 5, "b": 1}), "class 'b' has 1 lesion, too few"),
        ([source("x", "a", b"junk")], "no usable image"),
        ([*sources({"a": 4, "b": 4}), source("x", "../up", encoded(picture(5)))], "'../up'"),
    ],
    ids=["none", "one class", "one lesion", "all corrupt", "class out of the folder"],
)
def test_bad_sources_leave_the_old_data_as_it_was(tmp_path: Path, images, message) -> None:
    import_images(sources({"c": 4, "d": 4}), INFO, tmp_path)
    before = files(tmp_path)

    with pytest.raises(DermaError, match=message):
        import_images(images, INFO, tmp_path)

    found = files(tmp_path)
    reported = found.pop("failed_import_report.csv", None)
    assert found == before
    assert (reported is not None) == ("no usable image" in message)


def raw() -> bytes:
    return b"\0\0\0\x18ftypcrx " + bytes(2000)


UNUSABLE = {
    "all RAW": ([source(f"x{n}", "a", raw()) for n in range(8)], "unsupported-format 8", "RAW"),
    "all cut": (
        [source(f"x{n}", "a", encoded(picture(n))[:900]) for n in range(3)],
        "truncated 3",
        "x0.jpg: corrupt or truncated picture",
    ),
    "no labels": (
        [source(f"x{n}", None, encoded(picture(n))) for n in range(4)],
        "unlabelled 4",
        "x0.jpg: no class known",
    ),
    "rows alone": (
        [SourceImage(f"x{n}", f"x{n}", None, dx="a") for n in range(5)],
        "missing 5",
        "listed in the metadata, no such file",
    ),
    "one picture": (
        [source(f"x{n}", "ab"[n % 2], encoded(picture(0))) for n in range(6)],
        "conflicting-labels 6",
        "the same picture as",
    ),
    "a class of RAW": (
        [*sources({"a": 5}), *[source(f"x{n}", "b", raw()) for n in range(2)]],
        "unsupported-format 2",
        "export it as JPEG",
    ),
}


@pytest.mark.parametrize("case", UNUSABLE)
def test_an_import_that_fails_says_what_became_of_the_files(case: str, tmp_path: Path) -> None:
    images, reason, detail = UNUSABLE[case]
    with pytest.raises(DermaError) as caught:
        import_images(images, DatasetInfo("x", "the folder", "none", 0), tmp_path)
    said = str(caught.value)
    assert said.startswith("the folder: ")
    assert f"{reason} (first x" in said
    assert detail in said
    assert f"All are in {tmp_path / 'import_report.csv'}" in said
    assert "\n" not in said
    assert {image for image, _, _ in report(tmp_path)} == {
        image.image for image in images if image.image.startswith("x")
    }
    # It is in nobody's way afterwards.
    import_images(sources({"a": 4, "b": 4}), INFO, tmp_path)
    assert report(tmp_path) == []


def test_a_full_disk_is_one_sentence_and_leaves_the_old_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import_images(sources({"c": 4, "d": 4}), INFO, tmp_path)
    before = files(tmp_path)

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(DermaError, match=r"can't be written .No space left on device.; free"):
        import_images(sources({"a": 4, "b": 4}), INFO, tmp_path)

    assert files(tmp_path) == before


@pytest.mark.parametrize("error", [OSError(5, "Input/output error"), KeyboardInterrupt()])
@pytest.mark.parametrize("failing", range(1, 13))
def test_a_swap_that_fails_midway_is_undone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: int, error: BaseException
) -> None:
    import_images(sources({"c": 4, "d": 4}), INFO, tmp_path)
    before = files(tmp_path)
    replace, calls = Path.replace, 0

    def failing_once(path: Path, target: Path) -> Path:
        nonlocal calls
        calls += 1
        if calls == failing:
            raise error
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", failing_once)
    with pytest.raises((DermaError, KeyboardInterrupt)):
        import_images(sources({"a": 4, "b": 4}), INFO, tmp_path)

    assert files(tmp_path) == before


def test_a_swap_that_can_not_be_undone_is_ended_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import_images(sources({"c": 4, "d": 4}), INFO, tmp_path)
    replace, calls = Path.replace, 0

    def failing_ever_after(path: Path, target: Path) -> Path:
        nonlocal calls
        calls += 1
        if calls > 8:
            raise OSError(5, "Input/output error")
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", failing_ever_after)
    with pytest.raises(DermaError, match="Input/output error"):
        import_images(sources({"a": 4, "b": 4}), INFO, tmp_path)
    monkeypatch.undo()

    end_renames(tmp_path)
    assert read_dataset(tmp_path).classes == ("a", "b")


KILLED_IMPORT = """
    import os, signal, sys
    from pathlib import Path
    sys.path.insert(0, {tests!r})
    from data.pictures import sources
    from doctor_derma.data.importers.importing import import_images
    from doctor_derma.data.manifest import DatasetInfo

    moment, replace, calls = {moment}, Path.replace, 0

    def counting(path, target):
        global calls
        calls += 1
        if calls > moment:
            os.kill(os.getpid(), signal.SIGKILL)
        return replace(path, target)

    Path.replace = counting
    import_images(sources({{"a": 4, "b": 4}}), DatasetInfo("new", "", "", 0), Path({folder!r}))
"""


@pytest.mark.slow
@pytest.mark.parametrize("moment", [0, 3, 8])
def test_killed_while_it_swaps(tmp_path: Path, moment: int) -> None:
    import_images(sources({"c": 4, "d": 4}), INFO, tmp_path)
    tests = str(Path(__file__).parents[1])
    script = textwrap.dedent(KILLED_IMPORT.format(tests=tests, moment=moment, folder=str(tmp_path)))
    ended = subprocess.run(
        [sys.executable, "-c", script], env=os.environ | {"OMP_NUM_THREADS": "1"}, check=False
    )
    assert ended.returncode == -signal.SIGKILL

    if moment == 0:
        assert read_dataset(tmp_path).classes == ("c", "d")
    else:
        with pytest.raises(DermaError, match="no data set here"):
            read_dataset(tmp_path)
    import_images(sources({"e": 4, "f": 4}), INFO, tmp_path)
    assert read_dataset(tmp_path).classes == ("e", "f")
    assert len(files(tmp_path)) == 8 + 3


def test_added_images_join_the_split_of_their_lesion(tmp_path: Path) -> None:
    import_images(sources({"a": 9, "b": 9}), INFO, tmp_path)
    before = read_dataset(tmp_path).table.set_index("image")
    test = before.index[before["split"] == "test"][0]
    train = before.index[before["split"] == "train"][0]
    dx = {name: str(before.loc[name, "class"]) for name in (test, train)}
    read = {image.image: image.read for image in sources({"a": 9, "b": 9})}
    again = read[train]
    assert again is not None
    added = [
        source("sibling", dx[test], encoded(picture(600)), lesion=test),
        source("copy", dx[train], again()),
        source(train, dx[train], encoded(picture(601))),
        *[source(f"new{n}", "c", encoded(picture(610 + n))) for n in range(6)],
    ]
    info = DatasetInfo("second", "elsewhere", "CC0", 0)
    summary = import_images(added, info, tmp_path, add=True)

    dataset = read_dataset(tmp_path)
    after = dataset.table.set_index("image")
    assert after.loc[before.index, ["lesion", "split", "class", "sha256"]].equals(
        before[["lesion", "split", "class", "sha256"]]
    )
    assert after.loc["sibling", "split"] == "test"
    assert summary.reasons == {"duplicate-bytes": 1}
    # A name that is taken is told apart.
    assert f"second-{train}" in after.index
    assert set(after.loc[after["class"] == "c", "split"]) == {"train", "val", "test"}
    assert (dataset.info.name, dataset.info.licence) == ("test, second", "none, CC0")
    assert after.groupby("lesion")["split"].nunique().max() == 1
    assert after.loc["new0", "source"] == "second"
    assert after.loc[test, "source"] == "test"


def test_names_of_a_third_set_are_told_apart_too(tmp_path: Path) -> None:
    import_images(sources({"a": 9, "b": 9}), INFO, tmp_path)
    for seed in (600, 601):
        again = source("a000", "a", encoded(picture(seed)))
        import_images([again], DatasetInfo("more", "x", "y", 0), tmp_path, add=True)
    names = Counter(read_dataset(tmp_path).table["image"])
    assert (names["a000"], names["more-a000"], names["more-a000-2"]) == (1, 1, 1)


def test_added_pictures_that_are_nearly_there_join_their_split(tmp_path: Path) -> None:
    import_images(sources({"a": 9, "b": 9}), INFO, tmp_path)
    before = read_dataset(tmp_path).table.set_index("image")
    name = next(n for n in before.index[before["split"] == "test"] if n.startswith("a"))
    twin = source("twin", "a", encoded(picture(int(name[1:])), quality=80))
    summary = import_images([twin], DatasetInfo("more", "x", "y", 0), tmp_path, add=True)
    table = summary.table.set_index("image")
    assert table.loc["twin", "split"] == table.loc[name, "split"] == "test"
    assert table.loc["twin", "lesion"] == table.loc[name, "lesion"]
    assert summary.kept == 19


def test_pictures_of_every_kind_are_imported_and_nothing_of_the_patient(tmp_path: Path) -> None:
    kinds = {
        ".heic": heic,
        ".avif": lambda pixels: saved(pixels, "AVIF"),
        ".jp2": lambda pixels: saved(pixels, "JPEG2000"),
        ".gif": lambda pixels: saved(pixels.quantize(64), "GIF"),
        ".dcm": lambda pixels: dicom(np.asarray(pixels)),
    }
    for number in range(30):
        suffix = list(kinds)[number % 5]
        content = kinds[suffix](picture(number))
        write(tmp_path / f"from/{'ab'[number // 5 % 2]}/{number}{suffix}", content)
    summary = import_images(read_folder(tmp_path / "from"), INFO, tmp_path / "data")
    assert (summary.kept, summary.left_out) == (30, 0)
    suffixes = [Path(path).suffix for path in summary.table["path"]]
    assert Counter(suffixes) == dict.fromkeys([".heic", ".avif", ".jp2", ".gif", ".png"], 6)
    for path, digest in zip(summary.table["path"], summary.table["sha256"], strict=True):
        content = (tmp_path / "data" / path).read_bytes()
        assert hashlib.sha256(content).hexdigest() == digest
        assert b"Doe^Jane" not in content
