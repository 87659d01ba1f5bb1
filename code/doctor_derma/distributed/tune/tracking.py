"""The MLflow side of a sweep: one run for the sweep, the parent of a run for each trial."""

from collections.abc import Iterable

from mlflow.tracking import MlflowClient
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID, MLFLOW_RUN_NAME

from doctor_derma.distributed.tune.folder import SWEEP_FILE, SweepFolder
from doctor_derma.distributed.tune.handover import LOG_FILE
from doctor_derma.distributed.tune.results import State, TrialRecord
from doctor_derma.tracking.store import open_store
from doctor_derma.tracking.tracker import Guard, guarded
from doctor_derma.training.epochs import CURVES_FILE, plot_curves
from doctor_derma.training.runs import CONFIG_FILE, Run
from doctor_derma.workspace import Workspace

PRUNED_TAG = "pruned"
# A pruned trial has ended as it should; the tag tells it from one that trained to its end.
_STATUS = {"complete": "FINISHED", "stopped early": "FINISHED", "failed": "FAILED"}


class SweepTracker(Guard):
    """Logs a sweep to MLflow."""

    def __init__(self, workspace: Workspace, made: SweepFolder) -> None:
        super().__init__(workspace)
        self.made = made
        self.tracking_id = made.info.tracking_id
        self.experiment = ""

    @guarded
    def start(self) -> None:
        """Open the sweep's run in MLflow, or go on with the one it was tracked as."""
        self.experiment = open_store(self.workspace)
        client = MlflowClient()
        if self.tracking_id is None:
            info, sweep = self.made.info, self.made.sweep
            tags = {MLFLOW_RUN_NAME: info.name, "sweep_folder": str(self.made.folder)}
            for name in ("git_commit", "data_name", "data_fingerprint"):
                tags[name] = getattr(info, name)
            self.tracking_id = client.create_run(self.experiment, tags=tags).info.run_id
            for name in ("trials", "scheduler", "search", "metric", "seed"):
                client.log_param(self.tracking_id, name, getattr(sweep, name))
        else:
            client.update_run(self.tracking_id, "RUNNING")
        client.log_artifact(self.tracking_id, str(self.made.folder / SWEEP_FILE))

    @guarded
    def end_trials(self, records: Iterable[TrialRecord]) -> None:
        """Give the runs of all trials their files and their last status, RUNNING for none."""
        client = MlflowClient()
        for record in records:
            if record.run and (run_id := record.run.info.tracking_id):
                if not record.is_open:
                    _log_trial(client, run_id, record.run, record.state)
                client.set_terminated(run_id, _STATUS.get(record.state, "KILLED"))
        # Trials that nobody ended: those of a driver that was killed.
        under = f"tags.`{MLFLOW_PARENT_RUN_ID}` = '{self.tracking_id}'"
        query = f"{under} and attributes.status = 'RUNNING'"
        for running in client.search_runs([self.experiment], query):
            client.set_terminated(running.info.run_id, "KILLED")

    @guarded
    def log_results(self, best: TrialRecord, score: float) -> None:
        """Log the best recipe, the table and the plot."""
        client = MlflowClient()
        run_id = str(self.tracking_id)
        client.log_metric(run_id, f"best_{self.made.sweep.metric}", score)
        client.set_tag(run_id, "best_trial", best.name)
        for path in (self.made.best_file, self.made.table_file, self.made.plot_file):
            client.log_artifact(run_id, str(path))

    @guarded
    def finish(self, status: str) -> None:
        """Close the sweep's run as FINISHED, FAILED or KILLED."""
        if self.tracking_id:
            MlflowClient().set_terminated(self.tracking_id, status)


def _log_trial(client: MlflowClient, run_id: str, run: Run, state: State) -> None:
    client.set_tag(run_id, PRUNED_TAG, str(state == "stopped early").lower())
    if run.metrics_file.is_file():
        plot_curves(run.metrics_file, run.folder / CURVES_FILE, run.name)
    for name in (CONFIG_FILE, run.metrics_file.name, CURVES_FILE, LOG_FILE):
        if (path := run.folder / name).is_file():
            client.log_artifact(run_id, str(path))
