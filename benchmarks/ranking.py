"""What ``derma predict --rank`` puts first, of images that the model has not seen in training.

Of the first images of each order: how many the model gets wrong, of how many lesions they are, and
how many are malignant. Then ten copies are added of each of the 20 images with the greatest score,
saved again at other sizes and qualities, and counted among the first 100.

Takes about a minute; needs imported data, and a bundle that was not trained on its validation
images.
"""

import io
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
from PIL import Image
from typer import Option

from command import run, show
from doctor_derma.data.manifest import Dataset, read_dataset
from doctor_derma.diagnoses import MALIGNANT
from doctor_derma.export.unseen import recipe_of
from doctor_derma.images.decoding import ImageSource
from doctor_derma.inference.classifier import Classifier
from doctor_derma.inference.predict import predict_pictures
from doctor_derma.inference.ranking import RankedRow, rank_rows
from doctor_derma.terminal import with_progress
from doctor_derma.training.folds import parts_of
from doctor_derma.workspace import Workspace

FIRST = (50, 150, 300)
BEST, COPIES, LOOKED_AT = 20, 10, 100
RANDOM_ORDERS = 200


def copies(path: Path) -> Iterator[bytes]:
    """Encode a picture again, at a half to the whole of its size and qualities of 50 to 95."""
    picture = Image.open(path).convert("RGB")
    for step in range(COPIES):
        share = 0.5 + 0.5 * step / (COPIES - 1)
        stream = io.BytesIO()
        size = (round(picture.width * share), round(picture.height * share))
        picture.resize(size).save(stream, "JPEG", quality=50 + 5 * step)
        yield stream.getvalue()


def figures(
    order: np.ndarray, wrong: np.ndarray, lesions: np.ndarray, bad: np.ndarray
) -> list[str]:
    cells = []
    for first in FIRST:
        part = order[:first]
        found = (wrong[part].mean(), len(set(lesions[part])), bad[part].mean())
        cells += [f"{found[0]:.0%}", f"{found[1]}", f"{found[2]:.0%}"]
    return cells


def unseen_images(dataset: Dataset, classifier: Classifier, bundle: Path) -> pd.DataFrame:
    """Return the rows of the manifest that the model was validated with."""
    recipe = recipe_of(classifier.info, bundle)
    if recipe.refit:
        raise SystemExit(f"{classifier.name}: trained on the validation images; name another model")
    return dataset.table.iloc[parts_of(dataset, recipe).val]


def print_orders(unseen: pd.DataFrame, ranked: list[RankedRow]) -> None:
    rows = unseen.set_index("path").loc[[row.path for row in ranked]]
    labels, lesions = rows["class"].to_numpy(str), rows["lesion"].to_numpy(str)
    called = [
        max(row.prediction.probabilities.items(), key=lambda item: item[1])[0] for row in ranked
    ]
    wrong, malignant = np.array(called) != labels, np.isin(labels, list(MALIGNANT))
    orders = {
        "least margin": np.argsort([row.margin for row in ranked], kind="stable"),
        "score alone": np.argsort([-row.score for row in ranked], kind="stable"),
        "--rank": np.arange(len(ranked)),
    }
    random = np.random.default_rng(0)
    drawn = [random.permutation(len(ranked)) for _ in range(RANDOM_ORDERS)]
    means = []
    for first in FIRST:
        parts = [order[:first] for order in drawn]
        counted = np.mean([len(set(lesions[part])) for part in parts])
        means += [f"{wrong.mean():.0%}", f"{counted:.0f}", f"{malignant.mean():.0%}"]
    rows_of = {name: figures(order, wrong, lesions, malignant) for name, order in orders.items()}
    headings = [(f"first {first}: wrong", "lesions", "malignant") for first in FIRST]
    show(
        f"{len(ranked):,} unseen images, {wrong.mean():.1%} of them called wrong",
        ["order", *chain(*headings)],
        [["at random", *means], *([name, *cells] for name, cells in rows_of.items())],
    )


def main(
    model: Path = Path("deployment/models/champion"),
    root: Annotated[Path | None, Option(help="of the workspace")] = None,
) -> None:
    workspace = Workspace(root) if root else Workspace.find()
    dataset, classifier = read_dataset(workspace.data), Classifier.load(model)
    unseen = unseen_images(dataset, classifier, model)
    paths = [str(path) for path in unseen["path"]]
    sources: list[tuple[str, ImageSource]] = [(path, dataset.folder / path) for path in paths]
    pictures = predict_pictures(classifier, sources)
    read = list(with_progress(pictures, "Predicting", len(sources)))
    ranked, _ = rank_rows(read)
    print_orders(unseen, ranked)
    best = sorted(ranked, key=lambda row: -row.score)[:BEST]
    again: list[tuple[str, ImageSource]] = [
        (f"copy of {row.path}", copy) for row in best for copy in copies(dataset.folder / row.path)
    ]
    more, _ = rank_rows([*read, *predict_pictures(classifier, again)])
    by_score = sorted(more, key=lambda row: -row.score)
    for name, rows in {"score alone": by_score, "--rank": more}.items():
        count = sum(row.path.startswith("copy of") for row in rows[:LOOKED_AT])
        print(f"{name}: {count} of {len(again)} copies among the first {LOOKED_AT}")


if __name__ == "__main__":
    run(main)
