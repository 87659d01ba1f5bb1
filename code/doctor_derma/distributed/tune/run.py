"""A sweep from its settings to its best recipe: the steps of ``derma tune``."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from doctor_derma.data.cache import pixel_cache
from doctor_derma.data.manifest import Dataset, read_dataset
from doctor_derma.distributed.cluster import ADDRESS_VARIABLE, cluster
from doctor_derma.distributed.tune.folder import SweepFolder, create_sweep, open_sweep
from doctor_derma.distributed.tune.results import TrialRecord, ranked, trials_table, write_results
from doctor_derma.distributed.tune.sweep import Sweep
from doctor_derma.distributed.tune.tracking import SweepTracker
from doctor_derma.errors import DermaError
from doctor_derma.evaluation.tables import Table
from doctor_derma.terminal import terminal
from doctor_derma.training.config import Size, TrainConfig, read_size
from doctor_derma.workspace import Workspace

_MOST_ROWS = 10


@dataclass(frozen=True)
class Tuned:
    """A finished sweep: its trials, the best one first, and the best one's recipe."""

    name: str
    folder: Path
    sweep: Sweep
    records: list[TrialRecord]
    best_config: Path

    @property
    def best(self) -> TrialRecord:
        """The trial with the best score."""
        return self.records[0]

    @property
    def table(self) -> Table:
        """The best trials, for the terminal: ``console.print(tuned.table)``."""
        return trials_table(self.records, self.sweep, rows=_MOST_ROWS)


def tune(workspace: Workspace, sweep: Sweep, name: str | None, address: str | None) -> Tuned:
    """Run a new sweep, on this machine or on the cluster at an address.

    Its folder is ``mlflow/sweeps/<name>/``; each trial is a run ``<name>_<number>``. All
    machines must see the root under the same path.

    Raises
    ------
    DermaError
        When there is no data, the name is taken, a trial asks for more than there is, or
        every trial failed.
    KeyboardInterrupt
        When it was stopped; ``resume`` goes on.
    """
    dataset = read_dataset(workspace.data)
    made = create_sweep(workspace, sweep, name, dataset.info.name, dataset.fingerprint)
    return _run(workspace, made, dataset, address)


def resume(workspace: Workspace, name: str, address: str | None) -> Tuned:
    """Go on with a sweep that was stopped or killed; trials that had ended are not repeated.

    Raises as ``tune``, and a DermaError when there is no such sweep or the data have changed.
    """
    dataset = read_dataset(workspace.data)
    made = open_sweep(workspace, name)
    if made.info.data_fingerprint != dataset.fingerprint:
        raise DermaError(
            f"{dataset.folder}: not the data that sweep '{name}' began with; "
            "import those again, or begin a new sweep"
        )
    return _run(workspace, made, dataset, address)


def _run(workspace: Workspace, made: SweepFolder, dataset: Dataset, address: str | None) -> Tuned:
    tracker = SweepTracker(workspace, made)
    try:
        for size in _image_sizes(made.sweep):
            pixel_cache(dataset, *size)  # Here once, and not in every trial at a time.
        records = _train_trials(workspace, tracker, address)
        tracker.end_trials(records)
        if len(records) < made.sweep.trials or any(record.is_open for record in records):
            hint = f"Stopped; to go on: derma tune --resume {made.name}"
            terminal(error=True, soft_wrap=True).print(hint)
            raise KeyboardInterrupt
        return _conclude(made, records, tracker)
    except BaseException as error:
        tracker.finish("KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED")
        if isinstance(error, DermaError) and not made.tune.exists():
            shutil.rmtree(made.folder, ignore_errors=True)  # It never began, so nothing is lost.
        raise


def _train_trials(
    workspace: Workspace, tracker: SweepTracker, address: str | None
) -> list[TrialRecord]:
    made = tracker.made
    with cluster(address):
        # Only now, as cluster() sets what Ray reads when it is imported.
        from doctor_derma.distributed.tune.trial import Job
        from doctor_derma.distributed.tune.tuner import fit_trials

        if not (address or os.environ.get(ADDRESS_VARIABLE)):
            _check_resources(made.sweep)  # A cluster may get more machines when they are needed.
        tracker.start()
        made.remember_tracking_id(tracker.tracking_id)
        store = os.environ.get("MLFLOW_TRACKING_URI")
        job = Job(workspace.root, made.sweep, made.name, tracker.tracking_id, store)
        return fit_trials(made, workspace.runs, job)


def _conclude(made: SweepFolder, records: list[TrialRecord], tracker: SweepTracker) -> Tuned:
    order = ranked(records, made.sweep)
    found = order[0].best(made.sweep)
    if found is None:
        reasons = (record.failure for record in order if record.failure)
        reason = next(reasons, f"none has a {made.sweep.metric}")
        raise DermaError(
            f"sweep '{made.name}': no trial succeeded ({reason}); mend that and begin a new sweep, "
            f"or go on with 'derma tune --resume {made.name}'"
        )
    write_results(made, order)
    tracker.log_results(order[0], score=found[1])
    tracker.finish("FINISHED")
    return Tuned(made.name, made.folder, made.sweep, order, made.best_file)


def _image_sizes(sweep: Sweep) -> list[Size]:
    dimension = sweep.space.get("image_size")
    if dimension is None:
        default = TrainConfig.model_fields["image_size"].default
        return [read_size(sweep.base.get("image_size", default))]
    return [read_size(size) for size in dimension.values] if dimension.kind == "choice" else []


def _check_resources(sweep: Sweep) -> None:
    import ray

    there = ray.cluster_resources()
    for kind, asked in (("CPU", sweep.cpus_per_trial), ("GPU", sweep.gpus_per_trial)):
        if asked > there.get(kind, 0):
            raise DermaError(
                f"{kind.lower()}s_per_trial: {asked:g}: this machine has {there.get(kind, 0):g}; "
                "ask for fewer, or name a cluster with --address"
            )
