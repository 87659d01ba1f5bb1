"""Imports go one way, also those by name, and the command line starts without heavy packages.

The layers themselves are contracts of import-linter, in ``pyproject.toml``.
"""

import ast
import importlib.util
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import doctor_derma

PACKAGE = Path(doctor_derma.__file__).parent
ROOT = Path(__file__).parents[1]
MODULE = re.compile(r"doctor_derma(\.[a-z_]+)+")
LOGGERS = {"doctor_derma.request"}
HEAVY = (
    "huggingface_hub",
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


def test_the_contracts_of_import_linter_are_kept() -> None:
    command = [str(Path(sys.executable).parent / "lint-imports"), "--no-logo", "--no-cache"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def ranks() -> dict[str, int]:
    """Return the height of each package, by the contract; that of the base modules is 0."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    [layers] = [found["layers"] for found in settings["contracts"] if found["type"] == "layers"]
    rows = [re.split(r"\s*[|:]\s*", row) for row in reversed(layers)]
    return {package: height for height, row in enumerate(rows) for package in row}


def named_modules(path: Path) -> Iterator[str]:
    """Yield modules of the package that strings in a file name, as ``python -m`` takes them."""
    tree = ast.parse(path.read_text())
    texts = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in texts:
            yield from (found[0] for found in MODULE.finditer(node.value))


def test_modules_that_strings_name_are_there_and_lower() -> None:
    """Import-linter does not see them: modules run by name, or logged as MLflow's code."""
    heights, found = ranks(), []
    for path in sorted(PACKAGE.rglob("*.py")):
        package = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        for name in named_modules(path):
            if name in LOGGERS:
                continue
            found.append(name)
            assert importlib.util.find_spec(name), f"{path} names {name}, which is not there"
            named = name.split(".")[1]
            assert named == package or heights[named] < heights[package], f"{path} names {name}"
    assert "doctor_derma.inference.mlflow_model" in found


def test_there_are_at_most_nine_layers() -> None:
    assert max(ranks().values()) < 9


def test_importing_a_package_loads_nothing_of_it() -> None:
    """So that whoever imports one module of a package gets that module and no other."""
    for path in sorted(PACKAGE.glob("*/**/__init__.py")):
        if path.parent.name == "client":  # Its names are what its users import.
            continue
        imports = [node for node in ast.walk(ast.parse(path.read_text())) if is_import(node)]
        assert imports == [], f"{path} imports"


def is_import(node: ast.AST) -> bool:
    return isinstance(node, ast.Import | ast.ImportFrom)


def loaded(code: str, packages: tuple[str, ...]) -> tuple[subprocess.CompletedProcess[str], str]:
    """Run a program; return how it ended, and which of the packages it loaded."""
    program = f"{code}\nimport sys\nprint('LOADED', *(set({packages!r}) & set(sys.modules)))"
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout, done.stderr
    return done, done.stdout.splitlines()[-1].removeprefix("LOADED").strip()


def test_a_client_loads_neither_a_model_nor_a_server() -> None:
    code = "import doctor_derma.client, doctor_derma.client.predict"
    assert loaded(code, ("onnxruntime", "fastapi", "uvicorn", *HEAVY))[1] == ""


def test_a_server_loads_nothing_of_training() -> None:
    assert loaded("import doctor_derma.server.run", HEAVY)[1] == ""


def test_help_loads_no_heavy_package() -> None:
    asked = [["--help"], ["train", "--help"], ["predict", "--help"], ["data", "import"]]
    code = (
        "import sys\n"
        "from doctor_derma.commands.app import main\n"
        f"for arguments in {asked!r}:\n"
        "    sys.argv = ['derma', *arguments]\n"
        "    try:\n        main()\n    except SystemExit:\n        pass\n"
    )
    done, found = loaded(code, HEAVY)
    assert done.stdout.count("Usage: derma") == len(asked)
    assert found == "", done.stderr
