"""The folder of a run: made once, opened by name or path, refused in one sentence."""

import json
from pathlib import Path

import pytest

from doctor_derma.data.manifest import Dataset, read_dataset
from doctor_derma.errors import DermaError
from doctor_derma.training import runs
from doctor_derma.training.runs import create_run, git_commit, is_first_process, open_run
from project import recipe


@pytest.fixture(scope="module")
def dataset(lesions: Path) -> Dataset:
    return read_dataset(lesions / "data")


def test_what_was_created_is_opened_by_name_and_by_path(dataset: Dataset, tmp_path: Path) -> None:
    made = create_run(tmp_path, recipe(epochs=5), dataset, "first")
    assert made.info.data_fingerprint == dataset.fingerprint
    assert made.info.classes == list(dataset.classes)
    assert made.info.images == {split: len(dataset.split(split)) for split in made.info.images}
    assert open_run(tmp_path, "first") == made
    assert open_run(tmp_path / "elsewhere", str(tmp_path / "first")) == made
    tracked = made.with_tracking_id("abc")
    assert open_run(tmp_path, "first").info.tracking_id == "abc" == tracked.info.tracking_id


def test_weights_of_a_file_are_in_what_is_opened(dataset: Dataset, tmp_path: Path) -> None:
    made = create_run(tmp_path, recipe(pretrained=True, weights="x.pth"), dataset, "first")
    assert made.config.weights == Path("x.pth")
    assert open_run(tmp_path, "first") == made


@pytest.mark.parametrize("error", [OSError, ValueError, KeyboardInterrupt])
def test_what_can_not_be_written_leaves_no_folder(
    error: type[BaseException], dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> str:
        raise error

    monkeypatch.setattr(runs.yaml, "safe_dump", fail)
    with pytest.raises(error):
        create_run(tmp_path, recipe(), dataset, "first")
    assert not (tmp_path / "first").exists()


def test_a_name_is_made_from_model_and_time(dataset: Dataset, tmp_path: Path) -> None:
    made = create_run(tmp_path, recipe(model="timm/test_resnet"), dataset, None)
    assert made.name.startswith("timm-test_resnet-20")
    assert made.folder.parent == tmp_path


def test_a_taken_name_is_refused(dataset: Dataset, tmp_path: Path) -> None:
    create_run(tmp_path, recipe(), dataset, "first")
    with pytest.raises(DermaError, match=r"first: a run of that name exists; .* --resume first"):
        create_run(tmp_path, recipe(), dataset, "first")


@pytest.mark.parametrize(
    "name",
    [
        *("../out", "a/b", "", " ", ".hidden"),
        *("champion", "comparison", "seeds", "Seeds", "audits", "README.md"),
    ],
)
def test_names_that_are_no_folder_of_their_own(name: str, dataset: Dataset, tmp_path: Path) -> None:
    if name:  # An empty one is none, and one is made.
        with pytest.raises(DermaError, match="not a name for a run; use letters, digits"):
            create_run(tmp_path / "runs", recipe(), dataset, name)
        assert not (tmp_path / "runs").exists()
    else:
        assert create_run(tmp_path, recipe(), dataset, name).name


def test_an_unknown_run_names_those_that_are_there(dataset: Dataset, tmp_path: Path) -> None:
    with pytest.raises(DermaError, match="first: no such run; none was trained yet"):
        open_run(tmp_path, "first")
    create_run(tmp_path, recipe(), dataset, "second")
    create_run(tmp_path, recipe(), dataset, "third")
    with pytest.raises(DermaError, match="first: no such run; the runs are second, third"):
        open_run(tmp_path, "first")


@pytest.mark.parametrize("content", ["{", "[]", '{"name": "x"}', '{"surprise": 1}'])
def test_a_damaged_run_is_one_sentence(content: str, dataset: Dataset, tmp_path: Path) -> None:
    made = create_run(tmp_path, recipe(), dataset, "first")
    (made.folder / runs.INFO_FILE).write_text(content)
    with pytest.raises(DermaError, match=r"run\.json: damaged .*; train again"):
        open_run(tmp_path, "first")


def test_runs_of_an_earlier_version_open(dataset: Dataset, tmp_path: Path) -> None:
    """The tracking id came to be written later than the rest, and settings get added."""
    made = create_run(tmp_path, recipe(), dataset, "first")
    info = json.loads((made.folder / runs.INFO_FILE).read_text())
    del info["tracking_id"]
    (made.folder / runs.INFO_FILE).write_text(json.dumps(info))
    (made.folder / runs.CONFIG_FILE).write_text("model: se_resnet18\n")
    opened = open_run(tmp_path, "first")
    assert (opened.info.tracking_id, opened.config.model) == (None, "se_resnet18")


@pytest.mark.parametrize("variable", ["RANK", "LOCAL_RANK", "NODE_RANK", "SLURM_PROCID"])
def test_later_processes_open_what_the_first_has_made(
    variable: str, dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert is_first_process()
    made = create_run(tmp_path, recipe(), dataset, "shared")
    monkeypatch.setenv(variable, "1")
    assert not is_first_process()
    # The first process leaves the name in the environment of those that it starts.
    assert create_run(tmp_path, recipe(), dataset, None) == made
    monkeypatch.delenv(runs.RUN_VARIABLE)
    assert create_run(tmp_path, recipe(), dataset, "shared") == made
    with pytest.raises(DermaError, match="--name: missing; training on several machines"):
        create_run(tmp_path, recipe(), dataset, None)
    monkeypatch.setattr(runs, "_PATIENCE_SECONDS", 0.1)
    with pytest.raises(DermaError, match="the first process has not made it; is it shared"):
        create_run(tmp_path, recipe(), dataset, "never")


def test_the_commit_is_that_of_the_code_from_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = git_commit()
    monkeypatch.chdir(tmp_path)
    assert git_commit() == here
    monkeypatch.setenv("PATH", str(tmp_path))
    assert git_commit() == "unknown"
