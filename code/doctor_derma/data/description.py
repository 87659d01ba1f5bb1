"""What is in a data set: as tables on the terminal and as one picture."""

import csv
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.console import Group
from rich.table import Table
from rich.text import Text

from doctor_derma.atomic import replacing_file
from doctor_derma.data.corrections import read_corrections, undone_corrections
from doctor_derma.data.manifest import CORRECTIONS_FILE, REPORT_FILE, SPLITS, Dataset
from doctor_derma.diagnoses import full_name
from doctor_derma.images.decoding import open_image
from doctor_derma.terminal import cells

_SPLIT_COLOURS = {"train": "#2a5c8a", "val": "#e0a03c", "test": "#b4483c"}
_SEX_COLOURS = {"female": "#8a5a9e", "male": "#3f8f86", "unknown": "#c8c8c8"}
_MOST_SITES = 12


def describe(dataset: Dataset) -> Group:
    """Return a rich renderable: classes by split, ages, sexes, sites, sizes and the report."""
    info = dataset.info
    return Group(
        Text(f"{_title(dataset)} in {len(dataset.classes)} classes", style="bold"),
        Text(f"{info.source}; licence {info.licence}; split seed {info.seed}"),
        Text(f"fingerprint {dataset.fingerprint[:16]}"),
        _class_table(dataset),
        _facts_table(dataset),
    )


def plot_description(dataset: Dataset, path: Path) -> None:
    """Draw class counts, ages, sites, sexes and a picture of each class into one PNG."""
    figure = Figure(figsize=(13, 11), layout="constrained")
    figure.suptitle(_title(dataset), fontsize=15)
    pictures, charts = figure.subfigures(2, 1, height_ratios=[1, 4.4], squeeze=False)[:, 0]
    _draw_pictures(pictures.subplots(1, len(dataset.classes), squeeze=False)[0], dataset)
    (counts, ages), (sites, sexes) = charts.subplots(2, 2)
    _draw_counts(counts, dataset)
    _draw_ages(ages, dataset)
    _draw_sites(sites, dataset)
    _draw_sexes(sexes, dataset)
    for axis in (counts, ages, sites, sexes):
        axis.spines[["top", "right"]].set_visible(False)
    if max(map(len, dataset.classes)) > 7:
        for axis in (counts, ages, sexes):
            axis.tick_params(axis="x", rotation=25)
    with replacing_file(path) as scratch:
        figure.savefig(scratch, dpi=110)


def _title(dataset: Dataset) -> str:
    lesions = dataset.table["lesion"].nunique()
    return f"{dataset.info.name}: {len(dataset.table):,} images of {lesions:,} lesions"


def _class_table(dataset: Dataset) -> Table:
    rows = dataset.table
    table = Table(title="Images (lesions) by class and split", title_justify="left")
    table.add_column("class", overflow="fold")
    for split in (*SPLITS, "all"):
        table.add_column(split, justify="right", no_wrap=True)
    for dx in dataset.classes:
        of_class = rows[rows["class"] == dx]
        table.add_row(*cells(dx, *_split_counts(of_class)))
    table.add_section()
    table.add_row("all", *_split_counts(rows))
    return table


def _split_counts(rows: pd.DataFrame) -> list[str]:
    parts = [rows[rows["split"] == split] for split in SPLITS]
    return [f"{len(part):,} ({part['lesion'].nunique():,})" for part in (*parts, rows)]


