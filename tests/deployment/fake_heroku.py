"""Heroku in small: its API, the app behind its router, and a docker that pushes nowhere.

An image is healthy or has a fault. Each release runs one, and the app answers as that of the newest
release that is up. A dyno is ``starting`` for the first looks at it, beside the old one.
"""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

KEY = "a-very-secret-key"
APP = "my-derma"
DOCKER = """#!/bin/sh
# Notes its arguments, and fails at the step in the file 'fails' as often as that says.
here=$(dirname "$0")
echo "$*" >> "$here/calls"
[ -n "$HEROKU_API_KEY" ] && echo "key in the environment" >> "$here/calls"
case "$*" in *login*) cat > "$here/given";; esac
if [ -f "$here/fails" ]; then
  read -r step times < "$here/fails"
  case " $* " in *" $step "*)
    if [ "$times" -gt 0 ]; then
      echo "$step $((times - 1))" > "$here/fails"
      echo "first line" >&2; echo "denied: no access" >&2; exit 1
    fi;;
  esac
fi
case "$*" in *inspect*) echo "sha256:new";; esac
"""


@dataclass
class FakeHeroku:
    """What Heroku holds, and how it misbehaves.

    Attributes
    ----------
    history : what each release runs, the first one is version 1
    faults : what is wrong with an image: ``crash``, ``unready``, ``wrong``, ``slow`` or ``failed``
    broken : (method, end of the path) to the answers given before the true one, each a status
        and, where asked for, the value of Retry-After
    """

    url: str = ""
    history: list[str] = field(default_factory=lambda: ["sha256:old"])
    faults: dict[str, str] = field(default_factory=dict)
    broken: dict[tuple[str, str], list[tuple[int, str | None]]] = field(default_factory=dict)
    web: bool = True
    starting: int = 2
    calls: list[str] = field(default_factory=list)
    predictions: int = 0

    def answer(self, method: str, path: str, body: bytes, key: str) -> tuple[int, Any, str | None]:
        """Return status, content and Retry-After."""
        if not path.startswith("/apps/"):
            return (*self.page(method, path, body), None)
        if not path.startswith(f"/apps/{APP}"):
            return 404, {"id": "not_found", "message": "Couldn't find that app."}, None
        path = path.removeprefix(f"/apps/{APP}")
        self.calls.append(f"{method} {path}")
        if key != f"Bearer {KEY}":
            return 401, {"id": "unauthorized", "message": "Invalid credentials."}, None
        if waiting := self.broken.get((method, path)):
            status, retry_after = waiting.pop(0)
            return status, {"message": "Not this time."}, retry_after
        return (*self.api(method, path, json.loads(body or b"{}")), None)

    def api(self, method: str, path: str, asked: Any) -> tuple[int, Any]:
        match method, path:
            case "GET", "":
                return 200, {"web_url": f"{self.url}/"}
            case "GET", "/formation":
                return 200, [{"type": "web", "quantity": 1}] if self.web else []
            case "GET", "/releases":
                return 200, [self.release(v) for v in range(len(self.history), 0, -1)]
            case "PATCH", "/formation":
                image = asked["updates"][0]["docker_image"]
                if image != self.history[-1]:
                    self.run(image)
                return 200, []
            case "POST", "/releases":
                self.run(self.history[int(asked["release"].removeprefix("id-")) - 1])
                return 201, self.release(len(self.history))
            case "GET", "/dynos":
                return 200, self.dynos()
        return 404, {"message": "Couldn't find that."}

    def run(self, image: str) -> None:
        self.history.append(image)
        self.starting = 2

    def release(self, version: int) -> dict[str, Any]:
        failed = self.faults.get(self.history[version - 1]) == "failed"
        return {
            "id": f"id-{version}",
            "version": version,
            "status": "failed" if failed else "succeeded",
            "current": version == len(self.history),
        }

    def dynos(self) -> list[dict[str, Any]]:
        version = len(self.history)
        fault = self.faults.get(self.history[-1])
        worker = {"type": "worker", "state": "up", "release": {"version": 1}}
        if self.starting or fault == "slow":
            self.starting = max(0, self.starting - 1)
            old = {"type": "web", "state": "up", "release": {"version": version - 1}}
            new = {"type": "web", "state": "starting", "release": {"version": version}}
            return [worker, old, new]
        state = "crashed" if fault == "crash" else "up"
        return [worker, {"type": "web", "state": state, "release": {"version": version}}]

    def page(self, method: str, path: str, body: bytes) -> tuple[int, Any]:
        fault = self.faults.get(self.history[-1])
        if path == "/readyz":
            return (503, {}) if fault == "unready" else (200, {"status": "ready"})
        if path == "/healthz":
            return 200, {"status": "ok", "model": {"name": "fake"}}
        if (method, path) != ("POST", "/predict"):
            return 200, "Not a medical device."
        if b"not a picture" in body:
            return 415, {}
        self.predictions += 1
        share = 0.7 if fault == "wrong" else 0.3
        entries = [{"name": "nv", "probability": 0.7}, {"name": "mel", "probability": share}]
        return 200, {"label": "nv", "probabilities": entries}


@contextmanager
def heroku() -> Iterator[FakeHeroku]:
    """Serve a fake Heroku on this machine."""
    fake = FakeHeroku()

    class Handler(BaseHTTPRequestHandler):
        def handle_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            key = self.headers.get("Authorization", "")
            status, content, retry_after = fake.answer(self.command, self.path, body, key)
            payload = content.encode() if isinstance(content, str) else json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(payload)))
            if retry_after is not None:
                self.send_header("Retry-After", retry_after)
            self.end_headers()
            self.wfile.write(payload)

        do_GET = do_POST = do_PATCH = handle_any  # noqa: N815

        def log_message(self, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    fake.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield fake
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class FakeDocker:
    """A docker in a folder, to be put first on PATH."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir()
        program = folder / "docker"
        program.write_text(DOCKER)
        program.chmod(0o755)

    def fail(self, step: str, times: int = 99) -> None:
        """Let a step fail so many times."""
        (self._folder / "fails").write_text(f"{step} {times}\n")

    @property
    def calls(self) -> list[str]:
        """Every call's arguments."""
        calls = self._folder / "calls"
        return calls.read_text().splitlines() if calls.exists() else []

    @property
    def given(self) -> str:
        """What the login was given by standard input."""
        return (self._folder / "given").read_text()
