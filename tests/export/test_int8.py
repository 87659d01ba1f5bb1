"""What is in int8 and what is not, and that rounded weights shift no mean."""

import numpy as np
import onnx
import pytest
from onnx import ModelProto, numpy_helper

from doctor_derma.export.int8 import quantize_int8
from doctor_derma.export.onnx import run_graph

# Sides of 32, 16, 8 and 8; the second filter of two channels in a group of its own.
NETWORK = """
<ir_version: 9, opset_import: ["" : 18]>
network (uint8[n, 32, 32, 3] images) => (float[n, 2, 8, 8] activation_maps, float[n, 6, 8, 8] last)
<float[4, 3, 2, 2] w1, float[4] b1, float[4, 4, 2, 2] w2, float[4] b2, float[6, 2, 1, 1] w3,
 float[6] b3, float[2, 6, 1, 1] head> {
    floats = Cast <to = 1> (images)
    channels = Transpose <perm = [0, 3, 1, 2]> (floats)
    [of_picture] first = Conv <strides = [2, 2]> (channels, w1, b1)
    [of_half] second = Conv <strides = [2, 2]> (first, w2, b2)
    [of_quarter] last = Conv <group = 2> (second, w3, b3)
    [of_head] activation_maps = Conv (last, head)
}
"""


def parsed(text: str) -> ModelProto:
    """Return a network with weights and biases for what the text names."""
    model = onnx.parser.parse_model(text)
    random = np.random.default_rng(0)
    shapes = {"w1": (4, 3, 2, 2), "w2": (4, 4, 2, 2), "w3": (6, 2, 1, 1), "head": (2, 6, 1, 1)}
    weights = {name: random.uniform(0.1, 1, shape) for name, shape in shapes.items()}
    biases = {"b1": np.zeros(4), "b2": np.zeros(4), "b3": np.arange(6)}
    model.graph.initializer.extend(
        numpy_helper.from_array(values.astype(np.float32), name)
        for name, values in {**weights, **biases}.items()
        if name in text
    )
    return model


@pytest.fixture
def network() -> ModelProto:
    return parsed(NETWORK)


@pytest.fixture
def pictures() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (6, 32, 32, 3), dtype=np.uint8)


def test_what_reads_the_picture_half_of_its_side_or_the_last_map_stays_in_fp32(
    network: ModelProto, pictures: np.ndarray
) -> None:
    found = quantize_int8(network, list(pictures))
    makers = {name: node.op_type for node in found.graph.node for name in node.output}
    weights = {node.name: makers.get(node.input[1]) for node in found.graph.node if node.name}
    kept = {name: weights[name] for name in ("of_picture", "of_half", "of_head")}
    assert kept == dict.fromkeys(kept)
    assert weights["of_quarter"] == "DequantizeLinear"


def test_rounded_weights_shift_no_mean(network: ModelProto, pictures: np.ndarray) -> None:
    rows = np.arange(len(pictures))

    def shift(network: ModelProto) -> np.ndarray:
        [exact] = run_graph(network, pictures, rows, ["last"])
        [found] = run_graph(quantize_int8(network, list(pictures)), pictures, rows, ["last"])
        return np.abs((found - exact).mean((0, 2, 3)))

    corrected = shift(network)
    # The same weights, and no bias that could take the shift back.
    left = shift(parsed(NETWORK.replace("w3, b3)", "w3)").replace(" float[6] b3,", "")))
    assert left.max() > 3 * corrected.max()
    assert corrected.mean() < left.mean() / 3
