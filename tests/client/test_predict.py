"""``derma predict --url`` writes what ``derma predict`` writes."""

from pathlib import Path
from typing import Literal

import pytest
from typer.testing import CliRunner

from client.conftest import KEY, Server
from doctor_derma.client.predict import run_remote_predict
from doctor_derma.commands.app import app
from doctor_derma.errors import DermaError
from doctor_derma.inference.predict import run_predict
from server.fake_engine import encoded
from tiny_bundle import BLUE, GREEN, RED


@pytest.fixture
def sources(tmp_path: Path) -> list[str]:
    for name, colour in (("a", RED), ("b", GREEN), ("c", BLUE)):
        (tmp_path / f"{name}.png").write_bytes(encoded(colour))
    (tmp_path / "d.png").write_bytes(b"")
    return [str(tmp_path), str(tmp_path / "missing.png")]


@pytest.mark.parametrize("format", ["table", "json", "csv"])
def test_the_output_is_that_of_the_model_at_hand(
    server: Server,
    sources: list[str],
    format: Literal["table", "json", "csv"],
    capsys: pytest.CaptureFixture,
) -> None:
    assert run_predict(sources, server.bundle, format) == 2
    local = capsys.readouterr().out
    assert run_remote_predict(sources, server.url, KEY, format) == 2
    assert capsys.readouterr().out == local


def test_the_command_takes_the_key_from_the_environment(server: Server, sources: list[str]) -> None:
    command = ["predict", *sources, "--url", server.url, "--format", "csv"]
    done = CliRunner().invoke(app, command, env={"DERMA_API_KEY": KEY})
    assert done.exit_code == 1
    assert [line.split(",")[1] for line in done.stdout.splitlines()] == [
        *("label", "mel", "nv", "vasc", "", "")
    ]


def test_url_and_model_exclude_each_other(tmp_path: Path) -> None:
    command = ["predict", "a.png", "--url", "http://localhost", "--model", str(tmp_path)]
    done = CliRunner().invoke(app, command)
    assert isinstance(done.exception, DermaError)
    assert str(done.exception).startswith("--url: ")
