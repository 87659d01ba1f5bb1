"""A model by its name, what it predicts, and where its figures come from."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from doctor_derma.bundle import INFO_FILE, BundleInfo
from doctor_derma.data.manifest import MANIFEST_FILE, Dataset, read_dataset
from doctor_derma.decisions import Costs, Rule
from doctor_derma.errors import DermaError
from doctor_derma.evaluation.predictions import Predictions, predict_split
from doctor_derma.hub import bundle_folder, is_on_hub
from doctor_derma.inference.classifier import Classifier
from doctor_derma.terminal import terminal
from doctor_derma.training.runs import open_run
from doctor_derma.workspace import Workspace


def find_bundle(workspace: Workspace, reference: str) -> Path:
    """Return the bundle folder of a path, an address on the hub, a run's name, or ``champion``.

    Raises a DermaError when there is no such bundle, or it can't be fetched.
    """
    if is_on_hub(reference):
        return bundle_folder(reference)
    if (Path(reference) / INFO_FILE).is_file():
        return Path(reference)
    if reference == "champion":
        return workspace.champion
    run = open_run(workspace.runs, reference)
    if not (run.bundle / INFO_FILE).is_file():
        raise DermaError(f"{run.bundle}: not exported yet; run 'derma export {run.name}' first")
    return run.bundle


def predict(
    workspace: Workspace,
    reference: str,
    dataset: Dataset,
    split: str,
    rule: Rule | None = None,
    costs: Costs | None = None,
) -> tuple[Classifier, Predictions]:
    """Load a model and let it classify a split; ``rule`` and ``costs`` as in ``Classifier.load``.

    Raises a DermaError when there is no such model, it does not have the rule, or its classes are
    not those of the data.
    """
    classifier = Classifier.load(find_bundle(workspace, reference), rule=rule, costs=costs)
    info = classifier.info
    if info.class_names != dataset.classes:
        raise DermaError(
            f"{reference}: its classes ({', '.join(info.class_names)}) are not those of "
            f"{dataset.folder} ({', '.join(dataset.classes)}); evaluate it on data with its classes"
        )
    doubts = []
    if info.data.name == dataset.info.name and info.data.fingerprint != dataset.fingerprint:
        doubts.append(
            f"was trained on another import of '{info.data.name}': images of this {split} split "
            "may have been in its training, so don't trust the figures"
        )
    if split == "val" and info.recipe.get("refit"):
        doubts.append("was trained on this val split too, so don't trust the figures")
    if split == "val" and info.recipe.get("folds"):
        doubts.append(
            "was validated with a fold and trained on the others, with images of this val split, "
            "so don't trust the figures; out_of_fold.csv in the folder of its run has those of "
            "images that it has not seen"
        )
    for doubt in doubts:
        terminal(error=True).print(f"{info.name} {doubt}", style="yellow")
    return classifier, predict_split(classifier, dataset, split)


def provenance(info: BundleInfo, dataset: Dataset, split: str) -> dict[str, Any]:
    """Say what figures were measured of, and on what."""
    return {
        "split": split,
        "dataset": dataset.info.name,
        "dataset_fingerprint": dataset.fingerprint,
        "trained_on": info.data.fingerprint,
        "architecture": info.architecture,
        "weights_sha256": info.weights.sha256,
        "temperature": round(info.temperature, 4),
        "prior_weight": info.prior_weight,
        "rule": info.decision.default,
        "decision": info.decision.settings,
        "sets": info.conformal.sets,
        "git_commit": info.code.git_commit,
        "recipe": info.recipe,
    }


def with_patients(predictions: Predictions, info: BundleInfo, dataset: Dataset) -> Predictions:
    """Return predictions that weigh age, sex and site of the manifest beside the pictures.

    Raises a DermaError when the model looks at pictures alone.
    """
    # Here, as few commands need what fits a bundle.
    from doctor_derma.export.patient import patients_of
    from doctor_derma.inference.patient import add_patients

    if info.patient is None:
        raise DermaError(f"--patient-data: {info.name} looks at pictures alone; leave it out")
    table = dataset.table.set_index("image").loc[predictions.images]
    probabilities = add_patients(predictions.probabilities, patients_of(table), info.patient)
    return replace(
        predictions, name=f"{predictions.name}-patient-data", probabilities=probabilities
    )


def without_pictures(predictions: Predictions) -> Predictions:
    """Leave out where the pictures are, so that a report shows none."""
    return replace(predictions, paths=np.full(len(predictions.paths), ""))


def dataset_if_any(workspace: Workspace) -> Dataset | None:
    """Return the imported data; None where there are none."""
    imported = (workspace.data / MANIFEST_FILE).is_file()
    return read_dataset(workspace.data) if imported else None
