"""How many pictures get an answer at home, and on a source that training has not seen.

    derma train --config code/configs/finetune.yaml --model eca_efficientnet_lite0 \\
        --leave-source-out all --name away
    python benchmarks/answers_elsewhere.py away

At home are the validation images of the other sources, to which temperature and thresholds were
fitted; nothing here looks at the test split. A picture gets no answer where its prediction set
holds several classes (unsure), or where it is called out of distribution (unfamiliar).

Takes about 3 minutes; needs the runs of ``derma train --leave-source-out all``.
"""

from collections import Counter
from pathlib import Path

import numpy as np
from sklearn.metrics import recall_score

from command import run, show
from doctor_derma.data.manifest import Dataset, read_dataset
from doctor_derma.errors import DermaError
from doctor_derma.inference.classifier import Classifier
from doctor_derma.terminal import with_progress
from doctor_derma.training.folds import parts_of
from doctor_derma.training.runs import open_run
from doctor_derma.workspace import Workspace

LEAST_IMAGES = 21  # Of a class that is counted.


def main(name: str) -> None:
    workspace = Workspace.find()
    dataset = read_dataset(workspace.data)
    folders = [of for of in workspace.runs.glob(f"{name}-without-*") if (of / "bundle").is_dir()]
    if not folders:
        raise DermaError(
            f"{name}: no finished run leaves a source out; this script's first lines train them"
        )
    rows = []
    for folder in with_progress(sorted(folders), "Predicting"):
        trained = open_run(workspace.runs, folder.name)
        parts = parts_of(dataset, trained.config)
        classifier = Classifier.load(trained.bundle)
        for where, chosen in (("home", parts.val), ("left out", parts.judged)):
            cells = judge(classifier, dataset, chosen)
            rows.append((trained.config.leave_source_out, where, f"{len(chosen):,}", *cells))
    headings = "source", "images of", "images", "answered", "unsure", "unfamiliar"
    show(
        "Answers at home and on a source that was left out",
        (*headings, "classes", "balanced accuracy"),
        rows,
    )


def judge(classifier: Classifier, dataset: Dataset, chosen: np.ndarray) -> tuple[str, ...]:
    """Return the shares of answers and of both reasons for none, and the balanced accuracy."""
    table = dataset.table.iloc[chosen]
    found = classifier.predict([Path(dataset.folder, path) for path in table["path"]])
    reasons = Counter(prediction.abstention for prediction in found)
    counts = table["class"].value_counts()
    classes = list(counts.index[counts >= LEAST_IMAGES])
    called = [prediction.label for prediction in found]
    score = recall_score(table["class"], called, labels=classes, average="macro", zero_division=0)
    shares = (f"{reasons[of] / len(found):.1%}" for of in (None, "unsure", "unfamiliar"))
    return *shares, str(len(classes)), f"{score:.3f}"


if __name__ == "__main__":
    run(main)
