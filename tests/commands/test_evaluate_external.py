"""``derma evaluate --data``: what is read of another set, and where the figures end."""

import csv
import hashlib
import json
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from doctor_derma.bundle import INFO_FILE
from doctor_derma.commands.evaluate import evaluate
from doctor_derma.commands.evaluate_external import evaluate_external
from doctor_derma.commands.options import parse_map
from doctor_derma.data.manifest import COLUMNS, DatasetInfo, write_dataset
from doctor_derma.errors import DermaError
from doctor_derma.evaluation.predictions import read_predictions_csv
from doctor_derma.evaluation.report import write_evaluation
from doctor_derma.inference.classifier import Classifier
from doctor_derma.workspace import Workspace
from tiny_bundle import BLUE, GREEN, RED, write_bundle

WHITE = (255, 255, 255)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    workspace = Workspace(tmp_path / "root")
    write_bundle(workspace.champion)
    return workspace


def draw(path: Path, colour: tuple[int, int, int], shade: int) -> None:
    """Write a picture of one colour; those of two shades differ in their bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    colour = tuple(max(0, part - shade) for part in colour)  # type: ignore[assignment]
    Image.new("RGB", (16, 16), colour).save(path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Class folders of two classes, one by its full name and one by a stranger's; no ``train/``."""
    folder = tmp_path / "clinic B"
    for index in range(6):
        draw(folder / "test" / "Melanoma" / f"m{index}.png", RED, index)
        draw(folder / "test" / "naevus" / f"n{index}.png", GREEN, index)
    draw(folder / "test" / "naevus" / "strange.png", WHITE, 0)
    (folder / "test" / "naevus" / "broken.png").write_bytes(b"no picture")
    return folder


def train_on(workspace: Workspace, hashes: dict[str, tuple[str, str]]) -> None:
    """Make a data set of three images, split -> (class, SHA-256), that of the bundle's training."""
    rows = [
        {"image": split, "lesion": split, "class": name, "split": split, "sha256": sha}
        for split, (name, sha) in hashes.items()
    ]
    table = pd.DataFrame(rows).reindex(columns=list(COLUMNS), fill_value="")
    write_dataset(workspace.data, DatasetInfo("colours", "drawn", "CC0-1.0", 0), table)
    fingerprint = hashlib.sha256((workspace.data / "manifest.csv").read_bytes()).hexdigest()
    path = workspace.champion / INFO_FILE
    path.write_text(path.read_text().replace("0" * 64, fingerprint))


def results(path: Path) -> dict:
    return json.loads((path / "metrics.json").read_text())


def test_a_folder_with_other_names_and_fewer_classes(workspace: Workspace, folder: Path) -> None:
    found, tables, out = evaluate_external(workspace, "champion", folder, mapping={"Naevus": "nv"})
    assert out == workspace.evaluation_images / "tiny" / "external" / "clinic_B"
    kept = results(out)
    assert kept["classes"]["mel"]["images"] == 6
    assert kept["classes"]["nv"]["images"] == 7
    assert kept["classes"]["vasc"]["images"] == 0
    assert kept["left_out"] == {"unreadable": 1}
    assert found.metrics["auc_mel"].value == 1
    # White is out of distribution for this model, and no other colour is.
    assert found.metrics["out_of_distribution"].value == pytest.approx(1 / 13)
    assert found.home is None
    assert "'derma evaluate tiny' keeps them" in tables[0].note
    assert (out / "report.html").is_file()


@pytest.mark.usefixtures("undrawn")
def test_a_table_names_labels_and_groups(workspace: Workspace, tmp_path: Path) -> None:
    colours = {"mel": RED, "nv": GREEN, "vasc": BLUE}
    table = tmp_path / "labels.csv"
    with table.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["image", "label", "patient"])
        for index in range(12):
            name = list(colours)[index % 3]
            draw(tmp_path / "pictures" / f"p{index}.png", colours[name], index)
            writer.writerow([f"p{index}", name, f"patient {index // 2}"])
        writer.writerow(["lost", "mel", "patient 9"])
    _, _, out = evaluate_external(
        workspace, "champion", table, images=[tmp_path / "pictures"], name="two clinics"
    )
    assert out.name == "two_clinics"
    kept = results(out)
    assert kept["images"] == 12
    # Two pictures of a patient are resampled together.
    assert kept["lesions"] == 6
    assert kept["left_out"] == {"missing": 1}
    assert kept["metrics"]["accuracy"]["value"] == 1


