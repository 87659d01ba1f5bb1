"""How long a newcomer waits: from the published archive to a validation balanced accuracy of 0.70.

Imports the archive into a temporary root, trains with `code/configs/finetune.yaml` on what the
machine has, and prints when each epoch ended, counted from the start of the import.

Takes about 10 minutes; needs the HAM10000 archive.
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated

import pandas as pd
from rich.text import Text
from typer import Argument, Option

from command import run, show

RECIPE = Path(__file__).parents[1] / "code/configs/finetune.yaml"


def main(
    folder: Annotated[Path, Argument(help="of the HAM10000 archive")],
    model: str = "eca_efficientnet_lite0",
    goal: Annotated[float, Option(help="balanced accuracy to reach")] = 0.70,
) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        began = time.time()
        derma(root, "data", "import", "ham10000", str(folder))
        imported = time.time() - began
        derma(root, "train", "--config", str(RECIPE), "--model", model, "--name", "run")
        # Exporting comes after the last epoch, and starting before the first.
        curves = root / "mlflow/runs/run/metrics.csv"
        epochs = pd.read_csv(curves)
        ended = curves.stat().st_mtime - began
    ends = ended - epochs["seconds"][::-1].cumsum()[::-1].shift(-1, fill_value=0)
    rows = []
    for (_, epoch), end in zip(epochs.iterrows(), ends, strict=True):
        reached = epoch["val_balanced_accuracy"]
        number, minutes = f"{epoch['epoch'] + 1:.0f}", f"{end / 60:.1f}"
        balanced = Text(f"{reached:.3f}", style="bold" if reached >= goal else "")
        rows.append((number, minutes, balanced, f"{epoch['val_macro_auc']:.3f}"))
    headings = "epoch", "minutes since the import began", "balanced accuracy", "macro AUC"
    show(f"{model}, import {imported:.0f} s", headings, rows)


def derma(root: Path, *arguments: str) -> None:
    command = [sys.executable, "-m", "doctor_derma", "--root", str(root), *arguments]
    subprocess.run(command, check=True)


if __name__ == "__main__":
    run(main)
