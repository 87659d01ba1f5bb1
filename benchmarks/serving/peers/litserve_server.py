"""LitServe: dynamic batching, one worker a processor.

https://lightning.ai/docs/litserve/features/batching
"""

import os
import sys
from typing import Any

import litserve as ls
import numpy as np
from onnx_model import answers, decode, open_session


class Lesions(ls.LitAPI):
    def setup(self, device: str) -> None:
        self.session = open_session(threads=1)

    def decode_request(self, request) -> np.ndarray:
        return decode(request["image"].file.read())

    def batch(self, inputs: list[np.ndarray]) -> np.ndarray:
        return np.stack(inputs)

    def predict(self, pixels: np.ndarray) -> list[dict[str, Any]]:
        (probabilities,) = self.session.run(["probabilities"], {"images": pixels})
        return answers(probabilities)

    def unbatch(self, output: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return output

    def encode_response(self, output: dict[str, Any]) -> dict[str, Any]:
        return output


if __name__ == "__main__":
    api = Lesions(max_batch_size=4, batch_timeout=0.002)
    server = ls.LitServer(api, accelerator="cpu", workers_per_device=os.cpu_count() or 1)
    server.run(host="127.0.0.1", port=int(sys.argv[1]), generate_client_file=False)
