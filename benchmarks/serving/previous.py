"""The server of this checkout against that of an older revision, in one run.

Both serve the same bundle and the same drawn pictures on loopback, and are measured in turn, so
that what else the machine does falls on both: throughput with 8 clients, and latency of one. The
older revision is taken out of git, has to read the bundle, and runs with these packages. On an idle
machine:
python benchmarks/serving/previous.py b0740b1
"""

import argparse
import io
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tarfile
import tempfile
import tomllib
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from serving_bench.answers import check_answers, expected_labels
from serving_bench.contenders import CODE, HERE, Contender, contenders
from serving_bench.measuring import module
from serving_bench.pictures import draw_pictures
from serving_bench.serving import served

from doctor_derma.errors import DermaError
from doctor_derma.workspace import Workspace

ROOT = HERE.parents[1]
CLIENTS = 8
SAY = Console(stderr=True, highlight=False)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("revision", help="of git, such as a commit or HEAD~10")
    parser.add_argument("--model", type=Path, help="bundle, else the champion")
    parser.add_argument("--rounds", type=int, default=5, help="measurements of each")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each measurement")
    parser.add_argument("--port", type=int, default=5810, help="the first of two")
    return parser.parse_args()


def check_out(revision: str, folder: Path) -> Path:
    """Write the package of a revision into a folder; return that of its code."""
    command = ["git", "-C", ROOT, "archive", revision, "code/doctor_derma", "pyproject.toml"]
    made = subprocess.run(command, capture_output=True)
    if made.returncode:
        reason = made.stderr.decode(errors="replace").strip()[-200:]
        raise DermaError(f"{revision}: git can't give out its package ({reason})")
    with tarfile.open(fileobj=io.BytesIO(made.stdout)) as archive:
        archive.extractall(folder, filter="data")
    return folder / "code"


def server_of(code: Path, name: str, bundle: Path, port: int, scratch: Path) -> Contender:
    """Return the server of one checkout: its package goes before the installed one."""
    # The command line has had several places.
    project = tomllib.loads((code.parent / "pyproject.toml").read_text())["project"]
    place, _, function = project["scripts"]["derma"].partition(":")
    start = f"import sys; from {place} import {function}; sys.exit({function}())"
    command = ["env", f"PYTHONPATH={code}", sys.executable, "-c", start]
    command += ["serve", "--model", str(bundle), "--port", str(port)]
    ours = contenders(bundle, scratch, port, scratch)[0]
    return replace(ours, name=name, title=name, command=command)


def load(server: Contender, requests: Path, seconds: float, clients: int) -> Any:
    """Return what clients that wait for each answer see of a server, from another process.

    Raises
    ------
    DermaError
        When it refuses or breaks off.
    """
    found = module("load", server.port, requests, "--seconds", seconds, "--clients", clients)
    if set(found["outcomes"]) != {"200"}:
        raise DermaError(f"{server.name}: not all was answered ({found['outcomes']}); try again")
    return found


def measure(given: argparse.Namespace, scratch: Path) -> dict[str, dict[str, list[float]]]:
    """Return pictures a second and the 99th percentile of milliseconds, of each server in turn."""
    bundle = (given.model or Workspace.find().champion).resolve()
    (scratch / "pictures").mkdir()
    expected = expected_labels(bundle, draw_pictures(42, scratch / "pictures"))
    found: dict[str, dict[str, list[float]]] = {}
    with ExitStack() as running:
        old = check_out(given.revision, scratch / "previous")
        servers = [
            server_of(old, given.revision, bundle, given.port, scratch),
            server_of(CODE, "now", bundle, given.port + 1, scratch),
        ]
        requests = {}
        for server in servers:
            folder = requests[server.name] = scratch / f"requests-{server.port}"
            folder.mkdir()
            for index, path in enumerate(expected):
                (folder / f"{index:03d}").write_bytes(server.request(path.read_bytes()))
            running.enter_context(served(server, bundle, scratch))
            check_answers(server, expected)
            load(server, folder, given.seconds / 2, CLIENTS)
            found[server.name] = {"rate": [], "p99": []}
        for number in range(given.rounds):
            SAY.print(f"round {number + 1} of {given.rounds}")
            # Each is the first as often as the other.
            for server in servers if number % 2 else servers[::-1]:
                folder = requests[server.name]
                many = load(server, folder, given.seconds, CLIENTS)
                found[server.name]["rate"].append(many["answered_per_second"])
                one = load(server, folder, given.seconds, 1)
                found[server.name]["p99"].append(one["latency_ms"]["p99"])
    return found


def show(found: dict[str, dict[str, list[float]]]) -> None:
    """Print medians over the rounds, and the median of the ratios of a round."""
    table = Table("", "pictures/s", "p99 of one client, ms")
    for name, figures in found.items():
        table.add_row(name, *(f"{statistics.median(figures[key]):.1f}" for key in ("rate", "p99")))
    old, new = found.values()
    ratios = (
        [after / before for before, after in zip(old[key], new[key], strict=True)]
        for key in ("rate", "p99")
    )
    table.add_row(
        "ratio, median (lowest to highest)",
        *(f"{statistics.median(each):.3f} ({min(each):.3f} to {max(each):.3f})" for each in ratios),
    )
    Console().print(table)


def main() -> None:
    given = parse()
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(143))
    scratch = Path(tempfile.mkdtemp(prefix="previous-server-"))
    SAY.print(f"Load of the machine before: {os.getloadavg()[0]:.1f}; the goal is 0.97 and 1.05")
    try:
        show(measure(given, scratch))
    except DermaError as error:
        raise SystemExit(str(error)) from None
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


if __name__ == "__main__":
    main()
