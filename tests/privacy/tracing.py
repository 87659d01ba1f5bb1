"""What a program looks up, connects to and writes, as the kernel sees it."""

import ipaddress
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

# A report is sent only where none of them says that nobody is there.
AUTOMATION = ("CI", "GITHUB_ACTIONS", "TF_BUILD", "JENKINS_URL", "DO_NOT_TRACK")
NAME_SERVICE = 53
_CALLS = "connect,sendto,sendmsg,sendmmsg,open,openat,openat2,creat,mkdir,mkdirat"
# A file for each process, descriptors with their paths, and nothing stopped but these calls.
_STRACE = ("-ff", "-y", "--seccomp-bpf", "-qq", "-s", "8", "-e", f"trace={_CALLS}")
_ADDRESS = re.compile(
    r'sin6?_port=htons\((?P<port>\d+)\).*?(?:inet_addr\("|inet_pton\(AF_INET6, ")(?P<host>[^"]+)"'
)
_WRITES = re.compile(r"O_WRONLY|O_RDWR|O_CREAT|^creat")
_OPENED = re.compile(r"= \d+<(?P<path>/[^>]*)>$")
_MADE = re.compile(r'^mkdir(?:at)?\(.*?"(?P<path>/[^"]*)", \d+\) = 0')
# Not files: terminals, memory that processes share, the kernel's own switches.
_NO_FILES = ("/dev/", "/proc/", "/sys/", "/memfd:")


@dataclass(frozen=True)
class Trace:
    """What was seen.

    Attributes
    ----------
    reached : addresses that are not on this machine, and name servers, as ``host:port``
    wrote : files and folders that were made or opened for writing
    output : of the program
    """

    reached: frozenset[str]
    wrote: frozenset[Path]
    output: str

    def wrote_outside(self, *folders: Path) -> set[Path]:
        """Return what was written, but not in these folders."""
        return {path for path in self.wrote if not any(map(path.is_relative_to, folders))}


def trace(command: list[str | Path], folder: Path, seconds: float = 200) -> Trace:
    """Run a program and all that it starts to its end, with a new home and as if by a person.

    Parameters
    ----------
    command : the program and its arguments
    folder : where ``home``, ``tmp``, and the notes about it are made
    """
    strace = shutil.which("strace")
    assert strace, "strace is missing: install it, for example with: apt-get install strace"
    for name in ("home", "tmp", "calls"):
        (folder / name).mkdir(parents=True)
    environment = {
        **{name: value for name, value in os.environ.items() if name not in AUTOMATION},
        **{"HOME": str(folder / "home"), "TMPDIR": str(folder / "tmp")},
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    for name in [*environment]:
        # pytest's own, and what the package has set in this process already.
        if name.startswith(("PYTEST_", "XDG_")) or "TELEMETRY" in name or "USAGE_STATS" in name:
            del environment[name]
    notes = folder / "calls" / "process"
    done = subprocess.run(
        [strace, *_STRACE, "-o", notes, *command],
        env=environment,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    lines = [line for file in notes.parent.iterdir() for line in file.read_text().splitlines()]
    assert lines, "strace has seen nothing"
    return Trace(frozenset(_reached(lines)), frozenset(_wrote(lines)), done.stdout)


def python(code: str) -> list[str | Path]:
    """Return the command of a Python program."""
    return [sys.executable, "-c", code]


def _reached(lines: list[str]) -> set[str]:
    found = set()
    for line in lines:
        if match := _ADDRESS.search(line):
            address = ipaddress.ip_address(match["host"])
            # getaddrinfo sorts by connecting to port 0, which sends nothing.
            if int(match["port"]) == NAME_SERVICE or not address.is_loopback:
                found.add(f"{address}:{match['port']}")
    return found


def _wrote(lines: list[str]) -> set[Path]:
    found = set()
    for line in lines:
        opened = _OPENED.search(line) if _WRITES.search(line) else _MADE.search(line)
        if opened and not opened["path"].startswith(_NO_FILES):
            found.add(Path(opened["path"]))
    return found
