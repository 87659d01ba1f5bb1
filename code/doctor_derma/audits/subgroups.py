"""Who a model works for: metrics by sex, age, body site, confirmation and skin tone."""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from doctor_derma.audits.group_figures import Part, figures, resampled_parts
from doctor_derma.audits.image_groups import ATTRIBUTES, image_groups
from doctor_derma.audits.skin_tone import measure_skin_tones
from doctor_derma.data.confirmation import read_confirmations
from doctor_derma.data.manifest import Dataset
from doctor_derma.decisions import MELANOMA
from doctor_derma.errors import DermaError
from doctor_derma.evaluation.bootstrap import RESAMPLES, Interval, percentile_interval
from doctor_derma.evaluation.comparison import bootstrap_p_value, holm
from doctor_derma.evaluation.predictions import Predictions
from doctor_derma.evaluation.tables import Table, format_p

ALL = "all"
METRICS = {
    "macro_auc": "Macro ROC AUC",
    "balanced_accuracy": "Balanced accuracy",
    "accuracy": "Accuracy",
    f"auc_{MELANOMA}": "Melanoma ROC AUC",
    f"sensitivity_{MELANOMA}": "Melanoma sensitivity",
    "ece": "Calibration error (ECE)",
    "overconfidence": "Overconfidence",
}
# Lesions (melanomas, for their figures) that a figure needs to be judged.
JUDGED_LESIONS = 20
SIGNIFICANCE = 0.05


