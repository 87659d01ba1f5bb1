"""Release an image of the server to Heroku, test it there, and roll back if it is not healthy.

    HEROKU_API_KEY=... HEROKU_APP=my-derma python deployment/release doctor-derma

Needs Python 3.11, httpx and docker. Exit codes: 0 released and healthy, 1 failed before anything
was released, 2 wrong arguments or environment, 3 rolled back to the previous release, 4 the app
runs a release that is not healthy.
"""

import argparse
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from exits import Exit, ReleaseError
from heroku import API, Heroku
from patience import Patience
from registry import push
from steps import release

SMOKE_TEST = Path(__file__).resolve().parents[1] / "smoke_test.py"
SMOKE_SECONDS = 180.0


def main(
    arguments: Sequence[str] | None = None,
    environment: Mapping[str, str] = os.environ,
    patience: Patience | None = None,
) -> int:
    """Run the command, and return its exit code."""
    # A job that is cancelled gets SIGTERM, and is to roll back as after Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    given = _parser().parse_args(arguments)
    patience = replace(patience or Patience(), start=given.wait)
    try:
        key, app = _needed("HEROKU_API_KEY", environment), _needed("HEROKU_APP", environment)
    except ReleaseError as problem:
        print(f"release: {problem}", file=sys.stderr)
        return Exit.USAGE
    heroku = Heroku(app, key, patience, given.api)

    def say(line: str) -> None:
        print(f"{app}: {line}", flush=True)

    try:
        return release(heroku, lambda: push(given.image, app, key, patience), check, patience, say)
    except ReleaseError as problem:
        print(f"release: {problem}", file=sys.stderr)
        return Exit.UNCHANGED


def check(url: str) -> None:
    """Run the smoke test on an address.

    Raises
    ------
    ReleaseError
        With the smoke test's own words, when it fails or takes too long.
    """
    command = [sys.executable, str(SMOKE_TEST), url]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SMOKE_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise ReleaseError(
            f"the smoke test was not done after {SMOKE_SECONDS:.0f} seconds"
        ) from error
    if done.returncode:
        raise ReleaseError((done.stderr.strip() or "the smoke test failed").splitlines()[-1])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="release", description=__doc__.splitlines()[0])
    parser.add_argument("image", help="name of an image in this machine's Docker")
    parser.add_argument("--wait", type=float, default=Patience.start, help="seconds for its start")
    parser.add_argument("--api", default=API, help="address of Heroku's API")
    return parser


def _needed(name: str, environment: Mapping[str, str]) -> str:
    value = environment.get(name, "").strip()
    if not value:
        raise ReleaseError(f"{name} is not set; see docs/deployment.md for where it comes from")
    return value


if __name__ == "__main__":
    sys.exit(main())
