"""A server within the memory that its container has, and what becomes of it."""

import asyncio
import io
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psutil

from server.server_process import free_port

# As deployment/docker-compose.yml says.
LIMIT_BYTES = 512 * 1024 * 1024
_GROUPS = {
    # Control groups 1 and 2: the folder, the limit, the most that was taken, and what was killed.
    Path("/sys/fs/cgroup/memory"): (
        *("memory.limit_in_bytes", "memory.max_usage_in_bytes", "memory.oom_control"),
    ),
    Path("/sys/fs/cgroup"): ("memory.max", "memory.peak", "memory.events"),
}
_START = "import os, sys; open(sys.argv[1], 'w').write('0'); os.execv(sys.argv[2], sys.argv[2:])"


class Group:
    """A control group with the limit of a container, or nothing where none can be made."""

    def __init__(self) -> None:
        self.folder: Path | None = None
        for parent, names in _GROUPS.items():
            folder = parent / f"derma-siege-{os.getpid()}"
            with suppress(OSError):
                folder.mkdir()
                self.folder, self._names = folder, names
                (folder / names[0]).write_text(str(LIMIT_BYTES))
                with suppress(OSError):
                    # No swap on top of it.
                    (folder / "memory.memsw.limit_in_bytes").write_text(str(LIMIT_BYTES))
                return
            if folder.is_dir():
                folder.rmdir()
            self.folder = None

    def command(self, command: list[str]) -> list[str]:
        """Return a command that does the same inside."""
        if self.folder is None:
            return command
        return [sys.executable, "-c", _START, str(self.folder / "cgroup.procs"), *command]

    @property
    def kills(self) -> int:
        """How often the kernel has killed for memory."""
        if self.folder is None:
            return 0
        text = (self.folder / self._names[2]).read_text()
        said = dict(line.split(maxsplit=1) for line in text.splitlines())
        return int(said.get("oom_kill", 0))

    def close(self) -> None:
        if self.folder is not None:
            for _ in range(100):
                with suppress(OSError):
                    self.folder.rmdir()
                    return
                time.sleep(0.05)


@dataclass
class Server:
    """A server under siege.

    Attributes
    ----------
    most_bytes : memory of all of its processes together, as was seen three times a second
    """

    process: "subprocess.Popen[bytes]"
    address: tuple[str, int]
    log: Path
    group: Group
    most_bytes: int = 0
    pids: set[int] = field(default_factory=set)

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def memory(self) -> int:
        """Return what its processes take now: theirs alone, and their part of what is shared."""
        taken = 0
        with suppress(psutil.Error):
            own = psutil.Process(self.process.pid)
            for process in (own, *own.children(recursive=True)):
                with suppress(psutil.Error):
                    self.pids.add(process.pid)
                    taken += process.memory_full_info().pss
        self.most_bytes = max(self.most_bytes, taken)
        return taken

    async def watch(self, end: float) -> None:
        while time.monotonic() < end:
            await asyncio.to_thread(self.memory)
            # Looking costs, too.
            await asyncio.sleep(0.3)


@contextmanager
def besieged(bundle: Path, folder: Path) -> Iterator[Server]:
    """Serve a bundle as the container does, on loopback, until the end of the block."""
    port, group = free_port(), Group()
    command = [sys.executable, shutil.which("derma", path=str(Path(sys.executable).parent)) or ""]
    command += ["serve", "--model", str(bundle), "--port", str(port)]
    log = folder / "log"
    variables = {"DERMA_LOG_FORMAT": "json", "OPENBLAS_NUM_THREADS": "1"}
    with log.open("wb") as stream:
        process = subprocess.Popen(
            group.command(command),
            stderr=stream,
            stdout=subprocess.DEVNULL,
            env={**os.environ, **variables},
        )
    server = Server(process, ("127.0.0.1", port), log, group)
    try:
        _wait_until_ready(server)
        yield server
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        group.close()


def _wait_until_ready(server: Server, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    url = f"http://{server.address[0]}:{server.address[1]}/readyz"
    while time.monotonic() < end and server.alive:
        with suppress(httpx.TransportError):
            if httpx.get(url, trust_env=False).status_code == 200:
                return
        time.sleep(0.1)
    raise AssertionError(server.log.read_text())


@dataclass
class Healthy:
    """A client with an ordinary picture every quarter of a second, and one that asks for health.

    Attributes
    ----------
    seconds : of each picture that was answered
    failures : what became of the others, and of questions for health
    """

    picture: bytes
    seconds: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    asked: int = 0

    async def run(self, address: tuple[str, int], end: float) -> None:
        url = f"http://{address[0]}:{address[1]}"
        head = {"content-type": "image/jpeg"}
        while time.monotonic() < end:
            # Anew each time, as each is somebody else.
            elsewhere = httpx.AsyncHTTPTransport(verify=False, local_address="127.0.0.2")
            async with httpx.AsyncClient(base_url=url, transport=elsewhere, timeout=10) as client:
                for ask in (
                    lambda: client.post("/v1/predict", content=self.picture, headers=head),
                    lambda: client.get("/healthz"),
                ):
                    start = time.monotonic()
                    self.asked += 1
                    try:
                        answer = await ask()
                        if answer.status_code == 200:
                            self.seconds.append(time.monotonic() - start)
                        else:
                            self.failures.append(f"{answer.status_code} {answer.text[:200]}")
                    except httpx.HTTPError as error:
                        self.failures.append(repr(error))
            await asyncio.sleep(0.25)

    @property
    def answered(self) -> float:
        return len(self.seconds) / max(self.asked, 1)

    def percentile(self, share: float) -> float:
        """Return the seconds in which such a share was answered."""
        if not self.seconds:
            return float("inf")
        return sorted(self.seconds)[int(share * (len(self.seconds) - 1))]


def lines(log: Path) -> list[bytes]:
    return [line for line in io.BytesIO(log.read_bytes())]
