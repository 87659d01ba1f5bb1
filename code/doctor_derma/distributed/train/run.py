"""A run on a cluster: the counterpart of ``doctor_derma.training.loop.train``."""

import json

from doctor_derma.atomic import replacing_file
from doctor_derma.data.cache import pixel_cache
from doctor_derma.data.manifest import Dataset
from doctor_derma.distributed.cluster import cluster
from doctor_derma.errors import DermaError
from doctor_derma.training.epochs import OnEpoch
from doctor_derma.training.folds import parts_of
from doctor_derma.training.loop import check_data
from doctor_derma.training.runs import Run, has_ended

WORKERS_FILE = "workers.json"


def train_on_ray(
    run: Run,
    dataset: Dataset,
    workers: int,
    on_epoch: OnEpoch | None = None,
    address: str | None = None,
) -> bool:
    """Train a run with workers on a Ray cluster, going on from its last checkpoint.

    Does what ``training.loop.train`` does, with one process a worker: gradients are averaged
    over the workers, each of which takes ``batch_size`` images a step. A worker that dies is
    started again with the others, from the last checkpoint, three times at most.

    Parameters
    ----------
    workers : number of processes, each with CPUs of its own, or a GPU
    on_epoch : called in this process with each epoch and its metrics, once its checkpoint is
        written
    address : of a Ray cluster; None for one on this machine alone

    Returns
    -------
    True, as this is the process that exports and tracks

    Raises
    ------
    DermaError
        When there are no or too many workers, the cluster is not reached, a worker does not see
        the run or the data, the workers keep failing, or as ``train`` does.
    """
    _check(run, dataset, workers)
    check_data(run, dataset)
    if has_ended(run.folder):
        return True
    with cluster(address):
        # Only now: the cluster's settings have to be there before Ray is imported.
        import ray

        from doctor_derma.distributed.train.driver import divide, drive

        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        resources = divide(workers, run.config.accelerator, nodes)
        # Here, so that no two machines decode the same images.
        pixel_cache(dataset, *run.config.image_size)
        write_workers(run, workers)
        drive(run, dataset, workers, resources, on_epoch, advice=how_to_go_on(run, workers))
    return True


def _check(run: Run, dataset: Dataset, workers: int) -> None:
    config = run.config
    if workers < 1:
        raise DermaError(f"--workers {workers}: at least one has to work; use 1 or more")
    for setting, value in (("devices", config.devices), ("nodes", config.nodes)):
        if value not in ("auto", 1):
            raise DermaError(
                f"--{setting} {value}: on Ray the workers are what trains; leave it out and say "
                "--workers"
            )
    parts = parts_of(dataset, config)
    for split, rows, least in (("train", parts.train, 2), ("val", parts.val, 1)):
        if len(rows) < least * workers:
            raise DermaError(
                f"--workers {workers}: the {split} split has {len(rows)} images, and each worker "
                f"needs {least} or more; take fewer workers"
            )
    began = read_workers(run)
    if run.last_checkpoint.is_file() and began != workers:
        raise DermaError(
            f"--workers {workers}: run '{run.name}' began with {began}, and its learning rate "
            f"counts the steps of those; {how_to_go_on(run, began)}"
        )


def write_workers(run: Run, workers: int) -> None:
    """Remember with how many workers a run is trained."""
    with replacing_file(run.folder / WORKERS_FILE) as scratch:
        scratch.write_text(json.dumps({"workers": workers}) + "\n")


def read_workers(run: Run) -> int:
    """Return the number of workers a run began with, 1 where it began without Ray.

    Raises a DermaError when the file is damaged.
    """
    path = run.folder / WORKERS_FILE
    if not path.is_file():
        return 1
    try:
        return int(json.loads(path.read_text())["workers"])
    except (ValueError, TypeError, KeyError) as error:
        raise DermaError(f'{path}: damaged; write {{"workers": N}} into it') from error


def how_to_go_on(run: Run, workers: int) -> str:
    """Return the advice that ends a message about a run that stopped."""
    return f"go on with: derma train --resume {run.name} --engine ray --workers {workers}"
