"""Every notebook runs from its first cell to its last, on the synthetic set."""

import base64
import importlib
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient
from nbformat import NotebookNode
from PIL import Image

from doctor_derma.data.importers.importing import import_images
from doctor_derma.data.manifest import DatasetInfo
from doctor_derma.data.synthetic.synthesis import SYNTHETIC, scaled_counts, synthesize
from doctor_derma.training.config import TrainConfig
from doctor_derma.training.runs import INFO_FILE, Run, open_run
from doctor_derma.workspace import ROOT_VARIABLE, Workspace
from project import own_environment

FOLDER = Path(__file__).resolve().parents[2] / "code" / "notebooks"
FIGURES = {
    "01_explore_data": 4,
    "02_squeeze_and_excitation": 6,
    "03_efficient_channel_attention": 7,
    "04_compare_models": 5,
    "05_call_the_api": 2,
}
# Two epochs of the images: enough for every cell to have something to draw.
BRIEF_IMAGES = 300
Executed = Callable[[str], NotebookNode]


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A workspace with a synthetic set; the notebooks share it, so each network trains once."""
    workspace = Workspace(tmp_path_factory.mktemp("workspace"))
    drawn = synthesize(scaled_counts(210))
    import_images(drawn, DatasetInfo(*SYNTHETIC, seed=0), workspace.data)
    return workspace


@pytest.fixture(scope="module")
def executed(workspace: Workspace) -> Iterator[Executed]:
    """Give the name of a notebook, get it with its outputs; it is executed once.

    One kernel runs all of them, as it takes seconds to load torch and MLflow. Each begins without
    the names of the one before, but with its modules and their settings.
    """
    kept: dict[str, NotebookNode] = {}
    folder = {"metadata": {"path": str(FOLDER)}}
    client = NotebookClient(nbformat.v4.new_notebook(), timeout=240, resources=folder)

    def execute(name: str) -> NotebookNode:
        if name not in kept:
            client.nb = read(name)
            client.nb.cells.insert(0, nbformat.v4.new_code_cell("%reset -f"))
            kept[name] = client.execute(cleanup_kc=False)
        return kept[name]

    settings = {ROOT_VARIABLE: str(workspace.root), "DERMA_BRIEF_IMAGES": str(BRIEF_IMAGES)}
    with client.setup_kernel(env=own_environment(**settings)):
        yield execute


def read(name: str) -> NotebookNode:
    return nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)


def outputs(notebook: NotebookNode) -> list[NotebookNode]:
    return [output for cell in notebook.cells for output in cell.get("outputs", [])]


def pictures(notebook: NotebookNode) -> list[np.ndarray]:
    encoded = [output.get("data", {}).get("image/png") for output in outputs(notebook)]
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(png)))) for png in encoded if png]


def test_every_notebook_is_tested():
    assert sorted(path.stem for path in FOLDER.glob("*.ipynb")) == sorted(FIGURES)


@pytest.mark.parametrize("name", FIGURES)
def test_a_notebook_is_kept_without_outputs(name: str):
    notebook = read(name)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert outputs(notebook) == []
    assert {cell.execution_count for cell in code} == {None}


@pytest.mark.parametrize("name", FIGURES)
def test_a_notebook_runs_and_draws(name: str, executed: Executed):
    notebook = executed(name)
    drawn = pictures(notebook)
    assert len(drawn) == FIGURES[name]
    # A figure without anything in it would be of one colour.
    assert all(picture[..., :3].std() > 1 for picture in drawn)
    assert "Warning" not in str(outputs(notebook))


def test_a_network_is_trained_once_and_tracked(workspace: Workspace, executed: Executed):
    executed("02_squeeze_and_excitation")
    executed("04_compare_models")
    assert [path.name for path in workspace.runs.glob("*se_resnet18*")] == ["brief_se_resnet18"]
    run = open_run(workspace.runs, "brief_se_resnet18")
    assert (run.bundle / "model.onnx").is_file()
    assert run.info.tracking_id
    # What the notebooks compare stays out of the folder that holds the real evaluations.
    assert not workspace.evaluation_images.exists()


def test_the_best_run_is_none_that_trained_on_the_validation_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.syspath_prepend(FOLDER)
    start = importlib.import_module("start")
    runs: dict[str, tuple[float, dict[str, Any]]] = {
        "worse": (0.6, {}),
        "best": (0.7, {}),
        "fold": (0.9, {"folds": 5, "fold": 0}),
        "source": (0.9, {"leave_source_out": "clinic"}),
        "refit": (0.9, {"refit": True}),
    }
    workspace = Workspace(tmp_path)
    for name in runs:
        (workspace.runs / name / "bundle").mkdir(parents=True)
        (workspace.runs / name / INFO_FILE).touch()

    def opened(folder: Path, name: str) -> Run:
        config = TrainConfig(model="resnet18", **runs[name][1])
        info: Any = SimpleNamespace(name=name, data_fingerprint="0")
        return Run(folder / name, config, info)

    def read(bundle: Path) -> SimpleNamespace:
        score = runs[bundle.parent.name][0]
        return SimpleNamespace(metrics={"val": {"balanced_accuracy": score}})

    monkeypatch.setattr(start, "open_run", opened)
    monkeypatch.setattr(start, "read_info", read)
    found = start.best_run(workspace, SimpleNamespace(fingerprint="0"), "resnet18")
    assert found.name == "best"


def test_a_busy_server_refuses_at_once_and_answers_in_the_end(executed: Executed):
    printed = "".join(output.get("text", "") for output in outputs(executed("05_call_the_api")))
    assert "Busy (503)" in printed
    assert "10 of 10 answered\n" in printed


def test_the_notebook_asks_the_server_that_it_is_told(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(FOLDER)
    server = importlib.import_module("local_server")
    monkeypatch.setenv(server.URL_VARIABLE, "http://example.org")
    found = server.find_server(Path("nowhere"))
    assert found == server.Server("http://example.org")
    # It is somebody else's: stopping it does nothing.
    found.stop()


def test_a_server_that_does_not_start_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(FOLDER)
    server = importlib.import_module("local_server")
    with pytest.raises(RuntimeError, match=r"did not start: .*model\.json"):
        server.start_server(tmp_path)


def test_without_data_a_synthetic_set_is_drawn_into_a_scratch_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.syspath_prepend(FOLDER)
    start = importlib.import_module("start")
    empty, scratch = tmp_path / "empty", tmp_path / "scratch"
    empty.mkdir()
    monkeypatch.setenv(ROOT_VARIABLE, str(empty))
    monkeypatch.setattr(start, "SCRATCH", scratch)
    monkeypatch.setattr(start, "synthesize", lambda: synthesize(scaled_counts(70)))
    workspace, dataset = start.open_dataset()
    assert workspace.root == scratch
    assert dataset.info.name == "synthetic"
    assert list(empty.iterdir()) == []
    # The rest of the notebook, and a second one, find the same set.
    assert Workspace.find() == workspace
    assert start.open_dataset()[1].fingerprint == dataset.fingerprint
