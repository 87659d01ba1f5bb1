"""A population that takes turns: nobody waits for ever, however badly the others do."""

import json
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import ray
from ray import tune

from doctor_derma.distributed.tune.tuner import FairPopulation

pytestmark = pytest.mark.usefixtures("ray_here")
EPOCHS = 4
STATE_FILE = "epochs.json"


def fall(config: dict[str, Any], log: Path) -> None:
    """Train for some epochs, each with a lower score than the one before."""
    epochs = 0
    if checkpoint := tune.get_checkpoint():
        with checkpoint.as_directory() as folder:
            epochs = json.loads((Path(folder) / STATE_FILE).read_text())
    for epoch in range(epochs + 1, EPOCHS + 1):
        with log.open("a") as stream:
            stream.write(f"{tune.get_context().get_trial_name()} {epoch}\n")
        turns = len(log.read_text().splitlines())
        assert turns < 10 * EPOCHS, "one trial had all the turns"
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / STATE_FILE).write_text(json.dumps(epoch))
            state = tune.Checkpoint.from_directory(folder)
            tune.report({"epoch": epoch, "score": -epoch - turns / 1000}, checkpoint=state)


def test_no_trial_has_all_the_turns(tmp_path: Path) -> None:
    """One falls behind the other's first epoch, which by Ray's own rule it takes over for ever."""
    log = tmp_path / "turns.txt"
    trainable = tune.with_parameters(fall, log=log)
    cpus = ray.cluster_resources()["CPU"]
    results = tune.Tuner(
        tune.with_resources(trainable, {"cpu": cpus}),
        param_space={"x": tune.uniform(0, 1)},
        tune_config=tune.TuneConfig(
            metric="score",
            mode="max",
            num_samples=2,
            reuse_actors=True,
            scheduler=FairPopulation(
                time_attr="epoch",
                perturbation_interval=1,
                hyperparam_mutations={"x": tune.uniform(0, 1)},
            ),
            trial_name_creator=str,
        ),
        run_config=tune.RunConfig(
            name="falling",
            storage_path=str(tmp_path),
            verbose=0,
            checkpoint_config=tune.CheckpointConfig(num_to_keep=EPOCHS),
        ),
    ).fit()

    assert not results.errors
    turns = [line.split() for line in log.read_text().splitlines()]
    assert [epoch for _, epoch in turns].count(str(EPOCHS)) == 2
    counts = Counter(name for name, _ in turns)
    assert len(counts) == 2
    assert max(counts.values()) - min(counts.values()) <= 1
