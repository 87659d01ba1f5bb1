"""The lines of the log, as JSON for programs and as text for people."""

import json
import logging
from typing import Any

from doctor_derma.server.logs import JsonFormatter, TextFormatter


def record(message: str, **extra: Any) -> logging.LogRecord:
    made = logging.LogRecord("name", logging.WARNING, "file", 1, message, (), None)
    for name, value in extra.items():
        setattr(made, name, value)
    return made


def test_json_is_one_line_whatever_the_message_holds() -> None:
    line = JsonFormatter().format(record('two\nlines "quoted"'))
    assert "\n" not in line
    assert json.loads(line)["message"] == 'two\nlines "quoted"'
    assert json.loads(line)["level"] == "warning"


def test_a_traceback_is_a_string_in_json_and_below_in_text() -> None:
    try:
        raise RuntimeError("out of luck")
    except RuntimeError as error:
        failed = record("failed", exc_info=(type(error), error, error.__traceback__))
    assert "RuntimeError: out of luck" in json.loads(JsonFormatter().format(failed))["traceback"]
    first, *below = TextFormatter().format(failed).splitlines()
    assert first == "failed"
    assert below[-1] == "RuntimeError: out of luck"


def test_text_is_for_people() -> None:
    fields = {"method": "POST", "path": "/v1/predict", "status": 200}
    line = TextFormatter().format(record("request", fields=fields))
    assert line[8:] == " request method=POST path=/v1/predict status=200"
    assert TextFormatter().format(record("Serving")) == "Serving"
