"""Jupyter and MLflow: a run made in one is in the other at once, and survives a kill."""

import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from containers.stack import Stack, run

NAME = "in_a_container"


@pytest.fixture(scope="session")
def mlflow(workbench_ports: tuple[int, int]) -> str:
    return f"http://127.0.0.1:{workbench_ports[1]}"


@pytest.fixture(scope="session")
def trained(workbench: Stack, checkout: tuple[Path, int, int]) -> Path:
    """The copy of the project, after a short training inside Jupyter's container."""
    workbench.execute("jupyter", "derma", "data", "synthesize", seconds=300)
    workbench.execute(
        *("jupyter", "derma", "train", "--config", "code/configs/demo.yaml"),
        *("--model", "eca_resnet18", "--epochs", "1", "--name", NAME),
        seconds=900,
    )
    return checkout[0]


def runs_in(mlflow: str) -> list[dict[str, Any]]:
    """Return the runs that MLflow tells of over HTTP."""
    with httpx.Client(base_url=f"{mlflow}/api/2.0/mlflow", trust_env=False, timeout=30) as client:
        found = client.post("/experiments/search", json={"max_results": 100}).json()
        ids = [each["experiment_id"] for each in found["experiments"]]
        answer = client.post("/runs/search", json={"experiment_ids": ids, "max_results": 100})
        return list(answer.json().get("runs", []))


def test_both_ports_are_open_to_this_machine_only(workbench: Stack) -> None:
    for service in ("jupyter", "mlflow"):
        ports = workbench.inspect(service)["NetworkSettings"]["Ports"]
        published = [each for bindings in ports.values() for each in bindings or []]
        assert [each["HostIp"] for each in published] == ["127.0.0.1"]


def test_jupyter_runs_nothing_without_its_token(
    workbench: Stack, workbench_ports: tuple[int, int]
) -> None:
    url = f"http://127.0.0.1:{workbench_ports[0]}"
    assert httpx.get(f"{url}/api/contents", trust_env=False).status_code == 403
    assert httpx.post(f"{url}/api/kernels", trust_env=False).status_code == 403
    log = workbench.compose("logs", "jupyter").stdout
    token = log.split("?token=")[1].split()[0]
    assert len(token) >= 32
    told = httpx.get(f"{url}/api/contents", params={"token": token}, trust_env=False)
    assert told.status_code == 200
    assert "code" in {entry["name"] for entry in told.json()["content"]}


def test_both_run_as_the_owner_of_the_files_without_capabilities(
    workbench: Stack, checkout: tuple[Path, int, int]
) -> None:
    for service in ("jupyter", "mlflow"):
        assert workbench.execute(service, "id", "-u").stdout.strip() == str(checkout[1])
        status = workbench.execute(service, "cat", "/proc/self/status").stdout
        assert "CapEff:\t0000000000000000" in status


def test_a_run_trained_in_jupyter_is_in_mlflow_and_the_users(
    trained: Path, checkout: tuple[Path, int, int], mlflow: str
) -> None:
    (found,) = [each for each in runs_in(mlflow) if each["info"]["run_name"] == NAME]
    assert found["info"]["status"] == "FINISHED"
    metrics = {each["key"]: each["value"] for each in found["data"]["metrics"]}
    assert metrics
    folder = trained / "mlflow" / "runs" / NAME
    assert (folder / "bundle" / "model.onnx").is_file()
    for path in [trained / "mlflow/db/mlflow.db", *folder.rglob("*")]:
        assert path.stat().st_uid == checkout[1], path


def test_a_backup_made_while_mlflow_runs_holds_the_run(trained: Path, tmp_path: Path) -> None:
    script, archive = trained / "docker" / "backup.py", tmp_path / "backup.tar.gz"
    for action, folder in (("save", trained / "mlflow"), ("restore", tmp_path / "restored")):
        command = [sys.executable, str(script), action, str(archive), "--folder", str(folder)]
        subprocess.run(command, check=True, capture_output=True, timeout=120)
    with closing(sqlite3.connect(tmp_path / "restored/db/mlflow.db")) as database:
        names = [name for (name,) in database.execute("SELECT name FROM runs")]
    assert NAME in names
    assert (tmp_path / "restored" / "runs" / NAME / "bundle" / "model.onnx").is_file()


def test_nothing_is_lost_when_mlflow_is_killed(
    workbench: Stack, trained: Path, mlflow: str
) -> None:
    before = json.dumps(runs_in(mlflow), sort_keys=True)
    run(["docker", "kill", "--signal", "KILL", workbench.container("mlflow")])
    workbench.compose("up", "-d", seconds=300)
    workbench.wait_until_healthy("mlflow")
    assert json.dumps(runs_in(mlflow), sort_keys=True) == before
    with closing(sqlite3.connect(trained / "mlflow/db/mlflow.db")) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
