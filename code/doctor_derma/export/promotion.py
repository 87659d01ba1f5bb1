"""A bundle to the place that serving reads, with its test figures."""

import json
import shutil
from pathlib import Path

from doctor_derma.atomic import replacing_own_folder
from doctor_derma.errors import DermaError
from doctor_derma.export.bundle import INFO_FILE, BundleInfo, read_info, write_info
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
        When the bundle is missing or damaged, its evaluation can't be read, or
        ``destination`` holds something else.
    """
    info = with_test_metrics(read_info(bundle), evaluations)
    with replacing_own_folder(destination, INFO_FILE) as folder:
        shutil.copyfile(bundle / info.weights.file, folder / info.weights.file)
        write_info(folder, info)
        write_card(folder, info)
        read_info(folder)
    return destination


def with_test_metrics(info: BundleInfo, evaluations: Path) -> BundleInfo:
    """Add the test metrics of an evaluation of the same weights on the same data."""
    path = evaluations / info.name / METRICS_FILE
    if not path.is_file():
        return info
    try:
        evaluated = json.loads(path.read_text())
        same = (
            evaluated["weights_sha256"] == info.weights.sha256
            and evaluated["dataset_fingerprint"] == info.data.fingerprint
            and evaluated["split"] == "test"
        )
        values = {name: metric["value"] for name, metric in evaluated["metrics"].items()}
    except (ValueError, KeyError, TypeError) as error:
        raise DermaError(
            f"{path}: can't be read ({type(error).__name__}: {error}); evaluate {info.name} again"
        ) from error
    if not same:
        return info
    test = {name: value for name, value in values.items() if value is not None}
    return info.model_copy(update={"metrics": info.metrics | {"test": test}})
