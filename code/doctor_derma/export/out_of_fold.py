"""Predictions of images by a network that has not seen them: its fold, or the source left out.

Several runs that each leave out another part of the data predict every image once. These
predictions are more than any one validation split has, so what is fitted to them or chosen by
them depends less on luck.
"""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from scipy.special import softmax

from doctor_derma.atomic import replacing_file
from doctor_derma.bundle import INFO_FILE as BUNDLE_INFO_FILE
from doctor_derma.data.cache import pixel_cache
from doctor_derma.data.manifest import Dataset
from doctor_derma.errors import DermaError
from doctor_derma.evaluation.bootstrap import (
    RESAMPLES,
    Interval,
    percentile_interval,
    resampled_metrics,
)
from doctor_derma.evaluation.predictions import Predictions
from doctor_derma.evaluation.tables import Table, with_arrow
from doctor_derma.export.onnx import load_network
from doctor_derma.models.networks import LesionNetwork
from doctor_derma.models.preprocessing import scale_pixels
from doctor_derma.terminal import with_progress
from doctor_derma.training.config import TrainConfig
from doctor_derma.training.folds import parts_of
from doctor_derma.training.runs import INFO_FILE, Run, open_run

LOGIT = "logit_"
# Of a class in a source, under which its sensitivity there is luck.
LEAST_IMAGES = 20
_METRICS = {
    "balanced_accuracy": ("Balanced accuracy", "sensitivity"),
    "macro_auc": ("Macro ROC AUC", "auc"),
}
_BATCH = 64
_FOLD_OF = re.compile(r"(.+)-fold\d+")
# Where a run trains, which changes nothing of what it is.
PLACES = {"accelerator", "devices", "nodes"}


def twins_of(run: Run) -> list[Run]:
    """Return the runs whose outputs on images that they have not seen are fitted.

    That is the run itself, unless it has seen them all: then it has a twin, a run of the same
    recipe without one fold, named in its ``run.json``. Where all folds of the twin's family were
    trained (``derma train --folds``), all are twins, so that every image is judged once. The
    family's own name stands for it as well.

    Raises
    ------
    DermaError
        When the run has seen the validation images and has no twin, there is no run of that name,
        or a family that is named lacks a fold.
    """
    folder, name = run.folder.parent, run.info.twin
    if name is None:
        if run.config.refit:
            raise DermaError(
                f"{run.name}: trained on the validation images too, so nothing is left that its "
                "temperature and thresholds could be fitted to; name its twin, a run of the same "
                f"recipe with --folds and --fold: derma export {run.name} --twin NAME"
            )
        return [run]
    if not _has_run(folder, name) and (folder / f"{name}-fold0").is_dir():
        family, missing = fold_family(folder, name)
        if missing:
            raise DermaError(
                f"{run.name}: of its twins {', '.join(missing)} did not come to an end; go on with "
                f"derma train --folds, or name one that did: derma export {run.name} --twin NAME"
            )
        return family
    twin = open_run(folder, name)
    named = _FOLD_OF.fullmatch(name)
    if not named or twin.config.fold is None or not _has_run(folder, f"{named[1]}-fold0"):
        return [twin]
    family, missing = fold_family(folder, named[1])
    return [twin] if missing or twin.name not in {other.name for other in family} else family


def fold_family(folder: Path, name: str) -> tuple[list[Run], list[str]]:
    """Return the finished runs of the folds of a recipe, and the names of those that aren't."""
    first = open_run(folder, f"{name}-fold0").config
    runs, missing = [], []
    for fold in range(first.folds):
        of_fold = f"{name}-fold{fold}"
        run = open_run(folder, of_fold) if _has_run(folder, of_fold) else None
        expected = first.model_dump(exclude=PLACES) | {"fold": fold}
        if (
            run
            and run.config.model_dump(exclude=PLACES) == expected
            and (run.bundle / BUNDLE_INFO_FILE).is_file()
        ):
            runs.append(run)
        else:
            missing.append(of_fold)
    return runs, missing


def fold_bundles(folder: Path, name: str) -> list[Path]:
    """Return the bundles of a family of fold runs; none where a name is not that of a family.

    Raises `DermaError` when a fold of the family did not come to its end.
    """
    if _has_run(folder, name) or not _has_run(folder, f"{name}-fold0"):
        return []
    family, missing = fold_family(folder, name)
    if missing:
        raise DermaError(
            f"{name}: {', '.join(missing)} did not come to an end; the command that trains "
            f"the folds goes on with them, or name one that did: derma data check {name}-fold0"
        )
    return [run.bundle for run in family]


def _has_run(folder: Path, name: str) -> bool:
    return (folder / name / INFO_FILE).is_file()


