"""What ``derma predict --rank`` does: pictures in the order in which to label them, as a table, CSV
or tasks of Label Studio with the model's answer in them.
"""

import csv
import json
import posixpath
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO
from urllib.parse import quote

from rich.table import Table
from rich.text import Text

from doctor_derma.bundle import BundleInfo
from doctor_derma.decisions import Costs, Rule
from doctor_derma.errors import DermaError
from doctor_derma.inference.classifier import Classifier
from doctor_derma.inference.output import Format, check_file, digits, say_others, tracked, writing
from doctor_derma.inference.predict import predict_pictures
from doctor_derma.inference.prediction import NOTICE, Row
from doctor_derma.inference.ranking import RankedRow, rank_rows
from doctor_derma.inference.sources import find_images
from doctor_derma.terminal import cells, terminal

FORMATS = ("table", "csv", "label-studio")
# Where Label Studio has the files below its LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT.
LOCAL_FILES = "/data/local-files/?d="
# Names in the labelling configuration of a Label Studio project; the guide has it.
CHOICES, IMAGE = "diagnosis", "image"
# Rows of the table; the other formats have all.
SHOWN = 50


def run_rank(
    sources: Sequence[str],
    bundle: str | Path,
    format: Format = "table",
    output: Path | None = None,
    image_url: str = LOCAL_FILES,
    rule: Rule | None = None,
    costs: Costs | None = None,
) -> int:
    """Write pictures in the order in which a model would learn most from their labels.

    Parameters
    ----------
    sources, bundle, output, rule, costs : as for ``run_predict``, which also raises the same
    format : ``table``, ``csv`` or ``label-studio``
    image_url : what Label Studio's addresses begin with; the path as it was given comes after

    Returns
    -------
    number of pictures that couldn't be read
    """
    if format not in FORMATS:
        raise DermaError(f"--rank: can't be written as {format}; use {', '.join(FORMATS)}")
    check_file(output)
    paths, others = find_images(sources)
    classifier = Classifier.load(bundle, rule=rule, costs=costs)
    pictures = predict_pictures(classifier, ((str(path), path) for path in paths))
    ranked, bad = rank_rows(tracked(pictures, len(paths)))
    with writing(output) as stream:
        if format == "csv":
            write_ranked_csv(ranked, bad, classifier.info, stream)
        elif format == "label-studio":
            write_tasks(ranked, classifier.info, image_url, stream)
        else:
            write_ranked_table(ranked, stream)
    console = terminal(error=True, soft_wrap=True)
    if format != "csv":
        for row in bad:
            console.print(f"{row.path}: {row.error}", style="red")
    if format != "table":
        console.print(NOTICE, style="bold")
    say_others(others)
    return len(bad)


def write_ranked_csv(
    ranked: Sequence[RankedRow], bad: Sequence[Row], info: BundleInfo, stream: TextIO
) -> None:
    """Write one line a picture with what has given it its place, see ``ranking.py``.

    Columns are ``rank``, ``path``, ``score``, ``novelty``, the reasons ``margin``, ``set_size`` and
    ``ood_score``, then ``label``, ``rule``, ``prediction_set``, a probability for each class, and
    ``error``, of pictures that have no rank.
    """
    names = info.class_names
    header = ["rank", "path", "score", "novelty", "margin", "set_size", "ood_score"]
    header += ["label", "rule", "prediction_set", *names, "error"]
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(header)
    for row in ranked:
        found = row.prediction
        writer.writerow(
            [
                *(row.rank, row.path, *map(digits, (row.score, row.novelty, row.margin))),
                *(len(found.prediction_set), digits(found.unfamiliarity)),
                *(found.label, found.rule, " ".join(found.prediction_set)),
                *(digits(found.probabilities[name]) for name in names),
                "",
            ]
        )
    for failed in bad:
        writer.writerow(["", failed.path, *[""] * (len(header) - 3), failed.error])


def write_tasks(
    ranked: Sequence[RankedRow], info: BundleInfo, image_url: str, stream: TextIO
) -> None:
    """Write tasks with pre-annotations, as Label Studio imports them.

    The format is that of https://labelstud.io/guide/predictions: in ``data`` the address of the
    picture, its rank and the reasons; in ``predictions`` the label as a choice, with its
    probability as the ``score``.
    """
    version = f"{info.name} {info.weights.sha256[:12]}"
    choice = {"id": "label", "from_name": CHOICES, "to_name": IMAGE, "type": "choices"}
    tasks = [
        {
            "data": {
                IMAGE: task_url(row.path, image_url),
                "path": row.path,
                "rank": row.rank,
                "score": round(row.score, 6),
                "novelty": round(row.novelty, 6),
                "margin": round(row.margin, 6),
                "prediction_set": " ".join(row.prediction.prediction_set),
                "ood_score": round(row.prediction.unfamiliarity, 6),
                "notice": NOTICE,
            },
            "predictions": [
                {
                    "model_version": version,
                    "score": round(row.prediction.probabilities[row.prediction.label], 6),
                    "result": [{**choice, "value": {"choices": [row.prediction.label]}}],
                }
            ],
        }
        for row in ranked
    ]
    json.dump(tasks, stream, indent=1)
    stream.write("\n")


def task_url(path: str, image_url: str) -> str:
    """Return the address under which a labelling tool finds a picture.

    Examples
    --------
    >>> task_url("photos/a b.jpg", LOCAL_FILES)
    '/data/local-files/?d=photos/a%20b.jpg'
    >>> task_url("/srv/photos/a.jpg", "https://example.org/")
    'https://example.org/srv/photos/a.jpg'
    """
    return image_url + quote(posixpath.normpath(path).lstrip("/"), errors="surrogateescape")


def write_ranked_table(ranked: Sequence[RankedRow], stream: TextIO) -> None:
    """Write a table of the first ``SHOWN`` pictures."""
    more = len(ranked) - SHOWN
    rest = f"{more:,} more with --format csv. " if more > 0 else ""
    table = Table(caption=Text(f"{rest}{NOTICE}"), caption_style="bold")
    table.add_column("rank", justify="right")
    table.add_column("picture", overflow="fold")
    for name in ("score", "novelty", "margin", "OOD score"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("can't be ruled out")
    for row in ranked[:SHOWN]:
        found = row.prediction
        numbers = (row.score, row.novelty, row.margin, found.unfamiliarity)
        name = row.path.encode(errors="surrogateescape").decode(errors="replace")
        table.add_row(
            *cells(row.rank, name, *(f"{number:.2f}" for number in numbers)),
            ", ".join(found.prediction_set),
        )
    terminal(file=stream).print(table)
