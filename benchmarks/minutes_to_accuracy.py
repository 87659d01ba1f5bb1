"""How long a newcomer waits: from the published archive to a validation balanced accuracy of 0.70.

    python benchmarks/minutes_to_accuracy.py FOLDER        # of the HAM10000 archive

Imports the archive into a temporary root, trains with `code/configs/finetune.yaml` on what the
machine has, and prints when each epoch ended, counted from the start of the import.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd
from rich.table import Table

from doctor_derma.terminal import terminal

RECIPE = Path(__file__).parents[1] / "code/configs/finetune.yaml"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="of the HAM10000 archive")
    parser.add_argument("--model", default="eca_efficientnet_lite0")
    parser.add_argument("--goal", type=float, default=0.70, help="balanced accuracy to reach")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        began = time.time()
        derma(root, "data", "import", "ham10000", str(chosen.folder))
        imported = time.time() - began
        derma(root, "train", "--config", str(RECIPE), "--model", chosen.model, "--name", "run")
        # Exporting comes after the last epoch, and starting before the first.
        curves = root / "mlflow/runs/run/metrics.csv"
        epochs = pd.read_csv(curves)
        ended = curves.stat().st_mtime - began
    ends = ended - epochs["seconds"][::-1].cumsum()[::-1].shift(-1, fill_value=0)
    table = Table(title=f"{chosen.model}, import {imported:.0f} s")
    for column in ("epoch", "minutes since the import began", "balanced accuracy", "macro AUC"):
        table.add_column(column, justify="right")
    for (_, epoch), end in zip(epochs.iterrows(), ends, strict=True):
        reached = epoch["val_balanced_accuracy"]
        table.add_row(
            f"{epoch['epoch'] + 1:.0f}",
            f"{end / 60:.1f}",
            f"[bold]{reached:.3f}[/bold]" if reached >= chosen.goal else f"{reached:.3f}",
            f"{epoch['val_macro_auc']:.3f}",
        )
    terminal().print(table)


def derma(root: Path, *arguments: str) -> None:
    command = [sys.executable, "-m", "doctor_derma", "--root", str(root), *arguments]
    subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
