"""Sweeps: with ASHA and Optuna its runs, its parent in MLflow and its best recipe; populations."""

import json
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import ray
from mlflow.entities import Run as TrackedRun
from ray import tune as ray_tune

from distributed.tune.sweeps import children, store, sweep, tracked_as
from doctor_derma.data.manifest import read_dataset
from doctor_derma.distributed.tune.folder import SweepFolder, SweepInfo
from doctor_derma.distributed.tune.results import TrialRecord, write_results
from doctor_derma.distributed.tune.run import Tuned, tune
from doctor_derma.distributed.tune.tuner import FairPopulation
from doctor_derma.errors import DermaError
from doctor_derma.training.config import load_config
from doctor_derma.training.loop import train
from doctor_derma.training.runs import create_run, open_run
from doctor_derma.workspace import Workspace
from project import RECIPE, copy_data, without_foreign

EPOCHS = 3
POPULATION_EPOCHS = 4
FALLING_EPOCHS = 4
TRIALS = 4
METRIC = "val_macro_auc"


@pytest.fixture(scope="module")
def root(lesions: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_data(lesions, tmp_path_factory.mktemp("swept"))


@pytest.fixture(scope="module")
def tuned(ray_here: None, root: Path, tmp_path_factory: pytest.TempPathFactory) -> Tuned:
    """One trial at a time, so that the same ones are stopped on every machine."""
    changes = {
        "base": RECIPE | {"epochs": EPOCHS},
        "space": {
            "learning_rate": {"loguniform": [1e-5, 1e-2]},
            "batch_size": [8, 16],
            "dropout": {"uniform": [0.0, 0.3]},
        },
        "trials": TRIALS,
        "scheduler": "asha",
        "search": "optuna",
        "reduction": 2,
        "parallel": 1,
    }
    with without_foreign():
        asked = sweep(tmp_path_factory.mktemp("yaml"), **changes)
        return tune(Workspace(root), asked, "swept", None)


@pytest.fixture(scope="module")
def parent(tuned: Tuned, root: Path) -> TrackedRun:
    return tracked_as(store(root), "swept")


@pytest.fixture(scope="module")
def tracked(parent: TrackedRun, root: Path) -> dict[str, TrackedRun]:
    return children(store(root), parent.info.run_id)


def test_weights_of_a_file_are_in_the_best_recipe(tmp_path: Path) -> None:
    asked = sweep(tmp_path, base=RECIPE | {"pretrained": True, "weights": "x.pth"})
    made = SweepFolder(tmp_path, asked, SweepInfo("made", "now", "unknown", "lesions", "0" * 64))
    record = TrialRecord("made_01", "complete", {"learning_rate": 1e-3}, {1: 0.5}, 1.0, None)
    write_results(made, [record])
    assert load_config(made.best_file, {}).weights == Path("x.pth")


def scores(root: Path, name: str) -> list[float]:
    table = pd.read_csv(Workspace(root).runs / name / "metrics.csv")
    return list(table[METRIC])


def names() -> list[str]:
    return [f"swept_{number:02d}" for number in range(1, TRIALS + 1)]


def test_every_trial_is_a_run_with_settings_of_its_own(tuned: Tuned, root: Path) -> None:
    assert sorted(record.name for record in tuned.records) == names()
    configs = [open_run(Workspace(root).runs, name).config for name in names()]
    assert len({config.learning_rate for config in configs}) == TRIALS
    for config, name in zip(configs, names(), strict=True):
        (record,) = (record for record in tuned.records if record.name == name)
        assert record.settings == {key: getattr(config, key) for key in tuned.sweep.space}
        assert 1e-5 <= config.learning_rate <= 1e-2
        assert config.batch_size in (8, 16)
        assert config.epochs == EPOCHS


def test_asha_stops_some_and_not_all(tuned: Tuned, root: Path) -> None:
    states = {record.name: record.state for record in tuned.records}
    assert set(states.values()) == {"complete", "stopped early"}
    for name, state in states.items():
        assert (len(scores(root, name)) == EPOCHS) == (state == "complete")


def test_a_run_for_each_trial_under_the_sweep_in_mlflow(
    tuned: Tuned, parent: TrackedRun, tracked: dict[str, TrackedRun]
) -> None:
    assert parent.info.status == "FINISHED"
    assert sorted(tracked) == names()
    for record in tuned.records:
        run = tracked[record.name]
        assert run.info.status == "FINISHED"
        assert run.data.tags["pruned"] == str(record.state == "stopped early").lower()
        assert run.data.tags["sweep"] == "swept"
        assert run.data.params["learning_rate"] == str(record.settings["learning_rate"])


def test_mlflow_holds_every_epoch_once(tracked: dict[str, TrackedRun], root: Path) -> None:
    client = store(root)
    for name, run in tracked.items():
        history = client.get_metric_history(run.info.run_id, METRIC)
        assert [metric.step for metric in history] == list(range(len(scores(root, name))))
        assert [metric.value for metric in history] == pytest.approx(scores(root, name))


def test_the_parent_holds_the_results(tuned: Tuned, parent: TrackedRun, root: Path) -> None:
    client = store(root)
    files = {file.path for file in client.list_artifacts(parent.info.run_id)}
    assert files == {"sweep.yaml", "best.yaml", "trials.csv", "trials.png"}
    assert parent.data.tags["best_trial"] == tuned.best.name
    table = pd.read_csv(tuned.folder / "trials.csv")
    assert list(table["trial"]) == [record.name for record in tuned.records]
    assert list(table[METRIC]) == sorted(table[METRIC], reverse=True)
    files = {
        file.path
        for file in client.list_artifacts(
            children(client, parent.info.run_id)["swept_01"].info.run_id
        )
    }
    assert {"config.yaml", "metrics.csv", "curves.png", "trial.log"} <= files


def test_the_best_is_the_best(tuned: Tuned, parent: TrackedRun, root: Path) -> None:
    best = {name: max(scores(root, name)) for name in names()}
    winner = max(best, key=lambda name: best[name])
    assert tuned.best.name == winner
    assert parent.data.metrics[f"best_{METRIC}"] == pytest.approx(best[winner])
    text = tuned.best_config.read_text()
    assert f"{METRIC} {best[winner]:.6f}" in text
    assert winner in text


def test_the_best_recipe_trains_to_the_same_score(tuned: Tuned, root: Path) -> None:
    config = load_config(tuned.best_config, {})
    assert config == open_run(Workspace(root).runs, tuned.best.name).config
    dataset = read_dataset(root / "data")
    run = create_run(Workspace(root).runs, config, dataset, "again")
    train(run, dataset)
    known = scores(root, tuned.best.name)
    assert scores(root, "again")[: len(known)] == pytest.approx(known, abs=0.02)


def test_a_taken_name_is_refused(tuned: Tuned, root: Path) -> None:
    with pytest.raises(DermaError, match="go on with 'derma tune --resume swept'"):
        tune(Workspace(root), tuned.sweep, "swept", None)


def test_more_than_the_machine_has_is_refused(ray_here: None, root: Path, tmp_path: Path) -> None:
    asked = sweep(tmp_path, cpus_per_trial=4096)
    with pytest.raises(DermaError, match="cpus_per_trial: 4096: this machine has"):
        tune(Workspace(root), asked, "greedy", None)
    assert not (Workspace(root).sweeps / "greedy").exists()


def test_a_population_exchanges_states(
    ray_here: None, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Both trials need all cores, so they take turns, an epoch each."""
    asked = sweep(
        tmp_path,
        base=RECIPE | {"epochs": POPULATION_EPOCHS, "seed": 1},
        space={"learning_rate": {"loguniform": [3e-3, 1e-2]}, "dropout": [0.0, 0.1, 0.2]},
        trials=2,
        scheduler="pbt",
        cpus_per_trial=2,
    )
    workspace = Workspace(root)
    tuned = tune(workspace, asked, "population", None)
    shown = capsys.readouterr()
    assert shown.out == ""
    lines = sorted(line for line in shown.err.splitlines() if line.startswith("population_"))
    assert [line.split("  ")[0] for line in lines] == [
        f"population_0{number}: complete after {POPULATION_EPOCHS} epochs" for number in (1, 2)
    ]
    assert [record.state for record in tuned.records] == ["complete"] * 2
    client = store(root)
    tracked = children(client, tracked_as(client, "population").info.run_id)
    assert {run.info.status for run in tracked.values()} == {"FINISHED"}
    taken = {
        (name, tag): source
        for name, run in tracked.items()
        for tag, source in run.data.tags.items()
        if tag.startswith("taken_over_at_epoch_")
    }
    assert taken
    for (name, _), source in taken.items():
        assert {name, source} == {"population_01", "population_02"}
    for record in tuned.records:
        config = open_run(workspace.runs, record.name).config
        assert record.settings == {key: getattr(config, key) for key in asked.space}
        assert 3e-3 <= config.learning_rate <= 1e-2
        assert config.dropout in (0.0, 0.1, 0.2)
        assert max(record.scores) == POPULATION_EPOCHS
    moved = {name for name, _ in taken}
    logged = {name: float(run.data.params["learning_rate"]) for name, run in tracked.items()}
    for name in moved:
        assert open_run(workspace.runs, name).config.learning_rate != pytest.approx(logged[name])


def test_no_trial_has_all_the_turns(ray_here: None, tmp_path: Path) -> None:
    """One falls behind the other's first epoch, which by Ray's own rule it takes over for ever."""
    log, state_file = tmp_path / "turns.txt", "epochs.json"

    def fall(config: dict[str, Any]) -> None:
        """Train for some epochs, each with a lower score than the one before."""
        epochs = 0
        if checkpoint := ray_tune.get_checkpoint():
            with checkpoint.as_directory() as folder:
                epochs = json.loads((Path(folder) / state_file).read_text())
        for epoch in range(epochs + 1, FALLING_EPOCHS + 1):
            with log.open("a") as stream:
                stream.write(f"{ray_tune.get_context().get_trial_name()} {epoch}\n")
            turns = len(log.read_text().splitlines())
            assert turns < 10 * FALLING_EPOCHS, "one trial had all the turns"
            with tempfile.TemporaryDirectory() as folder:
                (Path(folder) / state_file).write_text(json.dumps(epoch))
                state = ray_tune.Checkpoint.from_directory(folder)
                score = -epoch - turns / 1000
                ray_tune.report({"epoch": epoch, "score": score}, checkpoint=state)

    results = ray_tune.Tuner(
        ray_tune.with_resources(fall, {"cpu": ray.cluster_resources()["CPU"]}),
        param_space={"x": ray_tune.uniform(0, 1)},
        tune_config=ray_tune.TuneConfig(
            metric="score",
            mode="max",
            num_samples=2,
            reuse_actors=True,
            scheduler=FairPopulation(
                time_attr="epoch",
                perturbation_interval=1,
                hyperparam_mutations={"x": ray_tune.uniform(0, 1)},
            ),
            trial_name_creator=str,
        ),
        run_config=ray_tune.RunConfig(
            name="falling",
            storage_path=str(tmp_path),
            verbose=0,
            checkpoint_config=ray_tune.CheckpointConfig(num_to_keep=FALLING_EPOCHS),
        ),
    ).fit()

    assert not results.errors
    turns = [line.split() for line in log.read_text().splitlines()]
    assert [epoch for _, epoch in turns].count(str(FALLING_EPOCHS)) == 2
    counts = Counter(name for name, _ in turns)
    assert len(counts) == 2
    assert max(counts.values()) - min(counts.values()) <= 1