def network_outputs(
    network: LesionNetwork, pixels: np.ndarray, rows: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Run a network on some rows of a pixel cache.

    Returns
    -------
    logits : float64 of shape (n, classes)
    features : pooled features, float64 of shape (n, C)
    """
    batches = [rows[start : start + _BATCH] for start in range(0, len(rows), _BATCH)]
    with torch.inference_mode():
        found = [
            network.logits_maps_and_features(scale_pixels(torch.from_numpy(pixels[batch])))
            for batch in with_progress(batches, "Running the network")
        ]
    logits, _, features = (torch.cat(part).double().numpy() for part in zip(*found, strict=True))
    return logits, features


def pool_outputs(rows: Sequence[np.ndarray], *outputs: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Put together what networks say of the images that each has not seen.

    Parameters
    ----------
    rows : of each network, its images as places in the manifest, int (n,); no image twice
    outputs : of each kind and network, an array of length n

    Returns
    -------
    rows and outputs of all, in the order of the manifest
    """
    order = np.argsort(np.concatenate(rows))
    return [np.concatenate(arrays)[order] for arrays in (rows, *outputs)]


def out_of_fold_file(folder: Path, config: TrainConfig) -> Path:
    """Return where the predictions of a run, or of all runs of a recipe, are kept."""
    return folder / ("out_of_fold.csv" if config.folds else "out_of_source.csv")


def predict_left_out(run: Run, dataset: Dataset) -> Path:
    """Let a run's network predict the images that it is judged by, and keep its logits.

    Returns
    -------
    the CSV file in the run's folder, one row an image: ``image``, ``lesion``, ``class``, ``fold``
    or ``source``, and each class's logit as the loss left it, ``logit_mel`` and so on; with a
    balanced loss the largest is the decision that leaves class priors out
    """
    config = run.config
    network = load_network(run)
    network.tta = config.tta
    rows = parts_of(dataset, config).judged
    logits, _ = network_outputs(network, pixel_cache(dataset, *config.image_size), rows)
    table = dataset.table.iloc[rows][["image", "lesion", "class"]].reset_index(drop=True)
    part = {"fold": config.fold} if config.folds else {"source": config.leave_source_out}
    columns = {f"{LOGIT}{name}": logits[:, k] for k, name in enumerate(dataset.classes)}
    path = out_of_fold_file(run.folder, config)
    with replacing_file(path) as scratch:
        table.assign(**part, **columns).to_csv(scratch, index=False, float_format="%.7g")
    return path


def read_out_of_fold(path: Path) -> pd.DataFrame:
    """Read what `predict_left_out` or `pool` wrote; what can't be read raises `DermaError`."""
    text = dict.fromkeys(("image", "lesion", "class", "source"), str)
    try:
        return pd.read_csv(path, dtype=text, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise DermaError(f"{path}: can't be read ({error}); delete it and train again") from error


def pool(paths: list[Path], dataset: Dataset, config: TrainConfig, folder: Path) -> pd.DataFrame:
    """Write the predictions of several runs as one table, in the order of the manifest."""
    found = pd.concat([read_out_of_fold(path) for path in paths])
    table = dataset.table[["image"]].merge(found, on="image")
    folder.mkdir(parents=True, exist_ok=True)
    with replacing_file(out_of_fold_file(folder, config)) as scratch:
        table.to_csv(scratch, index=False, float_format="%.7g")
    return table


def summary_table(table: pd.DataFrame, name: str, resamples: int = RESAMPLES) -> Table:
    """Tabulate how good the predictions are: of each part, on average, and of all.

    The class with the largest logit is called. In a source the figures are means over the
    classes with ``LEAST_IMAGES`` images there; in the folds, over all classes.

    Parameters
    ----------
    table : of `pool`
    name : of the runs, without what each ends with
    resamples : of the bootstrap over lesions
    """
    column = "fold" if "fold" in table.columns else "source"
    least = 1 if column == "fold" else LEAST_IMAGES
    rows, values = [], []
    for part, of_part in table.groupby(column):
        predictions = _predictions(of_part, f"{name}-{part}")
        found = _figures(predictions, least, resamples)
        values.append([found[metric].value for metric in _METRICS])
        rows.append(_row(f"{column} {part}", predictions, least, found))
    # Of a part with one class the AUC is undefined.
    defined = [[value for value in of if np.isfinite(value)] for of in zip(*values, strict=True)]
    means = tuple(f"{np.mean(of):.3f}" if of else "undefined" for of in defined)
    rows.append((f"mean of the {column}s", "", "", "", *means))
    everything = _predictions(table, name)
    rows.append(_row("all", everything, least, _figures(everything, least, resamples)))
    titles = (with_arrow(metric, title) for metric, (title, _) in _METRICS.items())
    by_classes = "" if least == 1 else f" Means over the classes with {least} images or more."
    return Table(
        f"{name}: every image by a network that has not seen its {column}",
        (column.capitalize(), "Images", "Lesions", "Classes", *titles),
        tuple(rows),
        "The class with the largest logit is called. 95% intervals: percentile bootstrap over "
        f"lesions.{by_classes}",
    )


def _predictions(table: pd.DataFrame, name: str) -> Predictions:
    logits = table.filter(regex=f"^{LOGIT}")
    classes = tuple(column.removeprefix(LOGIT) for column in logits.columns)
    return Predictions.of_table(table, name, classes, softmax(logits.to_numpy(float), axis=1))


def _counted(predictions: Predictions, least: int) -> list[str]:
    """Return the classes with so many images, or those with any where they are fewer than two."""
    images = {name: count for name, (count, _) in predictions.class_counts().items() if count}
    many = [name for name, count in images.items() if count >= least]
    return many if len(many) > 1 else list(images)


def _figures(predictions: Predictions, least: int, resamples: int) -> dict[str, Interval]:
    [found] = resampled_metrics([predictions], resamples, seed=0)
    counted = _counted(predictions, least)
    means = {
        metric: np.mean([found[f"{by_class}_{name}"] for name in counted], axis=0)
        for metric, (_, by_class) in _METRICS.items()
    }
    return {metric: percentile_interval(mean) for metric, mean in means.items()}


def _row(
    part: str, predictions: Predictions, least: int, found: dict[str, Interval]
) -> tuple[str, ...]:
    return (
        part,
        f"{len(predictions.images):,}",
        f"{predictions.lesion_count:,}",
        str(len(_counted(predictions, least))),
        *(str(found[metric]) for metric in _METRICS),
    )
