"""Every bundle is a version; the alias champion moves to a better one only."""

import os
from collections.abc import Iterator
from pathlib import Path

import mlflow
import pytest
from filelock import FileLock, Timeout
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import TEMPORARILY_UNAVAILABLE
from mlflow.tracking import MlflowClient

from doctor_derma.bundle import read_info, write_info
from doctor_derma.errors import DermaError
from doctor_derma.tracking.registry import fetch_champion, model_name, register_bundle
from doctor_derma.tracking.store import open_store
from doctor_derma.workspace import Workspace
from tiny_bundle import write_bundle

CLASSES = ["mel", "nv", "vasc"]
NAME = "doctor-derma-colours"


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    before = mlflow.get_tracking_uri()
    yield Workspace(tmp_path_factory.mktemp("registry"))
    mlflow.set_tracking_uri(before)


def register(workspace: Workspace, bundle: Path, data: str, score: float) -> None:
    experiment = open_store(workspace)
    with mlflow.start_run(experiment_id=experiment):
        register_bundle(bundle, data, CLASSES, score)


def test_the_champion_is_the_best_so_far(
    workspace: Workspace, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    bundle = write_bundle(tmp_path / "bundle")
    champions = []
    for score in (0.6, 0.5, 0.6, 0.7):
        register(workspace, bundle, "colours", score)
        version = MlflowClient().get_model_version_by_alias(NAME, "champion")
        champions.append((int(version.version), version.tags["val_balanced_accuracy"]))
    assert champions == [(1, "0.600000"), (1, "0.600000"), (1, "0.600000"), (4, "0.700000")]
    assert len(MlflowClient().search_model_versions(f"name='{NAME}'")) == 4

    fetched = fetch_champion(workspace, "colours")
    assert read_info(fetched) == read_info(bundle)
    said = "".join(capfd.readouterr())
    assert "Successfully registered" not in said
    assert "Created version" not in said
    assert "Downloading artifacts" not in said


def test_of_two_that_end_at_once_the_better_one_is_champion(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between looking at the champion and taking its place, no other process may do so."""
    looks = []
    by_alias = MlflowClient.get_model_version_by_alias

    def look(client: MlflowClient, name: str, alias: str) -> ModelVersion:
        lock = FileLock(f"{workspace.tracking_database}.lock", is_singleton=False)
        with pytest.raises(Timeout):
            lock.acquire(timeout=0)
        looks.append((name, alias))
        return by_alias(client, name, alias)

    monkeypatch.setattr(MlflowClient, "get_model_version_by_alias", look)
    register(workspace, write_bundle(tmp_path / "bundle"), "raced", 0.5)
    assert looks == [("doctor-derma-raced", "champion")]


def test_a_champion_of_the_data_before_a_change_gives_way(
    workspace: Workspace, tmp_path: Path
) -> None:
    """Scores on other images are no measure, even where the set has kept its name."""
    name, bundle = "doctor-derma-corrected", write_bundle(tmp_path / "bundle")

    def champion_after(fingerprint: str, score: float) -> int:
        info = read_info(bundle)
        data = info.data.model_copy(update={"fingerprint": fingerprint * 64})
        write_info(bundle, info.model_copy(update={"data": data}))
        register(workspace, bundle, "corrected", score)
        return int(MlflowClient().get_model_version_by_alias(name, "champion").version)

    scored = [("1", 0.6), ("2", 0.5), ("2", 0.4), ("2", 0.55)]
    assert [champion_after(*each) for each in scored] == [1, 2, 2, 4]
    # As versions of before were: ranked with all others.
    MlflowClient().delete_model_version_tag(name, "4", "data_fingerprint")
    assert [champion_after("3", score) for score in (0.5, 0.7)] == [4, 6]


def test_a_champion_that_can_not_be_looked_up_stays(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = write_bundle(tmp_path / "bundle")
    register(workspace, bundle, "busy", 0.6)

    def refuse(*_: object) -> ModelVersion:
        raise MlflowException("503", TEMPORARILY_UNAVAILABLE)

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "get_model_version_by_alias", refuse)
        with pytest.raises(MlflowException, match="503"):
            register(workspace, bundle, "busy", 0.5)
    client = MlflowClient()
    assert int(client.get_model_version_by_alias("doctor-derma-busy", "champion").version) == 1


def test_other_data_have_a_champion_of_their_own(workspace: Workspace, tmp_path: Path) -> None:
    with pytest.raises(DermaError, match=r"no champion of 'doctor-derma-shapes' .*derma train"):
        fetch_champion(workspace, "shapes")
    register(workspace, write_bundle(tmp_path / "bundle"), "shapes", 0.1)
    assert fetch_champion(workspace, "shapes").is_dir()


@pytest.mark.parametrize(
    ("data", "name"),
    [("ham10000", "doctor-derma-ham10000"), ("a/b: c", "doctor-derma-a-b--c")],
)
def test_names_have_no_characters_that_mlflow_refuses(data: str, name: str) -> None:
    assert model_name(data) == name


def test_two_roots_in_one_process_stay_apart(workspace: Workspace) -> None:
    """MLflow exports the address of its store, which is not the wish of a user."""
    open_store(workspace)
    assert "MLFLOW_TRACKING_URI" not in os.environ
    assert mlflow.get_tracking_uri() == f"sqlite:///{workspace.tracking_database}"


def test_without_mlflow_the_champion_can_not_be_had(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = Workspace(tmp_path)
    broken.tracking_database.parent.mkdir(parents=True)
    broken.tracking_database.write_bytes(b"this is no database" * 100)
    with pytest.raises(
        DermaError, match=r"mlflow\.db: no database .*move it away.* by its name$"
    ) as c:
        fetch_champion(broken, "x")
    assert "\n" not in str(c.value)
