"""``python -m benchmarks`` lists what is measured here, ``python -m benchmarks NAME ARGS`` does it.

A script is in the list by the sentence ``Takes ...; needs ....`` of its docstring.
"""

import ast
import re
import runpy
import sys
from pathlib import Path

from benchmarks.command import show

HERE = Path(__file__).resolve().parent
EFFORT = re.compile(r"^Takes (.+?); needs (.+?)\.$", re.MULTILINE | re.DOTALL)


def benchmarks() -> dict[Path, tuple[str, ...]]:
    """Return name, first line, time and needs of each script."""
    found = {}
    for path in [*sorted(HERE.glob("*.py")), HERE / "serving/run.py"]:
        text = ast.get_docstring(ast.parse(path.read_text())) or ""
        if effort := EFFORT.search(text):
            name = path.stem if path.parent == HERE else path.parent.name
            lines = (" ".join(part.split()) for part in effort.groups())
            found[path] = (name, text.splitlines()[0], *lines)
    return found


def main() -> None:
    found = benchmarks()
    name, *arguments = sys.argv[1:] or ["--help"]
    if name in ("-h", "--help"):
        show("", ("name", "what it measures", "takes", "needs"), found.values(), "left")
        return
    scripts = {listed: path for path, (listed, *_) in found.items()}
    if name not in scripts:
        sys.exit(f"{name}: no benchmark has this name; there are {', '.join(scripts)}")
    # As if it was started by its path: what lies beside it is found.
    sys.argv = [str(scripts[name]), *arguments]
    sys.path[0] = str(scripts[name].parent)
    runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    main()
