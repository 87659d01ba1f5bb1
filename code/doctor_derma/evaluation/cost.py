"""What a network costs: weights, arithmetic for one picture, pictures a second."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from doctor_derma.inference.classifier import Classifier
from doctor_derma.models.networks import count_parameters, create_network
from doctor_derma.terminal import with_progress

BATCHES = (1, 32)
WARM_UP = 2
REPEATS = 11


@dataclass(frozen=True)
class Cost:
    """Trained weights, multiply-accumulates for one picture, and batch -> pictures a second."""

    parameters: int
    macs: int
    images_per_second: dict[int, float]


def measure_costs(classifiers: Mapping[str, Classifier], repeats: int = REPEATS) -> dict[str, Cost]:
    """Measure what networks cost, each in the bundle of one of its runs.

    Parameters
    ----------
    classifiers : architecture -> a classifier with it; how many threads it uses is set where
        it is loaded
    repeats : timed calls for each batch, of which the median counts

    Raises
    ------
    DermaError
        When there is no such architecture.
    """
    sizes = {
        architecture: count_size(architecture, len(one.class_names), one.height, one.width)
        for architecture, one in classifiers.items()
    }
    speeds = images_per_second(list(classifiers.values()), repeats=repeats)
    costs = {}
    for (architecture, one), speed in zip(classifiers.items(), speeds, strict=True):
        parameters, macs = sizes[architecture]
        # A bundle that looks at a picture several times runs its network as often.
        costs[architecture] = Cost(parameters, macs * one.info.tta, speed)
    return costs


def count_size(architecture: str, classes: int, height: int, width: int) -> tuple[int, int]:
    """Count a network's weights, and its multiply-accumulates for one picture.

    Convolutions and matrix products are counted, which PyTorch's counter takes for two
    operations each. Normalisation, activation and pooling are not, nor is what export adds
    to the graph (activation maps, unfamiliarity).
    """
    network = create_network(architecture, classes).eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(torch.zeros(1, 3, height, width))
    return count_parameters(network), counter.get_total_flops() // 2


def images_per_second(
    classifiers: Sequence[Classifier], batches: Sequence[int] = BATCHES, repeats: int = REPEATS
) -> list[dict[int, float]]:
    """Time classifiers on noise of their size, in turns: a busy machine slows all of them.

    Returns
    -------
    For each classifier: batch -> pictures a second, without decoding, from the median time
    of its calls after the first ``WARM_UP``
    """
    speeds: list[dict[int, float]] = [{} for _ in classifiers]
    for batch in batches:
        shapes = [(batch, one.height, one.width, 3) for one in classifiers]
        noise = [np.random.default_rng(0).integers(0, 256, s, dtype=np.uint8) for s in shapes]
        turns = with_progress(range(WARM_UP + repeats), f"Timing {batch} at a time")
        times = [
            [_seconds(one, pixels) for one, pixels in zip(classifiers, noise, strict=True)]
            for _ in turns
        ]
        for speed, median in zip(speeds, np.median(times[WARM_UP:], axis=0), strict=True):
            speed[batch] = batch / float(median)
    return speeds


def _seconds(classifier: Classifier, pixels: np.ndarray) -> float:
    start = time.perf_counter()
    classifier.predict_pixels(pixels)
    return time.perf_counter() - start
