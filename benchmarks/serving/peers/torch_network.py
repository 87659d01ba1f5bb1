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
        constancy = bool(info["recipe"].get("colour_constancy", False))
        network = create_network(info["architecture"], len(self.names), colour_constancy=constancy)
        _fold(network.backbone, "network.backbone", weights)
        head = next(w for w in weights.values() if w.shape == (*network.head.weight.shape, 1, 1))
        network.head.weight.data = head[:, :, 0, 0]
        network.head.bias.data = weights["network.head.bias"]
        network.tta = info.get("tta", info.get("views", 1))
        self.network = network
        self.register_buffer("offsets", weights["offsets"])
        self.register_buffer("mean", 255 * torch.tensor(info["input"]["mean"])[:, None, None])
        self.register_buffer("std", 255 * torch.tensor(info["input"]["std"])[:, None, None])
        self.eval().to(memory_format=torch.channels_last)

    def forward(self, pixels: Tensor) -> Tensor:
        images = (pixels.permute(0, 3, 1, 2).float() - self.mean) / self.std
        logits, _, _ = self.network.logits_maps_and_features(images)
        return torch.softmax(logits / self.temperature + self.offsets, dim=1)


def _fold(module: nn.Module, path: str, weights: dict[str, Tensor]) -> None:
    for name, child in module.named_children():
        place = f"{path}.{name}"
        if isinstance(child, nn.BatchNorm2d):
            setattr(module, name, nn.Identity())
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
