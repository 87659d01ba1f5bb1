"""Does the exported graph say what the torch network says?"""

from pathlib import Path

import numpy as np
import onnxruntime
import torch

from doctor_derma.bundle import INPUT_NAME
from doctor_derma.errors import DermaError
from doctor_derma.export.onnx import ServingGraph

TOLERANCE = 1e-4


def check_parity(graph: ServingGraph, path: Path, pixels: np.ndarray) -> float:
    """Compare a graph on disk with its torch original on real images.

    Parameters
    ----------
    pixels : uint8 RGB of shape (n, height, width, 3)

    Returns
    -------
    the largest absolute difference of any probability

    Raises
    ------
    DermaError
        When it is over ``TOLERANCE``.
    """
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    exported = session.run(None, {INPUT_NAME: pixels})[0]
    with torch.inference_mode():
        original = graph(torch.from_numpy(pixels))[0].numpy()
    difference = float(np.abs(exported - original).max())
    if not difference <= TOLERANCE:
        raise DermaError(
            f"{path.name}: its probabilities differ from the network's by {difference:.2g}, "
            f"more than {TOLERANCE:g}, so no bundle was written; try another version of torch "
            "or onnxruntime"
        )
    return difference
