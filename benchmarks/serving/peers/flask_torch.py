"""Flask and torch: one picture a request, no batching; gunicorn runs a process a processor.

https://flask.palletsprojects.com/en/stable/deploying/gunicorn/
"""

import io
from typing import Any

import numpy as np
import torch
from flask import Flask, request
from PIL import Image
from torch_network import load_network

app = Flask(__name__)
network = load_network()


@app.get("/healthz")
def healthy() -> dict[str, str]:
    return {"status": "ok"}


@app.post("/predict")
def predict() -> dict[str, Any]:
    image = Image.open(io.BytesIO(request.get_data())).convert("RGB")
    image = image.resize(network.size, Image.Resampling.BILINEAR, reducing_gap=3.0)
    with torch.inference_mode():
        (row,) = network(torch.from_numpy(np.array(image))[None]).tolist()
    probabilities = dict(zip(network.names, row, strict=True))
    return {
        "label": max(probabilities, key=probabilities.__getitem__),
        "probabilities": probabilities,
    }
