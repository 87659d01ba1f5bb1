"""``derma data check`` and ``apply``: a wrong label is found, corrected, and stays corrected."""

import io
import json
import re
import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from typer.testing import CliRunner

from doctor_derma.bundle import DataProvenance, read_info, write_info
from doctor_derma.commands.app import app
from doctor_derma.commands.data_check import check_data, find_judges
from doctor_derma.data.importers.importing import import_images
from doctor_derma.data.importers.records import SourceImage
from doctor_derma.data.manifest import DatasetInfo, read_dataset
from doctor_derma.errors import DermaError
from doctor_derma.workspace import Workspace
from project import new_run, recipe
from tiny_bundle import CLASSES, write_bundle

NAMES = [name for name, _ in CLASSES]
EACH = 10
# A red picture, which the tiny bundle calls mel, among the green ones.
WRONG = "nv3"


def coloured(seed: int, channel: int) -> bytes:
    """Draw a picture of shades of red, green or blue, unlike that of another seed."""
    shades = np.random.default_rng(seed).integers(80, 256, (8, 8), dtype=np.uint8)
    pixels = np.zeros((8, 8, 3), dtype=np.uint8)
    pixels[..., channel] = shades
    stream = io.BytesIO()
    Image.fromarray(pixels).resize((32, 32), Image.Resampling.NEAREST).save(stream, "PNG")
    return stream.getvalue()


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """A data set of coloured pictures, and bundles of three folds that were trained on it."""
    workspace = Workspace(tmp_path / "root")
    images = []
    for channel, name in enumerate(NAMES):
        for number in range(EACH):
            image = f"{name}{number}"
            seed = 100 * channel + number
            content = coloured(seed, 0 if image == WRONG else channel)
            images.append(
                SourceImage(image, image, partial(bytes, content), suffix=".png", dx=name)
            )
    import_images(images, DatasetInfo("colours", "made here", "CC0-1.0", 0), workspace.data)
    for fold in range(3):
        run = new_run(workspace.root, f"family-fold{fold}", folds=3, fold=fold)
        trained_bundle(workspace, run.bundle, folds=3, fold=fold)
    trained_bundle(workspace, workspace.champion)
    return workspace


def trained_bundle(workspace: Workspace, folder: Path, **changes: object) -> None:
    dataset = read_dataset(workspace.data)
    info = read_info(write_bundle(folder))
    data = DataProvenance(
        name="colours", fingerprint=dataset.fingerprint, licence="CC0-1.0", images={"train": 3}
    )
    settings = recipe(**changes).model_dump(mode="json")
    write_info(folder, info.model_copy(update={"data": data, "recipe": settings}))


def listed(workspace: Workspace, name: str) -> pd.DataFrame:
    folder = workspace.evaluation_images / "audits" / name / "data_check"
    return pd.read_csv(folder / "data_check.csv", keep_default_na=False)


def test_a_wrong_label_is_first_and_its_picture_on_the_page(workspace: Workspace) -> None:
    _, folder, notes = check_data(workspace, "family", 5)
    assert notes == []
    assert {path.name for path in folder.iterdir()} == {
        *("data_check.csv", "data_check.html", "data_check.json")
    }
    table = listed(workspace, "family")
    assert list(table.columns) == [
        *("path", "problem", "score", "label", "suggested", "action", "detail")
    ]
    of_label = table[table["problem"] == "label"]
    assert list(of_label["label"]) == ["nv"]
    [row] = of_label.to_dict("records")
    assert Path(row["path"]).stem == WRONG
    assert (row["suggested"], row["action"]) == ("relabel:mel", "")
    assert table["score"].is_monotonic_decreasing
    summary = json.loads((folder / "data_check.json").read_text())
    assert summary["judged"] == 3 * EACH
    assert summary["problems"]["label"] == 1

    page = (folder / "data_check.html").read_text()
    assert "Not a medical device" in page
    assert f"Picture {WRONG}" in page
    # One file: it asks nobody for anything.
    assert not re.search(r'(src|href)="(?!data:|#)', page)


