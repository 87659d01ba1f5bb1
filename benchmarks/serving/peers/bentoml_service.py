"""BentoML: a service with adaptive batching, one worker a processor.

https://docs.bentoml.com/en/latest/get-started/adaptive-batching.html
"""

import os
from typing import Any

import bentoml
import numpy as np
from onnx_model import answers, fit, open_session
from PIL.Image import Image


@bentoml.service(workers=os.cpu_count(), traffic={"timeout": 30})
class Lesions:
    def __init__(self) -> None:
        self.session = open_session(threads=1)

    @bentoml.api(batchable=True, max_batch_size=4, max_latency_ms=10_000)
    def predict(self, images: list[Image]) -> list[dict[str, Any]]:
        pixels = np.stack([fit(image) for image in images])
        (probabilities,) = self.session.run(["probabilities"], {"images": pixels})
        return answers(probabilities)
