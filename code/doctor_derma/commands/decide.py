"""``derma decide``: curves of sensitivity, net benefit and cost, and the rule that is chosen."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from doctor_derma.bundle import BundleInfo, Question, read_info, write_info
from doctor_derma.commands.options import Reference
from doctor_derma.errors import DermaError
from doctor_derma.hub import refuse_hub
from doctor_derma.terminal import terminal
from doctor_derma.workspace import Workspace

if TYPE_CHECKING:
    from doctor_derma.audits.suite import Audit

# The folder of what is drawn, among the audits of a model.
FOLDER = "operating_points"


def decide(
    model: Reference,
    question: Annotated[Question, typer.Option(help="What is positive.")] = "malignant",
    sensitivity: Annotated[
        float | None, typer.Option(help="Share of the positive images to be found, such as 0.95.")
    ] = None,
    cost: Annotated[
        Path | None,
        typer.Option("--cost", "--costs", help="YAML file with the costs, for the rule 'costs'."),
    ] = None,
    review_rate: Annotated[
        float | None, typer.Option(help="Largest share of all images to be called positive.")
    ] = None,
) -> None:
    """Choose where a model draws the line, on images that its training has not seen."""
    asked = (question, sensitivity, cost, review_rate)
    found, folder, written = decide_model(Workspace.find(), model, *asked)
    console = terminal()
    console.print(*found.tables, f"Files: {folder}")
    if written:
        console.print(f"Rule: {written.decision.default}, in the bundle and its card")


def decide_model(
    workspace: Workspace,
    reference: str,
    question: Question = "malignant",
    sensitivity: float | None = None,
    costs: Path | None = None,
    review_rate: float | None = None,
) -> tuple["Audit", Path, BundleInfo | None]:
    """Draw the curves of a run or bundle, and write a rule into it, if one is asked for.

    The curves are in ``evaluation_images/audits/<model>/operating_points/``. The test split has no
    part in them.

    Parameters
    ----------
    question : what is positive
    sensitivity, costs, review_rate : one of them, or none to choose nothing

    Returns
    -------
    what was drawn, its folder, and what ``model.json`` is now, None where it is as it was

    Raises
    ------
    DermaError
        When more than one is asked for, a share is not within 0 and 1, the data are not the
        model's, or no network is here that has not seen the images.
    """
    from doctor_derma.audits.suite import Audit, write_audit
    from doctor_derma.commands.models import find_bundle, provenance
    from doctor_derma.commands.publishing import write_model_card
    from doctor_derma.data.manifest import read_dataset
    from doctor_derma.evaluation import operating_points as points
    from doctor_derma.export.chosen_rule import choose_rule
    from doctor_derma.export.unseen import unseen_predictions

    shares = {"--sensitivity": sensitivity, "--review-rate": review_rate}
    given = [flag for flag, share in (shares | {"--costs": costs}).items() if share is not None]
    if len(given) > 1:
        raise DermaError(f"{' and '.join(given)}: an operating point has one reason; give one")
    for flag, share in shares.items():
        if share is not None and not 0 < share < 1:
            raise DermaError(f"{flag}: {share} is not within 0 and 1; give a share such as 0.95")
    if given:
        refuse_hub(reference, "a rule")
    bundle, dataset = find_bundle(workspace, reference), read_dataset(workspace.data)
    info = read_info(bundle)
    predictions = unseen_predictions(workspace.runs, bundle, info, dataset)
    chosen = None
    if given:
        chosen = choose_rule(
            *(info, predictions, question),
            sensitivity=sensitivity,
            review_rate=review_rate,
            costs=costs,
        )
        info = chosen.info
    frame = points.measure_questions(predictions, question)
    figure = points.plot_operating_points(frame, {question: chosen.figures} if chosen else {})
    tables = [points.operating_table(chosen.figures, question, chosen.target)] if chosen else []
    audit = Audit(tables, {FOLDER: frame}, {FOLDER: figure})
    folder = workspace.evaluation_images / "audits" / info.name / FOLDER
    write_audit(audit, provenance(info, dataset, "val"), folder)
    if not chosen:
        return audit, folder, None
    write_info(bundle, info)
    write_model_card(workspace, str(bundle))
    return audit, folder, info
