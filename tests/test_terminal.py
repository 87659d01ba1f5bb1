"""Names are shown as they are, whatever Rich would make of them."""

import io
import re
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console
from rich.table import Table

import doctor_derma
from data.pictures import class_folders, encoded, picture, write
from doctor_derma.data.description import describe
from doctor_derma.data.manifest import read_dataset
from doctor_derma.terminal import cells, terminal

PACKAGE = Path(doctor_derma.__file__).parent
ODD = ["mel [in situ]", "mel [invasive]", "nv [/]", ":skull: [bold red]x[/]", "50% [link=a]"]


def test_text_is_printed_as_it_is() -> None:
    stream = io.StringIO()
    console = terminal(file=stream, width=100)
    table = Table("name")
    for name in ODD:
        console.print(name, style="yellow")
        table.add_row(name)
    console.print(table)
    for name in ODD:
        assert stream.getvalue().count(name) == 2


def test_cells_are_text_on_any_console() -> None:
    table = Table()
    table.add_row(*cells(*ODD, 5))
    console = Console(file=io.StringIO(), width=200)
    console.print(table)
    assert isinstance(console.file, io.StringIO)
    for name in (*ODD, "5"):
        assert name in console.file.getvalue()


def test_nothing_else_makes_a_console() -> None:
    """Markup would be back with the first of them."""
    found = [
        f"{path.relative_to(PACKAGE)}: {line.strip()}"
        for path in PACKAGE.rglob("*.py")
        if path.name != "terminal.py"
        for line in path.read_text().splitlines()
        if re.search(r"(?<![\w.])Console\(|rich import print|\"\[(bold|yellow|red|green|dim)", line)
    ]
    assert found == []


@pytest.fixture(scope="module")
def odd_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root whose own name and classes have brackets, with data imported by the command."""
    root = tmp_path_factory.mktemp("odd") / "root [a] :skull:"
    source = root / "source [b]"
    class_folders(source, {"mel [in situ]": 5, "mel [invasive]": 5})
    write(source / "mel [in situ]" / "bad [/x].jpg", b"none")
    done = derma(root, "data", "import", "folder", str(source))
    assert done.returncode == 0, done.stderr
    return root


def derma(root: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    program = Path(sys.executable).with_name("derma")
    command = [program, "--root", str(root), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


@pytest.mark.slow
def test_classes_with_brackets_are_told_apart(odd_root: Path) -> None:
    said = derma(odd_root, "data", "describe").stdout
    for name in ("mel [in situ]", "mel [invasive]", "source [b]", "[a] :skull:"):
        assert name in said.replace("\n", " "), said
    console = Console(file=io.StringIO(), width=120)
    console.print(describe(read_dataset(odd_root / "data")))
    assert isinstance(console.file, io.StringIO)
    assert "│ mel [invasive]" in console.file.getvalue()


@pytest.mark.slow
def test_pictures_with_brackets_are_predicted_and_mistakes_named(
    odd_root: Path, bundle: Path
) -> None:
    path = odd_root / "picture [/b].png"
    write(path, encoded(picture(1)))
    done = derma(odd_root, "predict", str(path), "--model", str(bundle))
    assert done.returncode == 0
    assert "[/b].png" in re.sub(r"[│\s]", "", done.stdout)
    done = derma(odd_root, "predict", "x [bold]*.jpg")
    assert done.returncode == 2
    assert "x [bold]*.jpg: matches no picture" in done.stderr
