"""The sweep on the screen: a table of trials that is kept up to date."""

import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Group
from rich.live import Live
from rich.text import Text

from doctor_derma.distributed.tuning.folder import SweepFolder
from doctor_derma.distributed.tuning.records import TrialRecord, read_record
from doctor_derma.distributed.tuning.tables import trial_line, trials_table
from doctor_derma.terminal import terminal

if TYPE_CHECKING:
    from ray.tune.experiment import Trial

# On a terminal the best trials are shown, and all of those that train.
_MOST_ROWS = 15


class Screen:
    """Shows trials as they go: a table on a terminal, else a line for each that ends.

    ``records`` holds what was seen last of every trial, by name.
    """

    def __init__(self, made: SweepFolder, runs: Path) -> None:
        self.made = made
        self.runs = runs
        self.records: dict[str, TrialRecord] = {}
        self.console = terminal(error=True, soft_wrap=True)
        self.started = time.monotonic()
        self._seen: dict[str, tuple[Any, ...]] = {}
        self._live: Live | None = None
        if self.console.is_terminal:
            # On another screen line: lines of a warning may come between.
            self._live = Live(console=self.console, transient=True, auto_refresh=False)

    def __enter__(self) -> "Screen":
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *reason: object) -> None:
        if self._live:
            self._live.stop()

    def see(self, trials: "list[Trial]") -> None:
        """Read the trials again that have changed, and show them."""
        for trial in trials:
            name, mark = str(trial), (trial.status, trial.last_result.get("training_iteration"))
            if self._seen.get(name) != mark:
                self._seen[name] = mark
                self._update(trial)
        if self._live:
            self._live.update(self._view(), refresh=True)

    def see_last(self, trials: "list[Trial]") -> None:
        """Read what is on disk once more; what a trial was doing at the end is known already.

        Trials that were never seen had ended before a sweep was resumed.
        """
        for trial in trials:
            known = self.records.get(str(trial))
            if known is None:
                self._update(trial)
            elif known.is_open:
                last = read_record(self.made, self.runs, trial)
                self.records[known.name] = replace(last, state=known.state)

    def _update(self, trial: "Trial") -> None:
        record = read_record(self.made, self.runs, trial)
        before = self.records.get(record.name)
        self.records[record.name] = record
        if not self._live and not record.is_open and before and before.is_open:
            line = trial_line(record, self.made.sweep)
            self.console.print(line)

    def _view(self) -> Group:
        sweep = self.made.sweep
        done = sum(not record.is_open for record in self.records.values())
        minutes = (time.monotonic() - self.started) / 60
        head = f"{self.made.name}: {done} of {sweep.trials} trials done, {minutes:.1f} min"
        table = trials_table(list(self.records.values()), sweep, rows=_MOST_ROWS)
        return Group(Text(head), table.__rich__())
