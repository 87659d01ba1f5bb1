"""The network of ``model.onnx`` in torch, with the very same weights.

The exporter folds each batch norm into the convolution before it; so does this network.
"""

import json
import os
from pathlib import Path

import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from doctor_derma.models.networks import create_network
from doctor_derma.models.preprocessing import scale_pixels


class Network(nn.Module):
    """uint8 (n, height, width, 3) to probabilities (n, classes)."""

    def __init__(self, bundle: Path) -> None:
        super().__init__()
        info = json.loads((bundle / "model.json").read_text())
        self.names = [entry["name"] for entry in info["classes"]]
        self.size = info["input"]["width"], info["input"]["height"]
        self.temperature = info["temperature"]
        graph = onnx.load(bundle / info["weights"]["file"]).graph
        weights = {
            tensor.name: torch.from_numpy(numpy_helper.to_array(tensor).copy())
            for tensor in graph.initializer
        }
        network = create_network(info["architecture"], len(self.names))
        _fold(network.backbone, "network.backbone", weights)
        network.head.weight.data = weights["network.head.weight"]
        network.head.bias.data = weights["network.head.bias"]
        network.tta = info.get("tta", info.get("views", 1))
        self.network = network
        self.register_buffer("offsets", weights["offsets"])
        self.eval().to(memory_format=torch.channels_last)

    def forward(self, pixels: Tensor) -> Tensor:
        logits, _, _ = self.network.logits_maps_and_features(scale_pixels(pixels))
        return torch.softmax(logits / self.temperature + self.offsets, dim=1)


def _fold(module: nn.Module, path: str, weights: dict[str, Tensor]) -> None:
    for name, child in module.named_children():
        place = f"{path}.{name}"
        if isinstance(child, nn.BatchNorm2d):
            # timm keeps the activation in the normalisation.
            setattr(module, name, getattr(child, "act", nn.Identity()))
        elif name.endswith("se"):
            child.conv.weight.data = weights[f"{place}.conv.weight"]
            # A graph keeps equal constants once.
            child.scale.copy_(next(weights[name] for name in weights if name.endswith("se.scale")))
        elif isinstance(child, nn.Conv2d):
            child.weight.data = weights[f"{place}.weight"]
            # "weight_bias" is what is left of a batch norm.
            bias = weights.get(f"{place}.bias", weights.get(f"{place}.weight_bias"))
            child.bias = None if bias is None else nn.Parameter(bias)
        else:
            _fold(child, place, weights)


def load_network() -> Network:
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    return Network(Path(os.environ["BENCH_BUNDLE"]))
