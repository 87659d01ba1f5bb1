"""A bundle to the place that serving reads, with its test figures."""

import json
import shutil
from pathlib import Path

from doctor_derma.atomic import replacing_folder
from doctor_derma.export.bundle import GRAPH_FILE, BundleInfo, read_info, write_info
from doctor_derma.export.card import write_card

METRICS_FILE = "metrics.json"


def promote_bundle(bundle: Path, destination: Path, evaluations: Path) -> Path:
    """Copy a bundle and add what it measured on the test split, if that was evaluated.

    Parameters
    ----------
    bundle : folder to copy, checked first
    destination : folder that it replaces once the copy is whole and checked
    evaluations : the ``evaluation_images/`` folder

    Raises
    ------
    DermaError
        When the bundle is missing or damaged.
    """
    info = with_test_metrics(read_info(bundle), evaluations)
    with replacing_folder(destination) as folder:
        shutil.copyfile(bundle / GRAPH_FILE, folder / GRAPH_FILE)
        write_info(folder, info)
        write_card(folder, info)
        read_info(folder)
    return destination


def with_test_metrics(info: BundleInfo, evaluations: Path) -> BundleInfo:
    """Add the test metrics of an evaluation of the same weights on the same data."""
    path = evaluations / info.name / METRICS_FILE
    if not path.is_file():
        return info
    evaluated = json.loads(path.read_text())
    same = (
        evaluated["weights_sha256"] == info.weights.sha256
        and evaluated["dataset_fingerprint"] == info.data.fingerprint
        and evaluated["split"] == "test"
    )
    if not same:
        return info
    values = {name: metric["value"] for name, metric in evaluated["metrics"].items()}
    test = {name: value for name, value in values.items() if value is not None}
    return info.model_copy(update={"metrics": info.metrics | {"test": test}})