def test_a_run_judges_what_it_has_not_trained_on(workspace: Workspace) -> None:
    dataset = read_dataset(workspace.data)
    split = dataset.table["split"].to_numpy()
    name, [(_, rows)] = find_judges(workspace, "champion", dataset)
    assert name == "tiny"
    assert set(rows) == set(np.flatnonzero(split != "train"))
    _, _, [note] = check_data(workspace, "champion", 5)
    assert note.startswith(f"{(split == 'train').sum()} images were in the training of tiny")

    # One that was trained on all but the test split has nothing else, unless its twin is here.
    refit = workspace.root / "refit"
    trained_bundle(workspace, refit, refit=True)
    write_info(refit, read_info(refit).model_copy(update={"twin": "gone-fold0"}))
    _, [(_, rows)] = find_judges(workspace, str(refit), dataset)
    assert set(rows) == set(np.flatnonzero(split == "test"))
    write_info(refit, read_info(refit).model_copy(update={"twin": "family-fold0"}))
    _, [(_, rows), (_, of_twin)] = find_judges(workspace, str(refit), dataset)
    assert set(rows) == set(np.flatnonzero(split == "test")) < set(of_twin)

    _, judges = find_judges(workspace, "family", dataset)
    judged = np.concatenate([rows for _, rows in judges])
    counts = np.bincount(judged)
    assert set(counts[split != "test"]) == {1}
    assert set(counts[split == "test"]) == {3}


def test_what_cannot_judge_is_refused(workspace: Workspace) -> None:
    shutil.rmtree(workspace.runs / "family-fold1" / "bundle")
    with pytest.raises(DermaError, match="family: family-fold1 did not come to an end"):
        check_data(workspace, "family", 5)
    with pytest.raises(DermaError, match="no such run"):
        check_data(workspace, "nobody", 5)
    write_bundle(workspace.champion)
    with pytest.raises(DermaError, match=r"trained on other data than .*data holds"):
        check_data(workspace, "champion", 5)


def test_an_edited_list_is_applied_and_never_written_over(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DERMA_ROOT", str(workspace.root))
    _, folder, _ = check_data(workspace, "family", 5)
    table = listed(workspace, "family")
    place = table["problem"] == "label"
    table.loc[place, "action"] = table.loc[place, "suggested"]
    file = folder / "data_check.csv"
    # As a spreadsheet saves it where a comma is in numbers.
    table.to_csv(file, index=False, sep=";")
    with pytest.raises(DermaError, match="1 action filled in and not applied"):
        check_data(workspace, "family", 5)

    before = read_dataset(workspace.data).fingerprint
    told = CliRunner().invoke(app, ["data", "apply", str(file)], input="n\n")
    assert told.exit_code == 0
    assert "1 of nv: relabel:mel" in told.output
    assert read_dataset(workspace.data).fingerprint == before
    with pytest.raises(DermaError, match="nothing was applied; say --yes"):
        CliRunner().invoke(app, ["data", "apply", str(file)], input="", catch_exceptions=False)

    CliRunner().invoke(app, ["data", "apply", str(file), "--yes"], catch_exceptions=False)
    dataset = read_dataset(workspace.data)
    [row] = dataset.table[dataset.table["image"] == WRONG].to_dict("records")
    assert row["class"] == "mel"
    assert row["path"].split("/")[1] == "mel"
    assert (workspace.data / row["path"]).is_file()
    # The networks were trained on what was there before.
    with pytest.raises(DermaError, match="trained on other data"):
        check_data(workspace, "family", 5)
    told = CliRunner().invoke(app, ["data", "describe"], catch_exceptions=False)
    assert "1 correction by data_check.csv" in " ".join(told.output.split())


def test_a_file_without_actions_does_nothing(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DERMA_ROOT", str(workspace.root))
    _, folder, _ = check_data(workspace, "family", 5)
    told = CliRunner().invoke(app, ["data", "apply", str(folder / "data_check.csv")])
    assert "no action that would change anything" in told.output
