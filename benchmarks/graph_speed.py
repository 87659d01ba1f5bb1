"""One picture through the graphs of several bundles, on one thread, in one run.

python benchmarks/graph_speed.py deployment/models/champion deployment/models/champion-int8 BEFORE

The bundles take turns, so that what else the machine does slows them alike; the others are held
against the last one. Decoding is not counted.
"""

import argparse
import time
from pathlib import Path

import numpy as np
from rich.table import Table

from doctor_derma.inference.classifier import Classifier
from doctor_derma.terminal import terminal, with_progress

ROUNDS = 55
WARM_UP = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("bundles", type=Path, nargs="+")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    chosen = parser.parse_args()
    classifiers = [Classifier.load(bundle, threads=1) for bundle in chosen.bundles]
    random = np.random.default_rng(0)
    pictures = [
        random.integers(0, 256, (1, one.height, one.width, 3), np.uint8) for one in classifiers
    ]
    seconds: list[list[float]] = [[] for _ in classifiers]
    for round_ in with_progress(range(WARM_UP + chosen.rounds), "Timing"):
        for classifier, picture, found in zip(classifiers, pictures, seconds, strict=True):
            began = time.perf_counter()
            classifier.predict_pixels(picture)
            if round_ >= WARM_UP:
                found.append(time.perf_counter() - began)
    shown = Table(
        "bundle", "input", "best, ms", "median, ms", "times as fast as the last, by the best"
    )
    last = min(seconds[-1])
    for classifier, found in zip(classifiers, seconds, strict=True):
        best, median = 1000 * min(found), 1000 * float(np.median(found))
        size = f"{classifier.height}x{classifier.width}"
        ratio = f"{last / min(found):.1f}"
        shown.add_row(classifier.name, size, f"{best:.1f}", f"{median:.1f}", ratio)
    terminal().print(shown)


if __name__ == "__main__":
    main()
