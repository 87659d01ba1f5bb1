"""A server to ask: one that runs already, or one of the notebook's own."""

import atexit
import os
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from doctor_derma.client import Client

URL_VARIABLE = "DERMA_URL"
START_SECONDS = 60


@dataclass
class Server:
    """A server at ``url``; ``process`` is None for one that is not ours to stop."""

    url: str
    process: "subprocess.Popen[bytes] | None" = None

    def stop(self) -> None:
        """End our own server, after what it has accepted is answered."""
        if self.process:
            self.process.terminate()
            self.process.wait(START_SECONDS)


def find_server(bundle: Path) -> Server:
    """Return the server that ``$DERMA_URL`` names, or start one with this bundle."""
    url = os.environ.get(URL_VARIABLE)
    return Server(url) if url else start_server(bundle)


def start_server(bundle: Path, **settings: str) -> Server:
    """Start ``derma serve`` at a free port, and wait until it takes pictures.

    Parameters
    ----------
    settings : environment variables, such as ``DERMA_QUEUE_LIMIT="1"``

    Raises
    ------
    RuntimeError
        With the server's own words when it doesn't start.
    """
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    derma = Path(sys.executable).with_name("derma")
    command = [str(derma), "serve", "--model", str(bundle), "--port", str(port)]
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, stderr=log, env={**os.environ, **settings})
        # A notebook that is closed half way leaves no server behind.
        atexit.register(process.terminate)
        server = Server(f"http://127.0.0.1:{port}", process)
        end = time.monotonic() + START_SECONDS
        with Client(server.url) as client:
            while process.poll() is None and time.monotonic() < end:
                if client.ready():
                    return server
                time.sleep(0.1)
        process.kill()
        log.seek(0)
        raise RuntimeError(f"the server did not start: {log.read().decode()}")
