"""What the ONNX peers share: a session on ``model.onnx``, and decoding as a user would write it."""

import io
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from PIL import Image

BUNDLE = Path(os.environ["BENCH_BUNDLE"])
INFO = json.loads((BUNDLE / "model.json").read_text())
NAMES = [entry["name"] for entry in INFO["classes"]]
SIZE = INFO["input"]["width"], INFO["input"]["height"]


def open_session(threads: int) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    return ort.InferenceSession(
        BUNDLE / INFO["weights"]["file"], options, providers=["CPUExecutionProvider"]
    )


def decode(encoded: bytes) -> np.ndarray:
    """Return uint8 (height, width, 3)."""
    return fit(Image.open(io.BytesIO(encoded)))


def fit(image: Image.Image) -> np.ndarray:
    resized = image.convert("RGB").resize(SIZE, Image.Resampling.BILINEAR, reducing_gap=3.0)
    return np.asarray(resized)


def answers(probabilities: np.ndarray) -> list[dict[str, Any]]:
    """Return label and probabilities of each row."""
    return [
        {
            "label": NAMES[int(row.argmax())],
            "probabilities": dict(zip(NAMES, map(float, row), strict=True)),
        }
        for row in probabilities
    ]
