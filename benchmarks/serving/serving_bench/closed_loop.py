"""A closed loop with wrk: so many clients, each with its next request as soon as it can."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

from doctor_derma.errors import DermaError

SCRIPT = Path(__file__).with_name("post.lua")


def find_wrk() -> str:
    """Return the path of wrk."""
    found = shutil.which("wrk")
    if found is None:
        raise DermaError("wrk: not found; install it (Debian's package is called wrk)")
    return found


def closed_loop(port: int, requests: Path, clients: int, seconds: float) -> dict[str, Any]:
    """Return answers a second, and what failed."""
    run = subprocess.run(
        [
            *(
                find_wrk(),
                "-t1",
                f"-c{clients}",
                f"-d{max(1, round(seconds))}s",
                "--timeout",
                "30s",
            ),
            *("-s", SCRIPT, f"http://127.0.0.1:{port}", "--"),
            *sorted(requests.iterdir()),
        ],
        capture_output=True,
        text=True,
    )
    if run.returncode:
        raise DermaError(
            f"wrk: failed with '{(run.stderr or run.stdout).strip()[-200:]}'; try again"
        )
    found = json.loads(run.stdout.splitlines()[-1])
    good = found["requests"] - found["not_200"]
    return {**found, "clients": clients, "answered_per_second": good / found["seconds"]}
