"""The list of the benchmarks, how one is run, and what the scripts share for it."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any

import pytest
from typer import Option

from command import run, show
from doctor_derma.errors import DermaError

ROOT = Path(__file__).resolve().parents[2]
BENCHMARKS = ROOT / "benchmarks"
STARTS = 'if __name__ == "__main__":'
SCRIPTS = [path for path in BENCHMARKS.glob("[a-z]*.py") if STARTS in path.read_text()]
NAMES = {path.stem for path in SCRIPTS} | {"serving"}


def ran(*arguments: object) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "benchmarks", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_every_script_is_in_the_list() -> None:
    done = ran()
    listed = {line.split()[1] for line in done.stdout.splitlines() if re.match("│ [a-z]", line)}
    assert listed == NAMES, done.stderr
    assert "an idle machine" in done.stdout


def test_a_name_that_is_none_is_one_sentence_with_those_that_are() -> None:
    done = ran("spead")
    sentence, names = done.stderr.rstrip().split("; there are ")
    assert sentence == "spead: no benchmark has this name"
    assert set(names.split(", ")) == NAMES
    assert done.returncode == 1


def test_a_name_runs_the_script_with_its_arguments(tmp_path: Path) -> None:
    missing = tmp_path / "none.json"
    done = ran("replicas", "--measured", missing)
    assert done.stderr.startswith(f"{missing}: can't be read")
    assert done.stderr.count("\n") == done.returncode == 1


def test_scripts_that_the_docs_name_are_there() -> None:
    pages = [ROOT / "README.md", BENCHMARKS / "README.md", *(ROOT / "docs").rglob("*.md")]
    texts = [page.read_text() for page in pages]
    named = {name for text in texts for name in re.findall(r"(?<!/)benchmarks/([\w/]+\.py)", text)}
    there = {path.name for path in SCRIPTS} | {"serving/run.py"}
    assert "attention.py" in named
    assert named - there == {"NAME.py"}


def one(count: Annotated[int, Option(help="of all")] = 2) -> None:
    print("one", count)


def other(path: Path) -> None:
    """Second."""
    raise DermaError(f"{path}: is missing; make it")


@pytest.mark.parametrize(
    ("functions", "arguments", "code", "printed"),
    [
        ([one], ["--count", "3"], 0, "one 3"),
        ([one], ["--count", "many"], 2, "Invalid value for "),
        ([one], ["--help"], 0, "The list of the benchmarks"),
        ([one, other], ["one"], 0, "one 2"),
        ([one, other], ["--help"], 0, "Second."),
        ([other], ["a.csv"], "a.csv: is missing; make it", ""),
    ],
)
def test_parameters_are_arguments(
    functions: list[Any],
    arguments: list[str],
    code: int | str,
    printed: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "argv", ["script.py", *arguments])
    with pytest.raises(SystemExit) as ended:
        run(*functions)
    assert ended.value.code == code
    assert printed in "".join(capsys.readouterr())


def test_a_table_shows_names_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    show("[i]Title", ("class", "n"), [("[b]", 12), ("other", 3)])
    printed = capsys.readouterr().out
    assert "[i]Title" in printed
    assert re.search(r"│ \[b\] +│ +12 │\n│ other +│ +3 │", printed)
