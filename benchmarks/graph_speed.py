"""One picture through the graphs of several bundles, on one thread, in one run.

The bundles take turns, so that what else the machine does slows them alike; the others are held
against the last one. Decoding is not counted.

Takes seconds; needs two bundles or more.
"""

import time
from pathlib import Path

import numpy as np

from command import run, show
from doctor_derma.inference.classifier import Classifier
from doctor_derma.terminal import with_progress

WARM_UP = 5


def main(bundles: list[Path], rounds: int = 55) -> None:
    classifiers = [Classifier.load(bundle, threads=1) for bundle in bundles]
    random = np.random.default_rng(0)
    pictures = [
        random.integers(0, 256, (1, one.height, one.width, 3), np.uint8) for one in classifiers
    ]
    seconds: list[list[float]] = [[] for _ in classifiers]
    for round_ in with_progress(range(WARM_UP + rounds), "Timing"):
        for classifier, picture, found in zip(classifiers, pictures, seconds, strict=True):
            began = time.perf_counter()
            classifier.predict_pixels(picture)
            if round_ >= WARM_UP:
                found.append(time.perf_counter() - began)
    last = min(seconds[-1])
    rows = []
    for classifier, found in zip(classifiers, seconds, strict=True):
        best, median = 1000 * min(found), 1000 * float(np.median(found))
        size = f"{classifier.height}x{classifier.width}"
        ratio = f"{last / min(found):.1f}"
        rows.append((classifier.name, size, f"{best:.1f}", f"{median:.1f}", ratio))
    headings = "bundle", "input", "best, ms", "median, ms", "times as fast as the last, by the best"
    show("One picture on one thread", headings, rows)


if __name__ == "__main__":
    run(main)
