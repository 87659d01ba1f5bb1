"""``derma evaluate --data``: a model on a set that is not its own."""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from doctor_derma.cpus import usable_cpus
from doctor_derma.decisions import Costs, Rule
from doctor_derma.errors import DermaError
from doctor_derma.terminal import with_progress
from doctor_derma.workspace import Workspace

if TYPE_CHECKING:
    from doctor_derma.bundle import BundleInfo
    from doctor_derma.data.importers.records import SourceImage
    from doctor_derma.data.importers.sources import Source
    from doctor_derma.data.manifest import Dataset
    from doctor_derma.evaluation.external import ExternalEvaluation
    from doctor_derma.evaluation.predictions import Predictions
    from doctor_derma.evaluation.tables import Table
    from doctor_derma.inference.classifier import Classifier

DROP = "drop"
OTHERS = "*"


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
    from doctor_derma.inference.classifier import Classifier

    bundle = find_bundle(workspace, reference)
    classifier = Classifier.load(bundle, rule=rule, costs=costs)
    info = classifier.info
    source = _read(data, images)
    judged, left_out = _labelled(source, info, mapping or {}, data)
    dataset = dataset_if_any(workspace)
    if dataset and dataset.fingerprint == info.data.fingerprint:
        judged, seen = _unseen(judged, _trained_on(info, dataset))
        left_out["seen in training"] = seen
    predictions, unreadable = _predict(classifier, judged, data)
    left_out["unreadable"] = unreadable
    title = name or source.name
    folder_name = re.sub(r"[^\w.-]+", "_", title).strip("._") or "set"
    if rule or costs:
        folder_name += f"-{predictions.rule}"
    folder = workspace.evaluation_images / info.name / "external" / folder_name
    found, tables = write_external_evaluation(
        predictions if gallery else without_pictures(predictions),
        _at_home(workspace, classifier.info),
        assumed_shares(info.class_shares, info.prior_weight, info.temperature),
        info.conformal.limit,
        {
            "set": title,
            "layout": source.description,
            "reference": source.reference,
            "left_out": {reason: count for reason, count in left_out.items() if count},
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


def _labelled(
    source: "Source", info: "BundleInfo", mapping: Mapping[str, str], data: Path
) -> tuple[list[tuple["SourceImage", str]], dict[str, int]]:
    """Return the pictures with the model's class of each, and how many are left out, by reason."""
    own = {one.full_name.casefold(): one.name for one in info.classes}
    own |= {one.name.casefold(): one.name for one in info.classes}
    mapped = {label.casefold(): name for label, name in mapping.items()}
    for label, name in mapped.items():
        if name != DROP and name not in info.class_names:
            raise DermaError(
                f"--map {label}={name}: '{name}' is no class of {info.name}; use "
                f"{', '.join(info.class_names)} or {DROP}"
            )
    judged: list[tuple[SourceImage, str]] = []
    left_out: Counter[str] = Counter()
    unknown: Counter[str] = Counter()
    for image in source.images:
        label = (image.dx or "").casefold()
        chosen = mapped.get(label) or own.get(label) or mapped.get(OTHERS)
        if image.read is None:
            left_out["missing"] += 1
        elif image.left_out or (label and chosen == DROP):
            left_out["dropped"] += 1
        elif not label:
            left_out["without a label"] += 1
        elif chosen is None:
            unknown[image.dx or ""] += 1
        else:
            judged.append((image, chosen))
    if unknown:
        first = next(iter(unknown))
        listed = ", ".join(f"'{one}' ({count:,})" for one, count in unknown.most_common(8))
        raise DermaError(
            f"{data}: labels that are no class of {info.name}: {listed}; map each, such as "
            f"--map {first}={info.class_names[0]}, or leave it out: --map {first}={DROP}"
        )
    if not judged:
        raise DermaError(f"{data}: no labelled picture is left ({dict(left_out) or 'none found'})")
    return judged, dict(left_out)


def _trained_on(info: "BundleInfo", dataset: "Dataset") -> set[str]:
    """Return the SHA-256 of the images that training, or what was fitted after it, has seen."""
    from doctor_derma.training.config import TrainConfig
    from doctor_derma.training.folds import parts_of

    hashes = dataset.table["sha256"].to_numpy(dtype=str)
    try:
        parts = parts_of(dataset, TrainConfig.model_validate(info.recipe))
    except (DermaError, ValueError):  # A recipe that this version can't read: all of them, then.
        return set(hashes[(dataset.table["split"] != "test").to_numpy()])
    return set(hashes[parts.train]) | set(hashes[parts.val])


def _unseen(
    judged: list[tuple["SourceImage", str]], known: set[str]
) -> tuple[list[tuple["SourceImage", str]], int]:
    """Leave out the pictures whose SHA-256 is known; also return how many they are."""
    from doctor_derma.data.importers.pictures import READ_ERRORS
    from doctor_derma.images.decoding import UnreadableImage, without_identity

    def is_new(one: tuple["SourceImage", str]) -> bool:
        assert one[0].read is not None
        try:
            # As an import keeps it.
            kept = without_identity(one[0].read())
        except (UnreadableImage, *READ_ERRORS):  # Decoding it will tell.
            return True
        return hashlib.sha256(kept).hexdigest() not in known

    with ThreadPoolExecutor(usable_cpus()) as pool:
        new = list(
            with_progress(pool.map(is_new, judged), "Looking for training images", len(judged))
        )
    kept = [one for one, unseen in zip(judged, new, strict=True) if unseen]
    if not kept:
        raise DermaError(
            f"all {len(judged):,} pictures were in this model's training; name other ones"
        )
    return kept, len(judged) - len(kept)


def _predict(
    classifier: "Classifier", judged: list[tuple["SourceImage", str]], data: Path
) -> tuple["Predictions", int]:
    """Predict the pictures that can be read; also return how many can't."""
    import pandas as pd

    from doctor_derma.evaluation.predictions import Predictions, predict_pictures

    reads = [image.read for image, _ in judged if image.read is not None]
    outputs, unreadable = predict_pictures(classifier, reads)
    if len(unreadable) == len(judged):
        image, reason = judged[0][0], unreadable[0]
        raise DermaError(f"{data}: no picture can be read ({image.origin}: {reason})")
    kept = [one for at, one in enumerate(judged) if at not in unreadable]
    images = [image for image, _ in kept]
    paths = [image.origin if Path(image.origin).is_file() else "" for image in images]
    groups = [
        f"lesion {i.lesion}" if i.lesion else f"patient {i.patient}" if i.patient else i.image
        for i in images
    ]
    names, true = [image.image for image in images], [name for _, name in kept]
    predictions = Predictions.of_table(
        pd.DataFrame({"image": names, "lesion": groups, "class": true}),
        classifier.name,
        classifier.class_names,
        outputs.probabilities,
        paths,
        activation_maps=outputs.activation_maps,
        rulebook=classifier.rulebook,
        ood=outputs.unfamiliarity,
    )
    return predictions, len(unreadable)


def _at_home(workspace: Workspace, info: "BundleInfo") -> "Predictions | None":
    """Return the kept predictions of the model's own test split; None where there are none."""
    from doctor_derma.evaluation.predictions import read_predictions_csv
    from doctor_derma.evaluation.report import METRICS_FILE, PREDICTIONS_FILE

    folder = workspace.evaluation_images / info.name
    try:
        kept = json.loads((folder / METRICS_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    own = kept.get("weights_sha256") == info.weights.sha256 and kept.get("split") == "test"
    if not own or not (folder / PREDICTIONS_FILE).is_file():
        return None
    return read_predictions_csv(folder / PREDICTIONS_FILE, info.name, info.rulebook)