def _facts_table(dataset: Dataset) -> Table:
    rows = dataset.table
    names = [(dx, full_name(dx)) for dx in dataset.classes if full_name(dx) != dx]
    facts = [("age", "unknown")]
    if len(ages := rows["age"].dropna()):
        low, middle, high = np.percentile(ages, [5, 50, 95])
        spread = f"median {middle:.0f}, 90% between {low:.0f} and {high:.0f} years"
        facts = [("age", f"{spread}; unknown for {len(rows) - len(ages):,} images")]
    for name in ("sex", "site", "source", "skin_tone"):
        if name in rows:
            facts.append((name.replace("_", " "), _listed(_known(rows[name]))))
    if "patient" in rows:
        facts.append(("patients", f"{rows['patient'].replace('', np.nan).nunique():,}"))
    sizes = rows["width"].astype(str) + "x" + rows["height"].astype(str)
    facts += [("size", _listed(sizes)), ("reported", _reported(dataset.folder / REPORT_FILE))]
    if corrected := _corrected(dataset):
        facts.append(("corrected", corrected))
    table = Table(show_header=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for section in (names, facts):
        for fact in section:
            table.add_row(*cells(*fact))
        table.add_section()
    return table


def _known(column: pd.Series) -> pd.Series:
    return column.astype(object).fillna("").astype(str).replace("", "unknown")


def _listed(names: Iterable[str], most: int = 6) -> str:
    counts = Counter(names).most_common()
    listed = [f"{name} {count:,}" for name, count in counts[:most]]
    if len(counts) > most:
        listed.append(f"{len(counts) - most} more {sum(n for _, n in counts[most:]):,}")
    return ", ".join(listed)


def _reported(path: Path) -> str:
    if not path.is_file():
        return "no report"
    with path.open(newline="", encoding="utf-8") as stream:
        reasons = [row["reason"] for row in csv.DictReader(stream)]
    return f"{_listed(reasons, len(reasons))} (each in {path.name})" if reasons else "nothing"


def _corrected(dataset: Dataset) -> str:
    """Say what the record of corrections holds; nothing where there is none."""
    if not (record := read_corrections(dataset.folder)):
        return ""
    path = dataset.folder / CORRECTIONS_FILE
    files = ", ".join(dict.fromkeys(one.file for one in record))
    said = f"{len(record):,} correction{'s' * (len(record) != 1)} by {files}"
    if undone := undone_corrections(dataset):
        return (
            f"{said}; {undone:,} of these are not in this import, but will be with: "
            f"derma data apply {path}"
        )
    return f"{said} (each in {path.name})"


def _draw_pictures(axes: np.ndarray, dataset: Dataset) -> None:
    generator = np.random.default_rng(0)
    for axis, dx in zip(axes, dataset.classes, strict=True):
        paths = dataset.table.loc[dataset.table["class"] == dx, "path"].tolist()
        picture = open_image(dataset.folder / paths[generator.integers(len(paths))])
        picture.thumbnail((400, 400))
        axis.imshow(np.asarray(picture))
        axis.set_title(dx)
        axis.axis("off")


def _draw_counts(axis: Axes, dataset: Dataset) -> None:
    counts = pd.crosstab(dataset.table["class"], dataset.table["split"])
    positions = np.arange(len(dataset.classes))
    for offset, split in enumerate(SPLITS, -1):
        heights, colour = counts.reindex(dataset.classes)[split], _SPLIT_COLOURS[split]
        bars = axis.bar(positions + 0.27 * offset, heights, 0.27, color=colour, label=split)
        axis.bar_label(bars, fontsize=8, padding=2, rotation=90)
    axis.set(title="Images by class and split", ylabel="images (log scale)", yscale="log")
    axis.set_ylim(1, 3 * counts.to_numpy().max())
    axis.set_xticks(positions, dataset.classes)
    # Named, as matplotlib warns of this default where to find a place takes over a second.
    axis.legend(loc="best", frameon=False)


def _draw_ages(axis: Axes, dataset: Dataset) -> None:
    table = dataset.table
    ages = [table.loc[table["class"] == dx, "age"].dropna().to_numpy() for dx in dataset.classes]
    if not any(len(known) for known in ages):
        axis.text(0.5, 0.5, "no ages known", ha="center", transform=axis.transAxes)
    axis.boxplot(
        ages,
        tick_labels=list(dataset.classes),
        patch_artist=True,
        boxprops={"facecolor": "#c9d8e6", "edgecolor": "#2a5c8a"},
        medianprops={"color": "#b4483c", "linewidth": 2},
        flierprops={"markersize": 3, "alpha": 0.4},
    )
    axis.set(title="Age by class", ylabel="years")


def _draw_sites(axis: Axes, dataset: Dataset) -> None:
    counts = _known(dataset.table["site"]).value_counts()
    if len(counts) > _MOST_SITES:
        rest = counts.iloc[_MOST_SITES - 1 :].sum()
        counts = pd.concat([counts.iloc[: _MOST_SITES - 1], pd.Series({"others": rest})])
    bars = axis.barh(counts.index[::-1], counts.to_numpy()[::-1], color="#5f87ab")
    axis.bar_label(bars, fontsize=8, padding=2)
    axis.set(title="Site of the lesion", xlabel="images")


def _draw_sexes(axis: Axes, dataset: Dataset) -> None:
    sexes = _known(dataset.table["sex"]).str.lower()
    sexes = sexes.where(sexes.isin(list(_SEX_COLOURS)), "unknown")
    shares = 100 * pd.crosstab(dataset.table["class"], sexes, normalize="index")
    below = np.zeros(len(dataset.classes))
    for sex, colour in _SEX_COLOURS.items():
        if sex in shares:
            heights = shares.reindex(dataset.classes)[sex].to_numpy()
            axis.bar(dataset.classes, heights, bottom=below, color=colour, label=sex)
            below += heights
    axis.set(title="Sex by class", ylabel="% of images")
    axis.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
