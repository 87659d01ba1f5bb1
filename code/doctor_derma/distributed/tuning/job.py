"""What the driver of a sweep tells every trial."""

from dataclasses import dataclass
from pathlib import Path

from doctor_derma.distributed.tuning.sweep import Sweep


@dataclass(frozen=True)
class Job:
    """A sweep as its trials need to know it.

    ``tracked_as`` is the id of the sweep in MLflow, ``tracking_address`` where that is, None
    for the root's own store.
    """

    root: Path
    sweep: Sweep
    sweep_name: str
    tracked_as: str | None
    tracking_address: str | None
