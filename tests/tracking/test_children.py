"""Runs that are part of another run."""

from pathlib import Path

from mlflow.tracking import MlflowClient

from doctor_derma.tracking.store import open_store
from doctor_derma.tracking.tracker import Tracker
from doctor_derma.workspace import Workspace
from project import new_run


def test_a_child_run_has_its_parent_and_its_tags(root: Path) -> None:
    workspace = Workspace(root)
    experiment = open_store(workspace)
    client = MlflowClient()
    parent = client.create_run(experiment).info.run_id
    run = new_run(root, "child")

    first = Tracker(workspace)
    first.start(run, parent=parent, tags={"sweep": "a sweep"})
    first.finish()
    run = run.with_tracking_id(first.tracking_id)
    again = Tracker(workspace)
    again.start(run, parent=parent, tags={"sweep": "another", "more": "yes"})
    again.finish()

    assert first.reachable
    assert again.reachable
    assert again.tracking_id == first.tracking_id
    child = client.get_run(str(first.tracking_id))
    assert child.data.tags["mlflow.parentRunId"] == parent
    assert child.data.tags["sweep"] == "another"
    assert child.data.tags["more"] == "yes"
    assert child.data.tags["data_name"] == run.info.data_name
    assert client.get_run(parent).info.status == "RUNNING"
