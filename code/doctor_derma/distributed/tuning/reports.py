"""What Tune hears of a trial: each validated epoch, once it is kept."""

import lightning
from lightning.pytorch.callbacks import Checkpoint
from ray import tune

from doctor_derma.distributed.tuning.exchange import hand_over
from doctor_derma.distributed.tuning.trial_run import EPOCH, validated_epochs
from doctor_derma.tracking.tracker import Tracker
from doctor_derma.training.checkpoints import finished_epochs
from doctor_derma.training.module import MONITOR
from doctor_derma.training.runs import Run


class Reports(Checkpoint):
    """Reports an epoch to Tune after the run's own checkpoint of it is written.

    Where Tune then stops or pauses the trial, ``tune.report`` raises ``SystemExit``. Lightning
    calls callbacks of the class ``Checkpoint`` after all others, in their order.

    Parameters
    ----------
    with_state : whether Tune is given the run's state as well, for other trials to take over
    """

    def __init__(self, run: Run, tracker: Tracker, with_state: bool) -> None:
        self.run = run
        self.tracker = tracker
        self.with_state = with_state
        self.latest: tuple[int, dict[str, float]] | None = None

    def on_epoch(self, epoch: int, metrics: dict[str, float]) -> None:
        """Take the metrics of an epoch, whose checkpoint is not written yet."""
        self.tracker.log_epoch(epoch, metrics)
        self.latest = (epoch, metrics)

    def on_train_epoch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        if self.latest and MONITOR in self.latest[1]:
            self._report(*self.latest)

    def repeat(self, since: int) -> None:
        """Report epochs again that Tune may have forgotten, as its driver was killed.

        Parameters
        ----------
        since : epochs that Tune knows of
        """
        kept = finished_epochs(self.run.last_checkpoint)
        known = [row for row in validated_epochs(self.run) if since <= row[0] < kept]
        # With the state only the last, as the states before are gone.
        for epoch, metrics in known[-1:] if self.with_state else known:
            self._report(epoch, metrics)

    def _report(self, epoch: int, metrics: dict[str, float]) -> None:
        values = {**metrics, EPOCH: epoch + 1}
        if not self.with_state:
            tune.report(values)
            return
        with hand_over(self.run, epoch + 1) as folder:
            tune.report(values, checkpoint=tune.Checkpoint.from_directory(folder))
