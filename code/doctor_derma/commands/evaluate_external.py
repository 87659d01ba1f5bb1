"""``derma evaluate --data``: a model on a set that is not its own."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from doctor_derma.decisions import Costs, Rule
from doctor_derma.errors import DermaError
from doctor_derma.workspace import Workspace

if TYPE_CHECKING:
    from doctor_derma.data.importers.sources import Source
    from doctor_derma.evaluation.external import ExternalEvaluation
    from doctor_derma.evaluation.tables import Table


def evaluate_external(
    workspace: Workspace,
    reference: str,
    data: Path,
    images: Sequence[Path] = (),
    mapping: Mapping[str, str] | None = None,
    name: str | None = None,
    gallery: bool = True,
    rule: Rule | None = None,
    costs: Costs | None = None,
) -> tuple["ExternalEvaluation", list["Table"], Path]:
    """Evaluate a run or bundle on another set, in ``evaluation_images/<model>/external/<set>/``.

    All labelled pictures of the set count, whatever its splits, but for those that the model was
    trained on, which are told by their bytes.

    Parameters
    ----------
    data : folder of class folders or of a published layout, or a table with labels
    images : folders and archives with the pictures of a table; its own folder when empty
    mapping : label of the set -> class of the model, or ``drop``; ``*`` is all others. Labels that
        are a class's short or full name need none
    name : of the set, in the report and for its folder; that of ``data`` when None
    gallery : show pictures of the set in the report
    rule, costs : of the decisions; the figures are then in ``<set>-<rule>``

    Raises
    ------
    DermaError
        When there is no such model, the set can't be read, a label is no class and not mapped, or
        no picture is left.
    """
    from doctor_derma.commands.models import dataset_if_any, find_bundle, without_pictures
    from doctor_derma.evaluation.external import assumed_shares, write_external_evaluation
    from doctor_derma.evaluation.external_predictions import home_predictions, predict_set
    from doctor_derma.export.unseen import seen_images
    from doctor_derma.inference.classifier import Classifier

    classifier = Classifier.load(find_bundle(workspace, reference), rule=rule, costs=costs)
    info = classifier.info
    source = _read(data, images)
    dataset = dataset_if_any(workspace)
    seen = seen_images(info, dataset) if dataset else set()
    predictions, left_out = predict_set(classifier, source, data, mapping or {}, seen)
    title = name or source.name
    folder_name = re.sub(r"[^\w.-]+", "_", title).strip("._") or "set"
    if rule or costs:
        folder_name += f"-{predictions.rule}"
    evaluated = workspace.evaluation_images / info.name
    folder = evaluated / "external" / folder_name
    found, tables = write_external_evaluation(
        predictions if gallery else without_pictures(predictions),
        home_predictions(evaluated, info),
        assumed_shares(info.class_shares, info.prior_weight, info.temperature),
        info.conformal.limit,
        {
            "set": title,
            "layout": source.description,
            "reference": source.reference,
            "left_out": left_out,
            "label_map": dict(mapping or {}),
            "trained_on": info.data.fingerprint,
            "architecture": info.architecture,
            "weights_sha256": info.weights.sha256,
            "rule": predictions.rule,
        },
        folder,
    )
    return found, tables, folder


def _read(data: Path, images: Sequence[Path]) -> "Source":
    from doctor_derma.data.importers.sources import find_source, table_source

    if data.is_dir():
        if images:
            raise DermaError(f"--images: belongs to a table, and {data} is a folder; leave it out")
        return find_source(data, train=False)
    if not data.exists():
        raise DermaError(f"{data}: no such folder or table; name pictures with their labels")
    return table_source(data, images or None)
