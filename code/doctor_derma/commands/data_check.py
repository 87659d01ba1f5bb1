"""``derma data check`` and ``derma data apply``: what is wrong in a data set, and its mending."""

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from doctor_derma.errors import DermaError
from doctor_derma.terminal import terminal
from doctor_derma.workspace import Workspace

if TYPE_CHECKING:
    import numpy as np

    from doctor_derma.data.manifest import Dataset
    from doctor_derma.evaluation.tables import Table
    from doctor_derma.inference.classifier import Classifier

# The folder of what is found, among the audits of a model.
FOLDER = "data_check"


def check(
    model: Annotated[
        str,
        typer.Argument(
            help="What the runs of --folds have in common in their names; or a run, a bundle's "
            "folder, 'champion'."
        ),
    ],
    pictures: Annotated[
        int, typer.Option(min=1, help="Pictures of each problem on the page.")
    ] = 48,
) -> None:
    """Find wrong labels, leakage, outliers and poor pictures, for a person to look at.

    Labels and outliers are judged by networks that have not seen the image. Not a medical device.
    """
    table, folder, notes = check_data(Workspace.find(), model, pictures)
    console = terminal(soft_wrap=True)
    for note in notes:
        console.print(note, style="yellow")
    console.print(table)
    console.print(
        f"Look at {folder / 'data_check.html'}, fill in the column action of "
        f"{folder / 'data_check.csv'} there or in a spreadsheet, and run: derma data apply FILE"
    )


def apply(
    file: Annotated[Path, typer.Argument(help="CSV of derma data check with actions filled in.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Apply without a question.")] = False,
) -> None:
    """Drop and relabel images as a file says: all of it or nothing, and keep a record."""
    from doctor_derma.data.corrections import apply_corrections, planned_corrections
    from doctor_derma.data.importers.importing import end_renames
    from doctor_derma.data.manifest import CORRECTIONS_FILE, read_dataset

    folder, console = Workspace.find().data, terminal(soft_wrap=True)
    end_renames(folder)
    dataset = read_dataset(folder)
    found = planned_corrections(file, dataset)
    if not found:
        console.print(f"{file}: no action that would change anything; nothing was done")
        return
    for (label, action), count in sorted(Counter((one.label, one.action) for one in found).items()):
        console.print(f"{count:,} of {label}: {action}")
    try:
        if not yes and not typer.confirm(
            f"Correct {len(found):,} of {len(dataset.table):,} images?"
        ):
            return
    except typer.Abort:
        raise DermaError(f"{file}: nothing was applied; say --yes to apply it") from None
    corrected = apply_corrections(found, dataset)
    console.print(
        f"Fingerprint {dataset.fingerprint[:16]} is now {corrected.fingerprint[:16]}: models that "
        "were trained before have seen other data, so train again. What was done is in "
        f"{folder / CORRECTIONS_FILE}, which 'derma data apply' does again after a fresh import"
    )


def check_data(
    workspace: Workspace, reference: str, pictures: int
) -> tuple["Table", Path, list[str]]:
    """Check the data set, in ``evaluation_images/audits/<model>/data_check/``.

    ``reference`` is a family of fold runs, a run or a bundle; of each problem so many ``pictures``
    are on the page. Returns what was found, its folder, and sentences on what could not be judged.

    Raises a DermaError when there is no such model, a fold is missing, or the data are not those of
    its training.
    """
    from doctor_derma.data.manifest import read_dataset
    from doctor_derma.evaluation.data_check import find_problems, problems_table, write_data_check

    dataset = read_dataset(workspace.data)
    name, judges = find_judges(workspace, reference, dataset)
    findings, judged = find_problems(judges, dataset)
    notes = []
    if unjudged := len(dataset.table) - len(judged.rows):
        notes.append(
            f"{unjudged:,} images were in the training of {name}, so that their labels and "
            "outliers can't be judged by it; derma train --folds 5 trains networks for all of them"
        )
    info = {
        "model": name,
        "bundles": [classifier.name for classifier, _ in judges],
        "dataset": dataset.info.name,
        "dataset_fingerprint": dataset.fingerprint,
        "judged": len(judged.rows),
    }
    folder = workspace.evaluation_images / "audits" / name / FOLDER
    write_data_check(findings, dataset, info, folder, notes, pictures)
    return problems_table(findings, dataset.info.name), folder, notes


def find_judges(
    workspace: Workspace, reference: str, dataset: "Dataset"
) -> tuple[str, list[tuple["Classifier", "np.ndarray"]]]:
    """Return a model's name, and its networks, each with the images that it has not seen.

    Those are as in ``load_judges``; of a model that was trained on all but the test split, its
    twins judge what they left out. Raises as ``check_data``.
    """
    from doctor_derma.bundle import read_info
    from doctor_derma.commands.models import find_bundle
    from doctor_derma.export.out_of_fold import fold_bundles
    from doctor_derma.export.unseen import load_judges, with_twins

    if family := fold_bundles(workspace.runs, reference):
        return reference, load_judges(family, dataset)
    bundle = find_bundle(workspace, reference)
    return read_info(bundle).name, load_judges(with_twins(workspace.runs, bundle), dataset)
