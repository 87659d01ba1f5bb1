"""Imports go one way, and the command line starts without the heavy packages."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import doctor_derma

PACKAGE = Path(doctor_derma.__file__).parent
ROOMS = (
    *("data", "models", "training", "tracking"),
    *("evaluation", "audits", "export", "serving", "client", "scaling"),
)
# What every room may import, and what joins the rooms up, which no room may import.
SHARED = {
    "doctor_derma",
    "doctor_derma.errors",
    "doctor_derma.workspace",
    "doctor_derma.atomic",
    "doctor_derma.telemetry",
    "doctor_derma.proxies",
    "doctor_derma.terminal",
}
COMPOSERS = {"cli", "pipeline"}
SERVING_READS = {
    "doctor_derma.images.decoding",
    "doctor_derma.diagnoses",
    "doctor_derma.images.bit_depth",
    "doctor_derma.images.colour_profiles",
    "doctor_derma.images.large_pictures",
    "doctor_derma.images.file_structure",
    "doctor_derma.images.quality",
    "doctor_derma.images.walking",
    "doctor_derma.inference.alignment",
    "doctor_derma.inference.conformal",
    "doctor_derma.decisions",
    "doctor_derma.bundle",
    "doctor_derma.export.decision",
}
# What a client shares with its server: the answers, and what is done with them.
CLIENT_READS = {
    "doctor_derma.images.decoding",
    "doctor_derma.decisions",
    "doctor_derma.inference.prediction",
    "doctor_derma.inference.reporting",
    "doctor_derma.server.schemas",
    "doctor_derma.server.problems",
    "doctor_derma.server.schemas",
    "doctor_derma.inference.row",
    "doctor_derma.inference.sources",
}
HEAVY = (
    "ray",
    "torch",
    "torchvision",
    "timm",
    "lightning",
    "pandas",
    "sklearn",
    "matplotlib",
    "mlflow",
)


def modules() -> Iterator[Path]:
    return (path for path in sorted(PACKAGE.rglob("*.py")))


def imported(path: Path) -> set[str]:
    """Return the modules of the package that a file imports, anywhere in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            name = node.module or ""
            for alias in node.names:
                inner = PACKAGE.parent / f"{name}.{alias.name}".replace(".", "/")
                is_module = inner.is_dir() or inner.with_suffix(".py").is_file()
                found.add(f"{name}.{alias.name}" if is_module else name)
    return {name for name in found if name.split(".")[0] == "doctor_derma"}


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def test_every_module_belongs_to_a_room() -> None:
    others = {room(path) for path in modules()} - set(ROOMS) - COMPOSERS
    shared = {"errors", "workspace", "atomic", "telemetry", "proxies", "terminal"}
    assert others == {"__init__"} | shared


def test_rooms_import_earlier_rooms_only() -> None:
    wrong = []
    for path in modules():
        here = room(path)
        if here not in ROOMS:
            continue
        allowed = ROOMS[: ROOMS.index(here) + 1]
        for name in imported(path) - SHARED:
            if name.split(".")[1] not in allowed:
                wrong.append(f"{path.relative_to(PACKAGE)} imports {name}")
    assert wrong == []


def test_serving_reads_exported_bundles_only() -> None:
    wrong = []
    for path in (PACKAGE / "serving").rglob("*.py"):
        for name in imported(path) - SHARED - SERVING_READS:
            if not name.startswith("doctor_derma.server"):
                wrong.append(f"{path.relative_to(PACKAGE)} imports {name}")
    assert wrong == []


def test_a_client_shares_answers_only_with_its_server() -> None:
    wrong = []
    for path in (PACKAGE / "client").rglob("*.py"):
        for name in imported(path) - SHARED - CLIENT_READS:
            if not name.startswith("doctor_derma.client"):
                wrong.append(f"{path.relative_to(PACKAGE)} imports {name}")
    assert wrong == []


def test_a_client_loads_neither_a_model_nor_a_server() -> None:
    code = (
        "import sys, doctor_derma.client, doctor_derma.client.predict\n"
        "print(*({'onnxruntime', 'fastapi', 'uvicorn'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


@pytest.mark.parametrize("name", sorted(SERVING_READS | SHARED))
def test_what_serving_reads_imports_nothing_else(name: str) -> None:
    path = PACKAGE.parent / name.replace(".", "/")
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    lazily = {"doctor_derma.inference.classifier", "doctor_derma.server"}
    allowed = SHARED | SERVING_READS | (lazily if name == "doctor_derma" else set())
    assert imported(file) <= allowed


def test_composers_are_imported_by_composers_only() -> None:
    importers = {
        room(path)
        for path in modules()
        if any(
            name.split(".")[1:2] == [composer] for composer in COMPOSERS for name in imported(path)
        )
    }
    assert importers <= COMPOSERS


def test_what_is_past_one_machine_stays_there() -> None:
    scaled = {room(path) for path in modules() if imported_by_ray(path)}
    assert scaled == {"scaling"}


def imported_by_ray(path: Path) -> bool:
    """Say whether a file imports Ray, at its top or later."""
    names = (
        alias.name if isinstance(node, ast.Import) else node.module or ""
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    )
    return any(name.split(".")[0] == "ray" for name in names)


def test_the_command_line_composes_lazily() -> None:
    """At their tops its files import what reading settings needs, and no room's machinery."""
    allowed = SHARED | {
        "doctor_derma.training.config",
        "doctor_derma.commands.data",
        "doctor_derma.decisions",
    }
    for path in (PACKAGE / "cli").glob("*.py"):
        tree = ast.parse(path.read_text())
        top = {node.module for node in tree.body if isinstance(node, ast.ImportFrom)}
        own = {name for name in top if name and name.startswith("doctor_derma")}
        assert {name for name in own if not name.startswith("doctor_derma.commands.app")} <= allowed


@pytest.mark.parametrize(
    "arguments", [["--help"], ["train", "--help"], ["predict", "--help"], ["data", "import"]]
)
def test_help_loads_no_heavy_package(arguments: list[str]) -> None:
    code = (
        "import sys\n"
        "from doctor_derma.commands.app import main\n"
        f"sys.argv = ['derma', *{arguments!r}]\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        f"print('LOADED', *(set({HEAVY!r}) & set(sys.modules)))"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "Usage: derma" in done.stdout
    assert done.stdout.splitlines()[-1] == "LOADED", done.stderr
