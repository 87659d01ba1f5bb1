"""A copy of this repository as it is now, so that nobody's data and runs are touched."""

import os
import shutil
import subprocess
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
# Whom the containers run as where the tests are root's, whom Jupyter refuses.
SOMEBODY = 10234


def copy_checkout(target: Path) -> tuple[int, int]:
    """Clone HEAD, put the changes of the working tree on top, and return its user and group."""
    git("clone", "--quiet", "--no-hardlinks", str(REPOSITORY), str(target))
    listed = git("-C", str(REPOSITORY), "ls-files", "-z", "-co", "--exclude-standard")
    present = set(filter(None, listed.split("\0")))
    for name in git("-C", str(target), "ls-files", "-z").split("\0"):
        if name and not (REPOSITORY / name).is_file():
            (target / name).unlink()
    for name in present:
        if (REPOSITORY / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(REPOSITORY / name, target / name)
    if os.getuid() != 0:
        return os.getuid(), os.getgid()
    for path in [target, *target.rglob("*")]:
        os.lchown(path, SOMEBODY, SOMEBODY)
    return SOMEBODY, SOMEBODY


def git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=True)
    return done.stdout