def measure_subgroups(
    predictions: Predictions, dataset: Dataset, resamples: int = RESAMPLES, seed: int = 0
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Compute metrics of each group of images, and the gaps to all other images.

    Groups have different mixes of classes, so a group is held against what all others have
    at the group's own mix (see `doctor_derma.audits.group_figures.figures`). Within a class,
    cases may still be harder in one group: a gap is no proof that the attribute causes it.

    A gap's p-value is from the same resampled lesions as its interval, as in
    `doctor_derma.evaluation.comparison.compare`, and corrected by Holm's method for the
    groups of the attribute; below 0.05 the gap is flagged. Not judged is what rests on fewer
    than 20 lesions on either side (melanomas, for their figures), and what is the same in
    every resample, as where all are right. ECE is not judged either.

    Parameters
    ----------
    predictions : n images of the data set
    dataset : gives sex, age and site, and, where imported, masks and confirmations; an
        attribute that is known of no image is left out
    resamples, seed : of the bootstrap over lesions

    Returns
    -------
    The skin tones of the images, see `doctor_derma.audits.skin_tone.measure_skin_tones`, after
    a frame with one row a group and metric; undefined figures are nan:

    - ``attribute``, ``group``: the first rows are ``all``, ``all images``
    - ``images``, ``lesions``, ``classes`` (names of those that were averaged, or empty)
    - ``metric``, ``value``, ``low``, ``high``
    - ``small``: rests on fewer than 20 lesions
    - ``others``: the figure of all other images at the group's mix of classes
    - ``difference``, ``difference_low``, ``difference_high``: ``value`` minus ``others``
    - ``p_holm``, ``flagged``: nan and False where not judged

    Raises
    ------
    DermaError
        When an image isn't in the data set, a picture or a mask can't be decoded, or
        ``resamples`` is less than 1.
    """
    table = dataset.table.set_index("image", drop=False)
    if absent := sorted(set(predictions.images) - set(table.index)):
        raise DermaError(
            f"{dataset.folder}: image '{absent[0]}' is not in the data set; audit predictions "
            "of this data set"
        )
    rows = table.loc[predictions.images]
    tones = measure_skin_tones(dataset.folder, rows)
    groups = image_groups(rows, read_confirmations(dataset.folder), tones["band"].tolist())
    return compare_groups(predictions, groups, resamples, seed), tones


def compare_groups(
    predictions: Predictions, groups: pd.DataFrame, resamples: int = RESAMPLES, seed: int = 0
) -> pd.DataFrame:
    """Do as ``measure_subgroups`` for given groups: [n], a category column an attribute."""
    if resamples < 1:
        raise DermaError(f"resamples: {resamples} is too few; use 1 or more, such as {RESAMPLES}")
    members = {
        (str(attribute), str(group)): (groups[attribute] == group).to_numpy()
        for attribute in groups
        for group in groups[attribute].cat.categories
    }
    # A group of all images has nobody to be compared with.
    members = {key: inside for key, inside in members.items() if 0 < inside.sum() < len(inside)}
    everyone = np.ones(len(predictions.labels), dtype=bool)
    sides = [everyone, *(side for inside in members.values() for side in (inside, ~inside))]
    whole, *parts = resampled_parts(predictions, sides, resamples, seed)
    rows = list(_rows(predictions.classes, whole, whole))
    records = [{"attribute": ALL, "group": "all images"} | row | _NO_GAP for row in rows]
    for (attribute, group), part, others in zip(members, parts[::2], parts[1::2], strict=True):
        for row in _rows(predictions.classes, part, others):
            records.append({"attribute": attribute, "group": group} | row)
    frame = pd.DataFrame(records)
    frame["p_holm"] = frame.groupby(["attribute", "metric"])["p_holm"].transform(_corrected)
    frame["flagged"] = frame["p_holm"] < SIGNIFICANCE
    return frame


_NO_GAP = dict.fromkeys(
    ("others", "difference", "difference_low", "difference_high", "p_holm"), np.nan
)


def _rows(names: tuple[str, ...], part: Part, others: Part) -> Iterator[dict]:
    """Give one row a metric that the classes allow."""
    for metric in METRICS:
        if metric.endswith(f"_{MELANOMA}") and MELANOMA not in names:
            continue
        own, theirs, classes = figures(metric, names, part, others)
        value = percentile_interval(own[0], own[1:])
        gap = percentile_interval(own[0] - theirs[0], own[1:] - theirs[1:])
        small = _rests_on(metric, names, part) < JUDGED_LESIONS
        judged = not small and _rests_on(metric, names, others) >= JUDGED_LESIONS
        judged = judged and np.isfinite(gap.value) and value.low < value.high
        yield {
            "images": part.images,
            "lesions": part.lesions,
            "classes": " ".join(classes),
            "metric": metric,
            "value": value.value,
            "low": value.low,
            "high": value.high,
            "small": small,
            "others": theirs[0],
            "difference": gap.value,
            "difference_low": gap.low,
            "difference_high": gap.high,
            "p_holm": bootstrap_p_value(own[1:] - theirs[1:]) if judged else np.nan,
        }


def _rests_on(metric: str, names: tuple[str, ...], part: Part) -> int:
    if metric.endswith(f"_{MELANOMA}"):
        return int(part.class_lesions[names.index(MELANOMA)])
    return part.lesions


def _corrected(p_values: pd.Series) -> pd.Series:
    judged = p_values.dropna()
    return pd.Series(holm(judged.tolist()), index=judged.index).reindex(p_values.index)


def subgroups_table(frame: pd.DataFrame) -> Table:
    """Tabulate the flagged gaps."""
    rows = (
        (
            ATTRIBUTES.get(row["attribute"], row["attribute"]),
            row["group"],
            f"{row['lesions']:,}",
            METRICS[row["metric"]],
            f"{row['value']:.3f}",
            f"{row['others']:.3f}",
            Interval(row["difference"], row["difference_low"], row["difference_high"]).signed,
            format_p(row["p_holm"]),
        )
        for row in frame[frame["flagged"]].to_dict("records")
    )
    return Table(
        "Groups that differ from all other images",
        ("By", "Group", "Lesions", "Metric", "Group's", "Others'", "Gap (95% interval)", "p"),
        tuple(rows) or (("none", *[""] * 7),),
        "Others: all other images at the group's mix of classes (an AUC still ranks against "
        "each side's own mix); within a class, cases may be harder in one group. p: bootstrap "
        f"over lesions, Holm's correction for the groups. Fewer than {JUDGED_LESIONS} lesions "
        "are not judged. Skin: colours in pictures follow the camera as much as the skin.",
        words=2,
    )
