"""A bulk prediction that is held in its middle, and what happens to its processes then."""

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from distributed.predict.drawn import encoded
from doctor_derma.distributed.predict.plan import PLAN_FILE

# A machine can be very slow, but not for ever.
PATIENCE = 120.0


class Held:
    """A picture that whoever reads it waits for, until it is let go.

    Once the pictures are listed it becomes a pipe that nobody writes to: a listing passes pipes by.
    """

    def __init__(self, path: Path, out: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self.let_go(0)
        threading.Thread(target=self._hold, args=(out / PLAN_FILE,), daemon=True).start()

    def let_go(self, seed: int) -> None:
        """Put a picture in its place, for those who open it from now on."""
        scratch = self.path.with_suffix(".scratch")
        scratch.write_bytes(encoded(seed))
        scratch.replace(self.path)

    def _hold(self, plan: Path) -> None:
        wait_until(plan.is_file, "no plan was written")
        pipe = self.path.with_suffix(".pipe")
        os.mkfifo(pipe)
        pipe.replace(self.path)


def wait_until(condition: Callable[[], object], what: str) -> None:
    limit = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < limit, f"{what} in {PATIENCE} s"
        time.sleep(0.05)


def ray_processes(pid: int | None = None) -> list[psutil.Process]:
    """Return the workers below a process that have something to do, as Ray names them."""
    found = []
    for process in psutil.Process(pid).children(recursive=True):
        try:
            title = " ".join(process.cmdline())
        except psutil.Error:
            continue
        if title.startswith("ray::") and ("Predictor" in title or "decode_unit" in title):
            found.append(process)
    return found


def shards(out: Path) -> dict[Path, int]:
    """Return the shards that are written, each with the time of its writing."""
    return {path: path.stat().st_mtime_ns for path in out.glob("predictions/unit-*")}