@pytest.mark.usefixtures("undrawn")
def test_what_the_model_was_trained_on_does_not_count(workspace: Workspace, folder: Path) -> None:
    files = sorted((folder / "test" / "Melanoma").iterdir())
    seen = [hashlib.sha256(file.read_bytes()).hexdigest() for file in files[:3]]
    named = zip(("mel", "nv", "vasc"), seen, strict=True)
    train_on(workspace, dict(zip(("train", "val", "test"), named, strict=True)))
    _, _, out = evaluate_external(workspace, "champion", folder, mapping={"naevus": "nv"})
    kept = results(out)
    # Those of training and validation, not the one of the test split.
    assert kept["left_out"] == {"seen in training": 2, "unreadable": 1}
    assert kept["classes"]["mel"]["images"] == 4


@pytest.mark.usefixtures("undrawn")
def test_the_home_figures_are_those_that_evaluate_keeps(
    workspace: Workspace, folder: Path, tmp_path: Path
) -> None:
    _, _, out = evaluate_external(workspace, "champion", folder, mapping={"naevus": "nv"})
    before = (out / "report.html").read_bytes()
    classifier = Classifier.load(workspace.champion)
    info = {"split": "test", "weights_sha256": classifier.info.weights.sha256}
    table = tmp_path / "home.csv"
    names = ["mel", "nv", "vasc"] * 4
    pictures = tmp_path / "home"
    for index, colour in enumerate([RED, GREEN, BLUE] * 4):
        draw(pictures / f"h{index}.png", colour, index)
    pd.DataFrame({"image": [f"h{at}" for at in range(12)], "label": names}).to_csv(
        table, index=False
    )
    _, _, home = evaluate_external(workspace, "champion", table, images=[pictures])
    own = read_predictions_csv(home / "predictions.csv", "tiny", classifier.rulebook)
    write_evaluation(own, info, workspace.evaluation_images / "tiny", resamples=10)
    # An evaluation leaves those on other sets where they are.
    assert (out / "report.html").read_bytes() == before
    found, tables, _ = evaluate_external(workspace, "champion", folder, mapping={"naevus": "nv"})
    assert found.home is not None
    assert found.home["accuracy"].value == 1
    # A class is alone in its set where it has more than the threshold of 0.9.
    sure = own.probabilities[own.labels < 2].max(axis=1) > 0.9
    assert found.home["answered"].value == pytest.approx(sure.mean())
    assert tables[0].header[-1] == "Home, same classes"
    # Of other weights there are no home figures.
    write_evaluation(
        own, info | {"weights_sha256": "1" * 64}, workspace.evaluation_images / "tiny", resamples=5
    )
    found, _, _ = evaluate_external(workspace, "champion", folder, mapping={"naevus": "nv"})
    assert found.home is None


def test_mistakes_are_one_sentence(workspace: Workspace, tmp_path: Path, folder: Path) -> None:
    with pytest.raises(DermaError, match="nowhere: no such folder or table"):
        evaluate_external(workspace, "champion", tmp_path / "nowhere")
    with pytest.raises(DermaError, match="--images: belongs to a table"):
        evaluate_external(workspace, "champion", folder, images=[folder])
    with pytest.raises(DermaError, match="no class of tiny: 'naevus'"):
        evaluate_external(workspace, "champion", folder)
    assert not (workspace.evaluation_images / "tiny").exists()
    for pair in ("melanoma", "=mel", "melanoma="):
        with pytest.raises(DermaError, match="write LABEL=CLASS or LABEL=drop, as in melanoma=mel"):
            parse_map([pair])
    assert parse_map(["a=b=mel", " Nevus = nv "]) == {"a=b": "mel", "Nevus": "nv"}


def test_the_command_takes_a_set_and_refuses_its_flags_without_one(
    workspace: Workspace,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("DERMA_ROOT", str(workspace.root))
    monkeypatch.setenv("COLUMNS", "120")
    with pytest.raises(DermaError, match="belong to --data"):
        evaluate("champion", map=["naevus=nv"])
    with pytest.raises(DermaError, match=r"--split: is of the data in data/; leave it out with"):
        evaluate("champion", split="val", data=folder)
    evaluate("champion", data=folder, map=["naevus=nv"], name="B", gallery=False)
    written = capsys.readouterr().out.replace("\n", "")  # A long path is broken into lines.
    for text in ("Malignant, ROC AUC", "Corrected", "Estimated", "external/B/report.html"):
        assert text in written
    kept = workspace.evaluation_images / "tiny" / "external" / "B"
    assert not list(kept.glob("gallery*"))
