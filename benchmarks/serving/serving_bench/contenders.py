"""The servers: how each is started, asked and understood."""

import base64
import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from doctor_derma.decisions import Rule

HERE = Path(__file__).resolve().parents[1]
PEERS = HERE / "peers"
CODE = HERE.parents[1] / "code"
BOUNDARY = "derma-serving-benchmark"
# Peers have no rules; they call the most probable class.
RULE: Rule = "most-probable"


class Body(NamedTuple):
    """A request's body and its type."""

    media_type: str
    content: bytes


@dataclass(frozen=True)
class Contender:
    """A server.

    Attributes
    ----------
    command : that serves at 127.0.0.1, in the folder ``peers``
    ready : path that answers 200 once pictures are taken
    path : that takes a picture
    body : of a request with one JPEG
    label : of its answer, from the JSON
    needs : module that must be there
    prepare : command to run once before
    """

    name: str
    title: str
    port: int
    command: list[str]
    ready: str
    path: str
    body: Callable[[bytes], Body]
    label: Callable[[Any], str]
    python: Path = Path(sys.executable)
    needs: str | None = None
    prepare: list[str] = field(default_factory=list)

    def request(self, jpeg: bytes) -> bytes:
        """Return a whole HTTP request with one picture."""
        body = self.body(jpeg)
        head = (
            f"POST {self.path} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\n"
            f"Content-Type: {body.media_type}\r\nContent-Length: {len(body.content)}\r\n\r\n"
        )
        return head.encode() + body.content


def raw(jpeg: bytes) -> Body:
    """The picture alone."""
    return Body("image/jpeg", jpeg)


def form(name: str) -> Callable[[bytes], Body]:
    """Return how to make a multipart form with the picture in one field."""

    def body(jpeg: bytes) -> Body:
        head = (
            f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"; '
            'filename="picture.jpg"\r\nContent-Type: image/jpeg\r\n\r\n'
        )
        content = head.encode() + jpeg + f"\r\n--{BOUNDARY}--\r\n".encode()
        return Body(f"multipart/form-data; boundary={BOUNDARY}", content)

    return body


def mlflow_frame(jpeg: bytes) -> Body:
    """MLflow's JSON of a table with one row, the picture in base64, and the rule."""
    table = {"columns": ["image"], "data": [[base64.b64encode(jpeg).decode()]]}
    asked = {"dataframe_split": table, "params": {"rule": RULE}}
    return Body("application/json", json.dumps(asked).encode())


def contenders(bundle: Path, peers_python: Path, port: int, scratch: Path) -> list[Contender]:
    """Return all of them, ours first, at ``port`` and those that follow."""
    processes = str(os.cpu_count() or 1)
    model = str(scratch / "mlflow-model")
    python = str(peers_python)
    derma = str(Path(sys.executable).with_name("derma"))
    return [
        Contender(
            "ours",
            "Doctor Derma",
            port,
            [derma, "serve", "--model", str(bundle), "--port", str(port)],
            "/readyz",
            f"/v1/predict?rule={RULE}",
            raw,
            lambda answer: answer["label"],
        ),
        Contender(
            "bentoml",
            "BentoML",
            port + 1,
            [
                *(python, "-m", "bentoml", "serve", "bentoml_service:Lesions"),
                *("--host", "127.0.0.1", "--port", str(port + 1)),
            ],
            "/readyz",
            "/predict",
            form("images"),
            lambda answer: answer[0]["label"],
            peers_python,
            "bentoml",
        ),
        Contender(
            "litserve",
            "LitServe",
            port + 2,
            [python, "litserve_server.py", str(port + 2)],
            "/health",
            "/predict",
            form("image"),
            lambda answer: answer["label"],
            peers_python,
            "litserve",
        ),
        Contender(
            "mlflow",
            "MLflow models serve",
            port + 3,
            [
                *(python, "-m", "mlflow", "models", "serve", "--model-uri", model),
                *("--env-manager", "local", "--host", "127.0.0.1", "--port", str(port + 3)),
                *("--workers", processes),
            ],
            "/ping",
            "/invocations",
            mlflow_frame,
            lambda answer: answer["predictions"][0]["label"],
            peers_python,
            "mlflow",
            [python, "save_mlflow_model.py", model],
        ),
        Contender(
            "flask",
            "Flask + torch",
            port + 4,
            [
                *(python, "-m", "gunicorn", "--bind", f"127.0.0.1:{port + 4}"),
                *("--workers", processes, "--threads", "4", "flask_torch:app"),
            ],
            "/healthz",
            "/predict",
            raw,
            lambda answer: answer["label"],
            peers_python,
            "flask",
        ),
    ]


def environment(bundle: Path, scratch: Path, python: Path) -> dict[str, str]:
    """Return the environment variables that a server gets."""
    kept = {name: text for name, text in os.environ.items() if not name.startswith("DERMA_")}
    return {
        **kept,
        # MLflow starts uvicorn by its name.
        "PATH": f"{python.parent}{os.pathsep}{kept.get('PATH', '')}",
        "PYTHONPATH": os.pathsep.join([str(CODE), str(PEERS)]),
        "BENCH_BUNDLE": str(bundle),
        "BENTOML_HOME": str(scratch / "bentoml"),
        "BENTOML_DO_NOT_TRACK": "True",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
