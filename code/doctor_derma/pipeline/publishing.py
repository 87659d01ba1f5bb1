"""``derma promote`` and ``derma card``."""

from pathlib import Path

from doctor_derma.bundle import read_info
from doctor_derma.data.manifest import read_dataset
from doctor_derma.export.promotion import promote_bundle
from doctor_derma.pipeline.models import dataset_if_any, find_bundle
from doctor_derma.reporting.model_card.evidence import Evidence, read_evidence
from doctor_derma.reporting.model_card.writing import write_card
from doctor_derma.tracking.registry import fetch_champion
from doctor_derma.workspace import Workspace


def promote(workspace: Workspace, reference: str | None, destination: Path | None) -> Path:
    """Copy a bundle, by default the champion of the registry, to where serving finds it."""
    if reference is None:
        bundle = fetch_champion(workspace, read_dataset(workspace.data).info.name)
    else:
        bundle = find_bundle(workspace, reference)
    return promote_bundle(
        bundle,
        destination or workspace.champion,
        workspace.evaluation_images,
        dataset_if_any(workspace),
    )


def write_model_card(workspace: Workspace, reference: str) -> tuple[Path, Evidence]:
    """Write the model card of a run or bundle again, with what was measured of it by now.

    Raises
    ------
    DermaError
        When there is no such bundle, or its evaluation or an audit can't be read.
    """
    bundle = find_bundle(workspace, reference)
    info = read_info(bundle)
    evidence = read_evidence(info, workspace.evaluation_images, dataset_if_any(workspace))
    return write_card(bundle, info, evidence), evidence
