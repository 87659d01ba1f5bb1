"""``derma evaluate``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from doctor_derma.commands.options import (
    CostsFile,
    Gallery,
    Reference,
    RuleChoice,
    Split,
    costs_in,
    parse_map,
)
from doctor_derma.decisions import Costs, Rule
from doctor_derma.errors import DermaError
from doctor_derma.finite import finite_values
from doctor_derma.terminal import terminal
from doctor_derma.workspace import Workspace

if TYPE_CHECKING:
    from doctor_derma.evaluation.predictions import Predictions
    from doctor_derma.evaluation.report import Evaluation


def evaluate(
    run: Reference,
    split: Split = "test",
    gallery: Gallery = True,
    rule: RuleChoice = None,
    costs: CostsFile = None,
    patient_data: Annotated[
        bool,
        typer.Option("--patient-data", help="Weigh age, sex and site of the manifest as well."),
    ] = False,
    data: Annotated[
        Path | None, typer.Option(help="Another set instead: a folder, or a table with labels.")
    ] = None,
    images: Annotated[
        list[Path] | None, typer.Option(help="With --data TABLE: where its pictures are.")
    ] = None,
    map: Annotated[
        list[str] | None,
        typer.Option(help="With --data: LABEL=CLASS, or LABEL=drop; *=... is all others."),
    ] = None,
    name: Annotated[str | None, typer.Option(help="With --data: name of the set.")] = None,
) -> None:
    """Measure a model with 95% intervals; pictures and report in evaluation_images/."""
    if data is not None:
        if patient_data or split != "test":
            flag = "--patient-data" if patient_data else "--split"
            raise DermaError(f"{flag}: is of the data in data/; leave it out with --data")
        from doctor_derma.commands.evaluate_external import evaluate_external

        asked = (images or [], parse_map(map or []), name, gallery, rule, costs_in(costs))
        _, shown, folder = evaluate_external(Workspace.find(), run, data, *asked)
        terminal().print(*shown, f"Report: {folder / 'report.html'}")
        return
    if images or map or name:
        raise DermaError("--images, --map and --name: belong to --data; add it, or leave them out")
    from doctor_derma.evaluation.tables import evaluation_tables

    predictions, figures, folder = evaluate_model(
        Workspace.find(), run, split, gallery, rule, costs_in(costs), patient_data
    )
    tables = evaluation_tables(predictions, figures.metrics, figures.rules)
    terminal().print(*tables, f"Report: {folder / 'report.html'}")


def evaluate_model(
    workspace: Workspace,
    reference: str,
    split: str,
    gallery: bool = True,
    rule: Rule | None = None,
    costs: Costs | None = None,
    patient_data: bool = False,
) -> tuple["Predictions", "Evaluation", Path]:
    """Evaluate a run or bundle on a split of the data, in ``evaluation_images/<model>/``.

    Without ``gallery`` no picture of the data set is in the report, so that it may be
    published whatever the licence of the pictures.

    Figures by another ``rule`` or other ``costs`` than the bundle's own, or with ``patient_data``,
    are not what it is known by: they are not tracked, and in ``evaluation_images/<model>-<rule>/``
    or ``<model>-patient-data/``.
    """
    from doctor_derma.commands.models import predict, provenance, with_patients, without_pictures
    from doctor_derma.data.manifest import read_dataset
    from doctor_derma.evaluation.report import write_evaluation
    from doctor_derma.tracking.tracker import log_evaluation

    dataset = read_dataset(workspace.data)
    classifier, predictions = predict(workspace, reference, dataset, split, rule, costs)
    info = classifier.info
    if patient_data:
        predictions = with_patients(predictions, info, dataset)
    if not gallery:
        predictions = without_pictures(predictions)
    own = rule is None and costs is None
    name = predictions.name if own else f"{predictions.name}-{predictions.rule}"
    folder = workspace.evaluation_images / name
    figures = write_evaluation(predictions, provenance(info, dataset, split), folder)
    if own and not patient_data and info.run != info.name:
        values = finite_values({name: found.value for name, found in figures.metrics.items()})
        log_evaluation(workspace, info.run, split, values, folder)
    return predictions, figures, folder
