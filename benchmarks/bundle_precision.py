"""A run's bundle in fp32, fp16 and int8: file size, validation scores and images a second.

The quantized bundles are exported to a scratch folder as ``derma export RUN --precision``
does, and refused as there. All are run as the server runs them, by one thread, in turn and
several times, and timed in seconds of the processor, which other work on the machine changes
least; trust the ratios more than the speeds. Run it after training:
python benchmarks/bundle_precision.py RUN
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
from rich.console import Console

from doctor_derma.bundle import Precision
from doctor_derma.data.cache import pixel_cache
from doctor_derma.data.manifest import Dataset, read_dataset
from doctor_derma.errors import DermaError
from doctor_derma.evaluation.metrics import classification_metrics
from doctor_derma.export.quantization import export_quantized
from doctor_derma.inference.classifier import Classifier
from doctor_derma.terminal import with_progress
from doctor_derma.training.runs import Run, open_run
from doctor_derma.workspace import Workspace

METRICS = ("accuracy", "balanced_accuracy", "macro_auc", "ece")
BATCHES = (1, 16)
IMAGES = 32


def bundles(run: Run, dataset: Dataset, scratch: Path) -> dict[Precision, Classifier]:
    """Load the run's own bundle and the quantized ones that aren't refused."""
    found: dict[Precision, Classifier] = {"fp32": Classifier.load(run.bundle, threads=1)}
    for precision in ("fp16", "int8"):
        try:
            folder = export_quantized(run, dataset, precision, scratch / precision)
        except DermaError as error:
            Console(stderr=True).print(str(error), highlight=False)
        else:
            found[precision] = Classifier.load(folder, threads=1)
    return found


def speed(classifier: Classifier, pixels: np.ndarray, batch: int) -> float:
    """Return images a second of the processor."""
    started = time.process_time()
    for start in range(0, len(pixels), batch):
        classifier.outputs(pixels[start : start + batch])
    return len(pixels) / (time.process_time() - started)


def speeds(
    models: dict[Precision, Classifier], pixels: np.ndarray, rounds: int
) -> dict[tuple[Precision, int], float]:
    """Return the median speed of each bundle and batch size."""
    found: dict[tuple[Precision, int], list[float]] = {}
    for _ in with_progress(range(rounds), "Timing"):
        for batch in BATCHES:
            for precision, classifier in models.items():
                found.setdefault((precision, batch), []).append(speed(classifier, pixels, batch))
    return {key: statistics.median(values) for key, values in found.items()}


def probabilities(classifier: Classifier, pixels: np.ndarray, rows: np.ndarray) -> np.ndarray:
    batches = np.array_split(rows, -(-len(rows) // BATCHES[-1]))
    steps = with_progress(batches, f"Classifying with {classifier.info.weights.precision}")
    return np.concatenate([classifier.predict_pixels(pixels[batch])[0] for batch in steps])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("run", help="name of a run that was exported")
    parser.add_argument("--rounds", type=int, default=15)
    given = parser.parse_args()
    workspace = Workspace.find()
    dataset = read_dataset(workspace.data)
    run = open_run(workspace.runs, given.run)
    with tempfile.TemporaryDirectory() as scratch:
        models = bundles(run, dataset, Path(scratch))
    pixels = pixel_cache(dataset, *run.config.image_size)
    rows = np.flatnonzero(dataset.table["split"] == "val")
    labels = np.array(dataset.targets(dataset.table.iloc[rows]))
    answers = {name: probabilities(model, pixels, rows) for name, model in models.items()}
    timed = speeds(models, np.asarray(pixels[rows[:IMAGES]]), given.rounds)

    headings = ["precision", "file", *METRICS, "same label", "largest difference"]
    headings += [f"images/s, batch {batch}" for batch in BATCHES]
    print(f"{run.name}, {len(rows)} validation images\n")
    print(f"| {' | '.join(headings)} |")
    print("| --- " * len(headings) + "|")
    for name, model in models.items():
        scores = classification_metrics(labels, answers[name], dataset.classes)
        same = np.mean(answers[name].argmax(axis=1) == answers["fp32"].argmax(axis=1))
        cells = [name, f"{model.info.weights.bytes / 1e6:.1f} MB"]
        cells += [f"{scores[metric]:.4f}" for metric in METRICS]
        cells += [f"{same:.1%}", f"{np.abs(answers[name] - answers['fp32']).max():.4f}"]
        for batch in BATCHES:
            ratio = timed[name, batch] / timed["fp32", batch]
            cells.append(f"{timed[name, batch]:.0f} ({ratio:.2f}x)")
        print(f"| {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
