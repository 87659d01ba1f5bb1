"""The outputs of a graph for many images of a pixel cache."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime
from onnx import ModelProto
from rich.progress import track

from doctor_derma.export.graph import INPUT_NAME
from doctor_derma.terminal import terminal

_BATCH = 64


def run_graph(
    graph: Path | ModelProto, pixels: np.ndarray, rows: np.ndarray, outputs: Sequence[str]
) -> list[np.ndarray]:
    """Run a graph on some rows of a pixel cache.

    Parameters
    ----------
    graph : an ONNX file, or what it holds
    pixels : uint8 of shape (images, height, width, 3)
    rows : int (n,)
    outputs : names of the graph's outputs

    Returns
    -------
    float64 arrays, one an output, all of length n
    """
    source = graph.SerializeToString() if isinstance(graph, ModelProto) else graph
    session = onnxruntime.InferenceSession(source, providers=["CPUExecutionProvider"])
    batches = [rows[start : start + _BATCH] for start in range(0, len(rows), _BATCH)]
    progress = track(
        batches, description="Running the graph", console=terminal(error=True), transient=True
    )
    found = [session.run(list(outputs), {INPUT_NAME: pixels[batch]}) for batch in progress]
    return [np.concatenate(part).astype(np.float64) for part in zip(*found, strict=True)]
