"""A run to its bundle, a bundle to where it is served; each with its model card."""

import shutil
from pathlib import Path

from doctor_derma.atomic import replacing_own_folder
from doctor_derma.bundle import INFO_FILE, BundleInfo, Precision, SetKind, read_info, write_info
from doctor_derma.commands.models import dataset_if_any, find_bundle
from doctor_derma.data.manifest import Dataset
from doctor_derma.decisions import Costs, Rule
from doctor_derma.errors import DermaError
from doctor_derma.export.exporting import export_run
from doctor_derma.export.quantization import export_quantized
from doctor_derma.finite import finite_values
from doctor_derma.hub import LICENCE_FILE, refuse_hub
from doctor_derma.reporting.evidence import Evidence, read_evidence
from doctor_derma.reporting.model_card import write_card
from doctor_derma.training.runs import Run
from doctor_derma.workspace import Workspace


def export(
    run: Run,
    dataset: Dataset,
    destination: Path | None = None,
    precision: Precision = "fp32",
    prior_weight: float | None = None,
    tta: int | None = None,
    rule: Rule | None = None,
    costs: Costs | None = None,
    sets: SetKind = "marginal",
) -> Path:
    """Write the bundle of a run, and a model card that knows of no test yet.

    The settings are those of `doctor_derma.export.exporting.export_run`; a quantized bundle keeps
    those of the run's own. Raises as ``export_run`` and ``export_quantized``.
    """
    if precision == "fp32":
        bundle = export_run(run, dataset, destination, prior_weight, tta, rule, costs, sets)
    else:
        bundle = export_quantized(run, dataset, precision, destination)
    write_card(bundle, read_info(bundle), Evidence(dataset=dataset))
    return bundle


def promote_bundle(
    bundle: Path, destination: Path, evaluations: Path, dataset: Dataset | None = None
) -> Path:
    """Copy a bundle and add what it measured on the test split, if that was evaluated.

    Its model card is written anew, from that evaluation and from its audits. Its licence is copied
    where it has one as a file, else kept from the bundle before whose data have the same.

    Parameters
    ----------
    bundle : folder to copy, checked first
    destination : folder that it replaces once the copy is whole and checked
    evaluations : the ``evaluation_images/`` folder
    dataset : counted in the card, if the model was trained on it

    Raises
    ------
    DermaError
        When the bundle is missing or damaged, its evaluation or an audit can't be read, or
        ``destination`` holds something else.
    """
    info = read_info(bundle)
    evidence = read_evidence(info, evaluations, dataset)
    if evidence.evaluation is not None:
        found = evidence.evaluation.metrics.items()
        test = finite_values({name: metric.value for name, metric in found})
        info = info.model_copy(update={"metrics": info.metrics | {"test": test}})
    with replacing_own_folder(destination, INFO_FILE) as folder:
        shutil.copyfile(bundle / info.weights.file, folder / info.weights.file)
        write_info(folder, info)
        write_card(folder, info, evidence)
        licensed = next((b for b in (bundle, destination) if _is_licensed_as(b, info)), None)
        if licensed:
            shutil.copyfile(licensed / LICENCE_FILE, folder / LICENCE_FILE)
        read_info(folder)
    return destination


def _is_licensed_as(bundle: Path, info: BundleInfo) -> bool:
    """Say whether a bundle has the licence of another one's data as a file."""
    try:
        has_file = (bundle / LICENCE_FILE).is_file()
        return has_file and read_info(bundle).data.licence == info.data.licence
    except DermaError:
        return False


def write_model_card(workspace: Workspace, reference: str) -> tuple[Path, Evidence]:
    """Write the model card of a run or bundle again, with what was measured of it by now.

    Raises a DermaError when there is no such bundle, it is on the hub, or its evaluation or an
    audit can't be read.
    """
    refuse_hub(reference, "a model card")
    bundle = find_bundle(workspace, reference)
    info = read_info(bundle)
    evidence = read_evidence(info, workspace.evaluation_images, dataset_if_any(workspace))
    return write_card(bundle, info, evidence), evidence
