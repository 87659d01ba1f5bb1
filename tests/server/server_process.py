"""A real server in a process of its own, with the tiny bundle and a network as slow as wanted."""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

SERVE = """
import sys, time
from pathlib import Path
from doctor_derma.inference.classifier import Classifier
from doctor_derma.server.run import serve

bundle, port, seconds = Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
quick = Classifier.classify

def slow(self, pictures):
    time.sleep(seconds * len(pictures))
    return quick(self, pictures)

if __name__ == "__main__":
    if seconds:
        Classifier.classify = slow
    serve(bundle, port=port)
"""


@dataclass
class ServerProcess:
    """A server that answers at ``url``; ``log`` is its standard error."""

    process: "subprocess.Popen[bytes]"
    url: str
    log: Path

    def stop(self, number: int = signal.SIGTERM, seconds: float = 30) -> int:
        """Send a signal, and return the exit status."""
        self.process.send_signal(number)
        return self.process.wait(seconds)

    def lines(self) -> list[dict[str, Any]]:
        """Return the log."""
        return [json.loads(line) for line in self.log.read_text().splitlines()]


def free_port() -> int:
    """Return a port that nothing listens at."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


@contextmanager
def served(
    bundle: Path, seconds: float = 0.0, variables: Mapping[str, str] | None = None
) -> Iterator[ServerProcess]:
    """Serve a bundle whose network takes so many seconds a picture."""
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        script, log = Path(folder, "serve.py"), Path(folder, "log")
        script.write_text(SERVE)
        with log.open("wb") as stream:
            process = subprocess.Popen(
                [sys.executable, script, bundle, str(port), str(seconds)],
                stderr=stream,
                env={**os.environ, **(variables or {})},
            )
        server = ServerProcess(process, f"http://127.0.0.1:{port}", log)
        try:
            wait_until_ready(server)
            yield server
        finally:
            if process.poll() is None:
                process.terminate()
                try:
                    process.wait(10)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()


def wait_until_ready(server: ServerProcess, seconds: float = 60) -> None:
    """Wait until a server takes pictures."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        assert server.process.poll() is None, server.log.read_text()
        try:
            if httpx.get(f"{server.url}/readyz", trust_env=False).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.05)
    raise AssertionError(server.log.read_text())
