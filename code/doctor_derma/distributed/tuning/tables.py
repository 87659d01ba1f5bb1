"""Trials as a table: for the screen, and as CSV."""

import math
from pathlib import Path
from typing import Any

import pandas as pd

from doctor_derma.atomic import replacing_file
from doctor_derma.distributed.tuning.records import TrialRecord, ranked
from doctor_derma.distributed.tuning.sweep import Sweep
from doctor_derma.evaluation.tables import Table


def trials_table(records: list[TrialRecord], sweep: Sweep, rows: int) -> Table:
    """Tabulate so many trials, the best ones first; those that train are always in it."""
    order = ranked(records, str(sweep.mode))
    shown = order[:rows] + [record for record in order[rows:] if record.state == "training"]
    header = ("trial", "state", "epochs", sweep.metric, "at epoch", "minutes", *sweep.space)
    left_out = len(records) - len(shown)
    return Table(
        "Trials",
        header,
        tuple(_row(record, sweep) for record in shown),
        note=f"and {left_out} more" if left_out else "",
        words=2,
    )


def _row(record: TrialRecord, sweep: Sweep) -> tuple[str, ...]:
    best = record.best(str(sweep.mode))
    return (
        record.name,
        record.state,
        str(max(record.scores, default=0)),
        f"{best[1]:.4f}" if best else "",
        str(best[0]) if best else "",
        f"{record.seconds / 60:.1f}",
        *(_setting(record.settings[name]) for name in sweep.space),
    )


def trial_line(record: TrialRecord, sweep: Sweep) -> str:
    """Say in a line how a trial ended."""
    if record.state == "failed":
        return f"{record.name}: failed  {record.failure or ''}"
    best = record.best(str(sweep.mode))
    score = f"{sweep.metric} {best[1]:.4f} at epoch {best[0]}" if best else "no score"
    settings = "  ".join(f"{name} {_setting(value)}" for name, value in record.settings.items())
    epochs = max(record.scores, default=0)
    return f"{record.name}: {record.state} after {epochs} epochs  {score}  {settings}"


def write_trials(records: list[TrialRecord], sweep: Sweep, path: Path) -> None:
    """Write all trials as CSV, the best ones first, a column for each setting of the space."""
    table = pd.DataFrame([_values(record, sweep) for record in ranked(records, str(sweep.mode))])
    with replacing_file(path) as scratch:
        table.to_csv(scratch, index=False)


def _values(record: TrialRecord, sweep: Sweep) -> dict[str, Any]:
    epoch, score = record.best(str(sweep.mode)) or (None, math.nan)
    return {
        "trial": record.name,
        "state": record.state,
        "epochs": max(record.scores, default=0),
        sweep.metric: score,
        "at_epoch": epoch,
        "seconds": round(record.seconds, 1),
        **record.settings,
        "failure": record.failure,
    }


def _setting(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
