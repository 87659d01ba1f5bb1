"""``derma audit``."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from doctor_derma.commands.options import Reference, Split
from doctor_derma.errors import DermaError
from doctor_derma.terminal import terminal
from doctor_derma.workspace import Workspace

if TYPE_CHECKING:
    from doctor_derma.audits.suite import Audit


def audit(
    model: Reference,
    only: Annotated[
        list[str] | None,
        typer.Option(
            help="calibration, coverage, out-of-distribution, subgroups, explanations, robustness"
        ),
    ] = None,
    split: Split = "test",
    limit: Annotated[
        int | None, typer.Option(min=1, help="Images that the robustness audit takes.")
    ] = None,
) -> None:
    """Look behind the headline: for whom, when and why a model is right, and if it knows."""
    for _, found, folder in audit_model(Workspace.find(), model, only or [], split, limit):
        terminal().print(*found.tables, f"Files: {folder}\n")


def audit_model(
    workspace: Workspace, reference: str, names: Sequence[str], split: str, limit: int | None
) -> Iterator[tuple[str, "Audit", Path]]:
    """Audit a run or bundle, in ``evaluation_images/audits/<model>/<audit>/``, one by one.

    ``names`` are of ``AUDITS`` or ``ALIASES``, all of them when empty; ``limit`` is how many
    pictures the robustness audit takes, None for all. Raises a DermaError when a name is unknown,
    or as ``evaluate`` does.
    """
    from doctor_derma.audits.suite import ALIASES, AUDITS, Audited, write_audit
    from doctor_derma.commands.models import predict, provenance
    from doctor_derma.data.manifest import read_dataset

    names = [ALIASES.get(name, name) for name in names]
    if unknown := sorted(set(names) - set(AUDITS)):
        raise DermaError(f"audit '{unknown[0]}': unknown; use {', '.join(AUDITS)}")
    dataset = read_dataset(workspace.data)
    classifier, predictions = predict(workspace, reference, dataset, split)
    info = classifier.info
    audited = Audited(classifier, predictions, dataset, limit)
    for name in names or AUDITS:
        folder = workspace.evaluation_images / "audits" / info.name / name
        found = AUDITS[name](audited)
        write_audit(found, provenance(info, dataset, split), folder)
        yield name, found, folder
