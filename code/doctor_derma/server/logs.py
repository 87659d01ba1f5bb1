"""The log on standard error: one line a request, as JSON for programs or as text for people."""

import json
import logging
import sys
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from random import getrandbits
from typing import Any

from doctor_derma.server.settings import Settings

REQUEST_LOGGER = "doctor_derma.request"
_requests = logging.getLogger(REQUEST_LOGGER)


@dataclass
class RequestRecord:
    """One request, from its first byte to its last.

    Attributes
    ----------
    id : by which the client and the log know it
    path : that was asked for
    accepted : whether its pictures are classified even when the server has begun to stop
    pictures : classified by now
    largest_batch : pictures that one of them went through the network with, itself included
    """

    id: str
    path: str = "/"
    accepted: bool = False
    pictures: int = 0
    largest_batch: int = 0


def new_request_id() -> str:
    """Return an id for a request: 32 hexadecimal digits, with which nothing is protected."""
    return f"{getrandbits(128):032x}"


# Tasks that a request starts see the same record.
CURRENT: ContextVar[RequestRecord | None] = ContextVar("request", default=None)


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, message, the request's id, and its fields."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line; a traceback is one string in it."""
        time = datetime.fromtimestamp(record.created, UTC)
        line: dict[str, Any] = {
            "time": time.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "message": record.getMessage().strip(),
        }
        if request := CURRENT.get():
            line["request_id"] = request.id
        line |= _fields(record)
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, separators=(",", ":"))


class TextFormatter(logging.Formatter):
    """The message, and for a request its fields in one line."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, with a traceback below it."""
        line = record.getMessage().strip()
        if fields := _fields(record):
            time = datetime.fromtimestamp(record.created).strftime("%H:%M:%S")
            line = " ".join([time, line, *(f"{name}={value}" for name, value in fields.items())])
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def log_config(settings: Settings) -> dict[str, Any]:
    """Return the configuration of ``logging`` for a server's process."""
    wanted = settings.log_format
    if wanted == "auto":
        wanted = "text" if sys.stderr.isatty() else "json"
    formatter = JsonFormatter if wanted == "json" else TextFormatter
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": {"()": formatter}},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
        "root": {"level": "WARNING", "handlers": ["stderr"]},
        "loggers": {
            "doctor_derma": {"level": "INFO"},
            # With several processes, it tells of those that die and those that replace them.
            "uvicorn.error": {"level": "INFO" if settings.workers > 1 else "WARNING"},
        },
    }


def log_request(level: int, **fields: Any) -> None:
    """Write the line of a request."""
    _requests.log(level, "request", extra={"fields": fields})


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    return getattr(record, "fields", {})
