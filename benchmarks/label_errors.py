"""How many wrong labels does `derma data check` find, where it is known which are wrong?

Imports the archive, gives 3% of the images of training and validation another class at random,
trains five folds on that, cheaply, and prints which share of these images is in the first 3% and
6% of the list: of the whole list of `derma data check`, and of the label errors alone. Call it
again to go on where it was stopped.

Takes about 20 minutes; needs the HAM10000 archive.
"""

from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
from typer import Argument, Option

from command import run, show
from doctor_derma.commands.data_check import FOLDER, check_data
from doctor_derma.data.corrections import apply_corrections, planned_corrections
from doctor_derma.data.manifest import Dataset, read_dataset
from doctor_derma.data.problems import Problem
from doctor_derma.evaluation.data_check import CSV_FILE
from doctor_derma.workspace import Workspace
from minutes_to_accuracy import RECIPE, derma

FLAGS = {
    "model": "eca_efficientnet_lite0",
    "folds": 5,
    "freeze": 5,
    "epochs": 3,
    "patience": 3,
    "image-size": "64x80",
    "train-size": "64x80",
    "start-size": "64x80",
    "class-cap": 1000,
    "mixup": 0,
    "cutout": 0,
    "ema-decay": 0.98,
}
SHARES = (0.03, 0.06)


def main(
    folder: Annotated[Path, Argument(help="of the HAM10000 archive")],
    root: Annotated[Path, Argument(help="scratch root, in which all is kept")],
    flags: Annotated[list[str] | None, Argument(help="more of derma train, after --")] = None,
    share: Annotated[float, Option(help="of the labels to be changed")] = 0.03,
    seed: int = 0,
    name: Annotated[str, Option(help="of the runs")] = "folds64",
) -> None:
    workspace = Workspace(root.resolve())
    flipped = workspace.root / "flipped.csv"
    if not (workspace.data / "manifest.csv").is_file():
        derma(workspace.root, "data", "import", "ham10000", str(folder))
    if not flipped.is_file():
        flip(read_dataset(workspace.data), share, seed, flipped)
    recipe = [f"--{flag}={value}" for flag, value in FLAGS.items()] + (flags or [])
    derma(workspace.root, "train", "--config", str(RECIPE), "--name", name, *recipe)
    check_data(workspace, name, pictures=12)
    report(workspace, name, pd.read_csv(flipped))


def flip(dataset: Dataset, share: float, seed: int, file: Path) -> None:
    """Give images another class, each of the others as likely, and keep which they are."""
    rng = np.random.default_rng(seed)
    table = dataset.table
    rows = np.flatnonzero(table["split"] != "test")
    chosen = np.sort(rng.choice(rows, round(share * len(rows)), replace=False))
    of_them = table.iloc[chosen]
    new = [
        str(rng.choice([other for other in dataset.classes if other != name]))
        for name in of_them["class"]
    ]
    asked = file.with_name("flips.csv")
    actions = [f"relabel:{name}" for name in new]
    pd.DataFrame({"path": of_them["path"], "action": actions}).to_csv(asked, index=False)
    apply_corrections(planned_corrections(asked, dataset), dataset)
    columns = {"image": of_them["image"], "true": of_them["class"], "flipped": new}
    pd.DataFrame(columns).to_csv(file, index=False)


def report(workspace: Workspace, name: str, flipped: pd.DataFrame) -> None:
    dataset = read_dataset(workspace.data)
    folder = workspace.evaluation_images / "audits" / name / FOLDER
    listed = pd.read_csv(folder / CSV_FILE, keep_default_na=False)
    table = dataset.table.set_index("path").loc[listed["path"]]
    listed = listed.assign(image=table["image"].to_numpy())[(table["split"] != "test").to_numpy()]
    images = int((dataset.table["split"] != "test").sum())
    true = flipped.set_index("image")["true"]
    with_label = listed["problem"].str.split("; ").map(lambda all: Problem.LABEL in all)
    lists = {"the whole list": listed, "label errors alone": listed[with_label]}
    found = []
    for title, rows in lists.items():
        for share in SHARES:
            first = rows.head(round(share * images))
            caught = first[first["image"].isin(true.index)]
            right = caught["suggested"] == "relabel:" + caught["image"].map(true)
            counts = f"{len(rows):,}", f"{share:.0%}: {len(first):,}"
            part = f"{len(caught)} ({len(caught) / len(true):.1%})"
            found.append((title, *counts, part, f"{right.mean():.1%}", f"{share:.1%}"))
    headings = "list", "its length", "first", "found", "true class suggested", "by chance"
    show(f"{len(flipped)} of {images:,} labels changed", headings, found)


if __name__ == "__main__":
    run(main)
