"""The manifests of ``deployment/scale``, read."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer
import yaml

from doctor_derma.commands.app import app

ROOT = Path(__file__).resolve().parents[3]
SCALE = ROOT / "deployment" / "scale"
FILES = sorted(SCALE.rglob("*.yaml"))
# Helm's values and Kustomize's own files are for other programs than Kubernetes, as is Ray's.
OTHERS = {"kustomization.yaml", "adapter-values.yaml", "scrape.yaml", "cluster-aws.yaml"}
MANIFESTS = [path for path in FILES if path.name not in OTHERS]


def name_of(path: Path) -> str:
    return str(path.relative_to(SCALE))


def read(path: Path | str) -> dict[str, Any]:
    return yaml.safe_load((SCALE / path).read_text())


def everything(node: Any) -> Iterator[Any]:
    """Yield a document's parts, itself first."""
    yield node
    children = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    for child in children:
        yield from everything(child)


def pod_templates(manifest: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the templates of pods wherever they are in a manifest."""
    parts = (part for part in everything(manifest) if isinstance(part, dict))
    return [part["template"] for part in parts if isinstance(part.get("template"), dict)]


def shown_commands(path: Path | str) -> list[str]:
    """Return the ``derma`` commands that the comments of a file show."""
    lines = [line for line in (SCALE / path).read_text().splitlines() if line.startswith("#")]
    found = re.findall(r"(?<![\w/-])derma (?:predict|train|tune|serve)\b[^'`\n]*", "\n".join(lines))
    return [command.strip() for command in found]


def parse_derma(command: str) -> None:
    """Let the command line take a command apart, without running it."""
    program, name, *arguments = shlex.split(command)
    assert program == "derma"
    group: Any = typer.main.get_command(app)
    with group.make_context("derma", [], resilient_parsing=True) as context:
        found = group.get_command(context, name)
        assert found is not None, f"derma has no command {name}"
        found.make_context(name, arguments, parent=context)
