"""``derma decide``: curves of sensitivity, net benefit and cost, and the rule that is chosen."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
import typer

from doctor_derma.bundle import BundleInfo, Expected, OperatingPoint, read_info, write_info
from doctor_derma.commands.options import Reference, costs_in
from doctor_derma.errors import DermaError
from doctor_derma.hub import refuse_hub
from doctor_derma.terminal import terminal
from doctor_derma.workspace import Workspace

if TYPE_CHECKING:
    from doctor_derma.audits.suite import Audit
    from doctor_derma.evaluation.bootstrap import Interval
    from doctor_derma.evaluation.predictions import Predictions

Question = Literal["malignant", "melanoma"]
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
    import pandas as pd

    from doctor_derma.audits.suite import Audit, write_audit
    from doctor_derma.commands.models import find_bundle, provenance
    from doctor_derma.commands.publishing import write_model_card
    from doctor_derma.data.manifest import read_dataset
    from doctor_derma.evaluation import operating_points as points
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
    scores, positive = points.asked(question, predictions)
    classes = tuple(name for name in info.class_names if name in points.QUESTIONS[question])
    threshold, target = None, ""
    if sensitivity is not None:
        threshold = points.threshold_for_sensitivity(scores, positive, sensitivity)
        target = f"a sensitivity of {sensitivity:.0%}"
    elif review_rate is not None:
        threshold = points.threshold_for_review_rate(scores, review_rate)
        target = f"a review rate of {review_rate:.0%}"
    elif costs is not None:
        info, target = info.deciding(None, costs_in(costs)), f"the costs of {costs.name}"
    chosen: dict[str, dict[str, Interval]] = {}
    tables = []
    if target:
        if threshold is None:
            named = np.array(info.class_names)[info.rulebook.decide(predictions.probabilities)]
            called = np.isin(named, classes)
        else:
            called = scores > threshold
        found = points.measure_calls(called, positive, predictions.lesions)
        chosen[question] = found
        tables.append(points.operating_table(found, question, target))
        point = _operating_point(question, classes, target, threshold, found, positive)
        info = _deciding_by(point, info, predictions)
    frames = [
        points.measure_thresholds(predictions, asked)
        for asked in points.QUESTIONS
        if asked == question or points.can_be_asked(asked, predictions)
    ]
    frame = pd.concat(frames)
    figure = points.plot_operating_points(frame, chosen)
    drawn = Audit(tables, {FOLDER: frame}, {FOLDER: figure})
    folder = workspace.evaluation_images / "audits" / info.name / FOLDER
    write_audit(drawn, provenance(info, dataset, "val"), folder)
    if not target:
        return drawn, folder, None
    write_info(bundle, info)
    write_model_card(workspace, str(bundle))
    return drawn, folder, info


def _operating_point(
    question: Question,
    classes: tuple[str, ...],
    target: str,
    threshold: float | None,
    found: dict[str, "Interval"],
    positive: np.ndarray,
) -> OperatingPoint:
    images = {"sensitivity": int(positive.sum()), "specificity": int((~positive).sum())}
    images["review_rate"] = len(positive)
    return OperatingPoint(
        question=question,
        classes=classes,
        target=target,
        threshold=threshold,
        **{name: Expected(**vars(found[name]), images=count) for name, count in images.items()},
    )


def _deciding_by(point: OperatingPoint, info: BundleInfo, predictions: "Predictions") -> BundleInfo:
    """Let an operating point decide, and measure its rule; figures of another rule go."""
    from doctor_derma.evaluation.metrics import classification_metrics
    from doctor_derma.export.calibration import rule_figures
    from doctor_derma.finite import finite_values

    rule = "costs" if point.threshold is None else "operating-point"
    decision = info.decision.model_copy(update={"operating_point": point, "default": rule})
    info = info.model_copy(update={"decision": decision})
    labels, probabilities = predictions.labels, predictions.probabilities
    called = info.rulebook.decide(probabilities)
    figures = decision.figures | {rule: rule_figures(labels, called, info.class_names)}
    decision = decision.model_copy(update={"figures": figures})
    found = classification_metrics(labels, probabilities, info.class_names, called)
    metrics = {"val": finite_values(found)}
    return info.model_copy(update={"decision": decision, "metrics": metrics})
