"""What a model says of another set's pictures, and what it said of its own test split.

A set's labels are its own. Each picture gets the model's class for its label, and those that can't
be judged fairly are left out and counted: of no class, without a file, or seen in training.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Set
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd

from doctor_derma.bundle import BundleInfo
from doctor_derma.cpus import usable_cpus
from doctor_derma.data.importers.pictures import READ_ERRORS
from doctor_derma.data.importers.presets import DROP, OTHERS
from doctor_derma.data.importers.records import SourceImage
from doctor_derma.data.importers.sources import Source
from doctor_derma.errors import DermaError
from doctor_derma.evaluation.predictions import (
    Predictions,
    predict_pictures,
    read_predictions_csv,
)
from doctor_derma.evaluation.report import METRICS_FILE, PREDICTIONS_FILE
from doctor_derma.images.decoding import UnreadableImage, without_identity
from doctor_derma.inference.classifier import Classifier
from doctor_derma.terminal import with_progress

# A picture that is there, and the model's class for its label.
Judged = tuple[SourceImage, str]


def predict_set(
    classifier: Classifier,
    source: Source,
    data: Path,
    mapping: Mapping[str, str],
    seen: Set[str] = frozenset(),
) -> tuple[Predictions, dict[str, int]]:
    """Predict all labelled pictures of another set, whatever its splits.

    Parameters
    ----------
    data : the folder or table that ``source`` was read from, for messages
    mapping : label of the set -> class of the model, or ``drop``; ``*`` is all others. Labels that
        are a class's short or full name need none, and case doesn't count
    seen : SHA-256, hexadecimal, of pictures as an import keeps them, which are left out; see
        `doctor_derma.export.unseen.seen_images`

    Returns
    -------
    predictions : of n pictures and the model's K classes. Pictures of one lesion, or where that
        isn't known of one patient, are one of its ``lesions``
    left_out : reason -> pictures that are left out for it, over 0

    Raises
    ------
    DermaError
        When a label is no class and not mapped, a class of ``mapping`` is none of the model's, or
        no picture is left.
    """
    judged, left_out = _label(source, classifier.info, mapping, data)
    if seen:
        judged, left_out["seen in training"] = _leave_out(seen, judged)
    predictions, left_out["unreadable"] = _predict(classifier, judged, data)
    return predictions, {reason: count for reason, count in left_out.items() if count}


def home_predictions(folder: Path, info: BundleInfo) -> Predictions | None:
    """Return the predictions of a model's own test split that its evaluation has kept.

    ``folder`` is that of the evaluation, such as ``evaluation_images/<model>``. None where there is
    none, or it is of other weights or another split. Raises `DermaError` when they can't be read.
    """
    try:
        kept = json.loads((folder / METRICS_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    own = kept.get("weights_sha256") == info.weights.sha256 and kept.get("split") == "test"
    if not own or not (folder / PREDICTIONS_FILE).is_file():
        return None
    return read_predictions_csv(folder / PREDICTIONS_FILE, info.name, info.rulebook)


def _label(
    source: Source, info: BundleInfo, mapping: Mapping[str, str], data: Path
) -> tuple[list[Judged], dict[str, int]]:
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
    judged: list[Judged] = []
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


def _leave_out(seen: Set[str], judged: list[Judged]) -> tuple[list[Judged], int]:
    """Leave out the pictures whose SHA-256 was seen; also return how many they are."""

    def is_new(one: Judged) -> bool:
        assert one[0].read is not None
        try:
            # As an import keeps it.
            kept = without_identity(one[0].read())
        except (UnreadableImage, *READ_ERRORS):  # Decoding it will tell.
            return True
        return hashlib.sha256(kept).hexdigest() not in seen

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


def _predict(classifier: Classifier, judged: list[Judged], data: Path) -> tuple[Predictions, int]:
    """Predict the pictures that can be read; also return how many can't."""
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
