"""How Tune tells the screen what happens: its callback, which holds nothing itself.

Tune writes its callbacks into the sweep's folder and reads them again when a sweep is resumed;
so the watcher is found through the context that the sweep runs in.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Protocol

from ray.tune import Callback
from ray.tune.experiment import Trial


class Watcher(Protocol):
    """Who wants to know what becomes of the trials."""

    def see(self, trials: list[Trial]) -> None:
        """Look at all trials there are; called a few times a second."""

    def see_last(self, trials: list[Trial]) -> None:
        """Look at all trials once more, after Tune has ended those that still trained."""


_WATCHER: ContextVar[Watcher | None] = ContextVar("watcher", default=None)


@contextmanager
def watched_by(watcher: Watcher) -> Iterator[None]:
    """Tell a watcher of the sweep that runs in this block."""
    token = _WATCHER.set(watcher)
    try:
        yield
    finally:
        _WATCHER.reset(token)


class Watching(Callback):
    """Passes Tune's events on to the watcher."""

    def on_step_end(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        if watcher := _WATCHER.get():
            watcher.see(trials)

    def on_experiment_end(self, trials: list[Trial], **info: Any) -> None:
        if watcher := _WATCHER.get():
            watcher.see_last(trials)
