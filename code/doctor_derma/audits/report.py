"""An audit on disk: a folder with its figures as CSV, its pictures, and what it is of."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from doctor_derma.atomic import replacing_own_folder
from doctor_derma.audits.suite import Audit
from doctor_derma.evaluation.plots.style import save_png
from doctor_derma.evaluation.report import write_json
from doctor_derma.evaluation.tables import Table
from doctor_derma.terminal import terminal, with_progress

TABLES_FILE = "tables.txt"
PROVENANCE_FILE = "provenance.json"


def write_audit(audit: Audit, provenance: Mapping[str, Any], folder: Path) -> None:
    """Replace the folder of an audit: CSV files, PNG pictures, and the tables as text.

    Parameters
    ----------
    provenance : what was audited, JSON values, kept in ``provenance.json``. Expected:
        ``split``, ``dataset_fingerprint``, ``weights_sha256``

    Raises
    ------
    DermaError
        When ``folder`` holds something else than an audit.
    """
    with replacing_own_folder(folder, TABLES_FILE) as scratch:
        for name, frame in audit.frames.items():
            frame.to_csv(scratch / f"{name}.csv", index=False, float_format="%.6g")
        for name, figure in with_progress(list(audit.figures.items()), "Drawing plots"):
            save_png(figure, scratch / f"{name}.png")
        write_json(dict(provenance), scratch / PROVENANCE_FILE)
        (scratch / TABLES_FILE).write_text("\n".join(map(_as_text, audit.tables)))


def _as_text(table: Table) -> str:
    console = terminal(width=140, no_color=True)
    with console.capture() as capture:
        console.print(table)
    return capture.get()
