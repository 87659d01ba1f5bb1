"""The progress bar of this room: on standard error, gone when its steps are done."""

from collections.abc import Iterable
from typing import TypeVar

from rich.progress import track

from doctor_derma.terminal import terminal

Step = TypeVar("Step")


def with_progress(
    steps: Iterable[Step], description: str, total: int | None = None
) -> Iterable[Step]:
    """Yield the steps under a progress bar; ``total`` is needed for steps without a length."""
    console = terminal(error=True)
    return track(steps, description=description, total=total, console=console, transient=True)
