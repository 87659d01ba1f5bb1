"""Several processes with one command: one run on disk, one in MLflow."""

from pathlib import Path

import pandas as pd
from mlflow.tracking import MlflowClient

from doctor_derma.training.runs import open_run
from doctor_derma.workspace import Workspace
from project import copy_data, derma, flags


def test_two_processes_train_one_run(lesions: Path, tmp_path: Path) -> None:
    workspace = Workspace(copy_data(lesions, tmp_path / "root"))
    settings = flags(devices=2, batch_size=8)

    done = derma("--root", workspace.root, "train", *settings, cwd=tmp_path)

    assert done.returncode == 0, done.stderr
    [folder] = workspace.runs.iterdir()
    run = open_run(workspace.runs, folder.name)
    assert list(pd.read_csv(run.metrics_file)["epoch"]) == [0, 1]
    assert (run.bundle / "model.json").is_file()
    assert done.stderr.count("epoch 1/2") == done.stderr.count("epoch 2/2") == 1
    assert done.stdout.count("Bundle:") == 1
    client = MlflowClient(f"sqlite:///{workspace.tracking_database}")
    [tracked] = client.search_runs([e.experiment_id for e in client.search_experiments()])
    assert tracked.info.run_id == run.info.tracking_id
    assert tracked.info.status == "FINISHED"
    [model] = client.search_registered_models()
    assert [version.version for version in model.latest_versions] in (["1"], [1])
