"""Who a model works for: metrics by sex, age, body site, confirmation and skin tone."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from doctor_derma.audits.groups import (
    ALL,
    CLASS_LESIONS,
    UNKNOWN,
    Part,
    compare_part,
    interval_of,
    resampled_parts,
)
from doctor_derma.audits.skin_tone import BANDS, measure_skin_tones
from doctor_derma.data.confirmation import read_confirmations
from doctor_derma.data.manifest import Dataset
from doctor_derma.decisions import MELANOMA
from doctor_derma.errors import DermaError
from doctor_derma.evaluation.bootstrap import RESAMPLES, percentile_interval
from doctor_derma.evaluation.comparison import bootstrap_p_value, holm
from doctor_derma.evaluation.plots import style
from doctor_derma.evaluation.predictions import Predictions
from doctor_derma.evaluation.tables import Table, format_p

ATTRIBUTES = {
    "sex": "Sex",
    "age": "Age in years",
    "site": "Body site",
    "confirmation": "Diagnosis confirmed by",
    "skin": "Skin around the lesion",
}
AGE_LIMITS = (0, 30, 45, 60, 75)
AGE_BANDS = ("under 30", "30 to 44", "45 to 59", "60 to 74", "75 and over")
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
PLAIN, FLAGGED, SMALL = ("#0072b2", "o"), ("#d55e00", "D"), ("#a5afba", "o")
COLUMNS = 4
TOO_FEW = "too few"
OTHERS = "all other images at the group's\nmix of classes"
TITLES = METRICS | {"ece": "ECE (not judged)"}
_NO_GAP = dict.fromkeys(
    ("others", "difference", "difference_low", "difference_high", "p_holm"), np.nan
)


def measure_subgroups(
    predictions: Predictions, dataset: Dataset, resamples: int = RESAMPLES
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Compute metrics of each group of images, and the gaps to all other images.

    Groups have different mixes of classes, so a group is held against what all others have
    at the group's own mix (see `doctor_derma.audits.groups.compare_part`). Within a class,
    cases may still be harder in one group: a gap is no proof that the attribute causes it.

    A gap's p-value is from the same resampled lesions as its interval and corrected by Holm's
    method for the groups of the attribute; below 0.05 the gap is flagged. Not judged are ECE,
    what rests on fewer than 20 lesions on either side (melanomas, for their figures), and what
    is the same in every resample, as where all are right.

    Parameters
    ----------
    predictions : n images of the data set
    dataset : gives sex, age and site, and, where imported, masks and confirmations; an
        attribute that is known of no image is left out
    resamples : of the bootstrap over lesions

    Returns
    -------
    What `doctor_derma.audits.skin_tone.measure_skin_tones` returns, after a frame with one row a
    group and metric; undefined figures are nan:

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
    return compare_groups(predictions, groups, resamples), tones


def compare_groups(
    predictions: Predictions, groups: pd.DataFrame, resamples: int = RESAMPLES, seed: int = 0
) -> pd.DataFrame:
    """Do as ``measure_subgroups`` for given groups: [n], a category column an attribute."""
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
    whole_rows = [row | _NO_GAP for row in _rows(predictions.classes, whole, whole)]
    records = [{"attribute": ALL, "group": "all images"} | row for row in whole_rows]
    for (attribute, group), part, others in zip(members, parts[::2], parts[1::2], strict=True):
        rows = _rows(predictions.classes, part, others)
        records += [{"attribute": attribute, "group": group} | row for row in rows]
    frame = pd.DataFrame(records)
    frame["p_holm"] = frame.groupby(["attribute", "metric"])["p_holm"].transform(_corrected)
    frame["flagged"] = frame["p_holm"] < SIGNIFICANCE
    return frame


def image_groups(
    rows: pd.DataFrame, confirmations: Mapping[str, str], skin_bands: list[str]
) -> pd.DataFrame:
    """Return the group of each image for each attribute that is known of any image.

    Parameters
    ----------
    rows : n rows of the manifest
    confirmations : image -> how its diagnosis was confirmed, where that is known
    skin_bands : n bands of skin

    Returns
    -------
    Ordered categories [n], columns in the order of ``ATTRIBUTES``; ``unknown`` comes last. Ages
    and skin are in their natural order, other groups begin with the largest.
    """
    columns = {
        "sex": _by_size(rows["sex"]),
        "age": _in_order(age_bands(rows["age"].to_numpy(dtype=float)), AGE_BANDS),
        "site": _by_size(rows["site"]),
        "confirmation": _by_size(rows["image"].map(confirmations)),
        "skin": _in_order(skin_bands, tuple(BANDS)),
    }
    known = {name: groups for name, groups in columns.items() if np.any(groups != UNKNOWN)}
    return pd.DataFrame(known)


def age_bands(ages: np.ndarray) -> list[str]:
    """Return the band of ``AGE_BANDS`` of each age in years; nan is unknown."""
    positions = np.searchsorted(AGE_LIMITS, ages, side="right") - 1
    named = zip(ages, positions, strict=True)
    return [UNKNOWN if np.isnan(age) else AGE_BANDS[position] for age, position in named]


def subgroups_table(frame: pd.DataFrame) -> Table:
    """Tabulate the flagged gaps."""
    rows = (
        (
            *(ATTRIBUTES.get(row["attribute"], row["attribute"]), row["group"]),
            *(f"{row['lesions']:,}", METRICS[row["metric"]]),
            *(f"{row['value']:.3f}", f"{row['others']:.3f}"),
            *(interval_of(row, "difference").signed, format_p(row["p_holm"])),
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


def plot_subgroups(frame: pd.DataFrame, attribute: str) -> Figure:
    """Draw one panel a metric, one row a group, against the line of all images.

    ``frame`` is of `measure_subgroups` and holds the ``attribute``, such as ``age``.
    """
    rows = frame[frame["attribute"] == attribute]
    overall = frame[frame["attribute"] == ALL].set_index("metric")["value"]
    groups = rows.drop_duplicates("group")[["group", "images", "lesions"]]
    metrics = [metric for metric in METRICS if metric in set(rows["metric"])]
    height = 1.0 + 0.36 * len(groups)
    lines = -(-(len(metrics) + 1) // COLUMNS)
    figure = style.new_figure(13.2, lines * height + 0.4)
    panels = figure.subplots(lines, COLUMNS, squeeze=False)
    labels = [
        f"{group}\n{images:,} images, {lesions:,} lesions"
        for group, images, lesions in groups.itertuples(index=False)
    ]
    for number, (axes, metric) in enumerate(zip(panels.flat, metrics, strict=False)):
        _draw_panel(axes, rows[rows["metric"] == metric], overall[metric])
        style.style_axes(axes, TITLES[metric], "", "")
        axes.title.set_fontsize(10.5)
        shown = labels if number % COLUMNS == 0 else [""] * len(labels)
        axes.set_yticks(np.arange(len(labels))[::-1], shown, fontsize=8.5)
    for axes in panels.flat[len(metrics) :]:
        axes.axis("off")
    _draw_key(panels.flat[len(metrics)])
    title = ATTRIBUTES.get(attribute, attribute)
    style.write_title(figure, f"{title}: each group with 95% interval", size=12)
    return figure


def _rows(names: tuple[str, ...], part: Part, others: Part) -> Iterator[dict[str, Any]]:
    """Give one row a metric that the classes allow."""
    for metric in METRICS:
        lesions = [part.lesions, others.lesions]  # What the figure rests on.
        if metric.endswith(f"_{MELANOMA}"):
            if MELANOMA not in names:
                continue
            lesions = [int(side.class_lesions[names.index(MELANOMA)]) for side in (part, others)]
        own, theirs, classes = compare_part(metric, names, part, others)
        value = percentile_interval(own)
        gap = percentile_interval(own - theirs)
        judged = min(lesions) >= JUDGED_LESIONS
        judged = judged and np.isfinite(gap.value) and value.low < value.high
        yield {
            "images": part.images,
            "lesions": part.lesions,
            "classes": " ".join(classes),
            "metric": metric,
            **vars(value),
            "small": lesions[0] < JUDGED_LESIONS,
            "others": theirs[0],
            "difference": gap.value,
            "difference_low": gap.low,
            "difference_high": gap.high,
            "p_holm": bootstrap_p_value(own[1:] - theirs[1:]) if judged else np.nan,
        }


def _corrected(p_values: pd.Series) -> pd.Series:
    judged = p_values.dropna()
    return pd.Series(holm(judged.tolist()), index=judged.index).reindex(p_values.index)


def _by_size(column: pd.Series) -> pd.Series:
    named = column.astype(object).fillna(UNKNOWN).astype(str)
    names = named.str.strip().str.lower().replace("", UNKNOWN)
    return _in_order(list(names), tuple(names.value_counts(sort=True).index))


def _in_order(groups: list[str], order: tuple[str, ...]) -> pd.Series:
    present = [name for name in order if name in set(groups) and name != UNKNOWN]
    return pd.Series(pd.Categorical(groups, [*present, UNKNOWN], ordered=True))


def _draw_panel(axes: Axes, rows: pd.DataFrame, overall: float) -> None:
    positions = np.arange(len(rows))[::-1]
    if np.isfinite(overall):
        axes.axvline(overall, color=style.INK, linewidth=1, linestyle=(0, (4, 2)))
    for position, row in zip(positions, rows.to_dict("records"), strict=True):
        if np.isnan(row["value"]):
            look = {"va": "center", "fontsize": 8, "color": style.MUTED, "backgroundcolor": "white"}
            axes.text(0.03, position, TOO_FEW, fontdict=look, transform=axes.get_yaxis_transform())
            continue
        colour, marker = FLAGGED if row["flagged"] else SMALL if row["small"] else PLAIN
        axes.plot(row["others"], position, marker="|", markersize=15, color=style.INK)
        style.draw_interval(axes, position, interval_of(row), colour, marker)
    axes.set_ylim(-0.6, len(rows) - 0.4)
    axes.margins(x=0.08)
    axes.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))


def _draw_key(axes: Axes) -> None:
    names = {
        PLAIN: "group, no gap shown\n(or no others to compare with)",
        FLAGGED: "group with a gap to the others\n(Holm-corrected p below 0.05)",
        SMALL: f"fewer than {JUDGED_LESIONS} lesions:\ntoo small to judge",
    }
    too_few = f"{TOO_FEW}: fewer than {CLASS_LESIONS} lesions\nof a class that it needs"
    handles = [
        *(
            Line2D([], [], color=colour, marker=marker, markersize=8, linewidth=4, label=name)
            for (colour, marker), name in names.items()
        ),
        Line2D([], [], color=style.INK, marker="|", markersize=14, linestyle="", label=OTHERS),
        Line2D([], [], color=style.INK, linewidth=1, linestyle=(0, (4, 2)), label="all images"),
        Line2D([], [], linestyle="", label=too_few),
    ]
    axes.legend(
        handles=handles, loc="center left", frameon=False, fontsize=8.8, labelcolor=style.INK
    )
