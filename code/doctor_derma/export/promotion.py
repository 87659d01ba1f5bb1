"""A bundle to the place that serving reads, with its test figures."""

import math
import shutil
from pathlib import Path

from doctor_derma.atomic import replacing_own_folder
from doctor_derma.bundle import INFO_FILE, BundleInfo, read_info, write_info
from doctor_derma.data.manifest import Dataset
from doctor_derma.reporting.model_card.evidence import Evidence, read_evidence
from doctor_derma.reporting.model_card.writing import write_card


def promote_bundle(
    bundle: Path, destination: Path, evaluations: Path, dataset: Dataset | None = None
) -> Path:
    """Copy a bundle and add what it measured on the test split, if that was evaluated.

    Its model card is written anew, from that evaluation and from its audits.

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
    info = with_test_metrics(info, evidence)
    with replacing_own_folder(destination, INFO_FILE) as folder:
        shutil.copyfile(bundle / info.weights.file, folder / info.weights.file)
        write_info(folder, info)
        write_card(folder, info, evidence)
        read_info(folder)
    return destination


def with_test_metrics(info: BundleInfo, evidence: Evidence) -> BundleInfo:
    """Add the test metrics of an evaluation of the same weights on the same data."""
    if evidence.evaluation is None:
        return info
    values = {name: metric.value for name, metric in evidence.evaluation.metrics.items()}
    test = {name: value for name, value in values.items() if math.isfinite(value)}
    return info.model_copy(update={"metrics": info.metrics | {"test": test}})
