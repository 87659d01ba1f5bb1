"""The convolutions of a network in int8.

Weights are int8 with a scale for each output channel; maps are uint8 with one scale and zero point
each, from the values that they take on training images (Jacob et al. [1]_). Weights take 7 of the
8 bits. On an x86 processor without VNNI instructions two products of a whole 8-bit weight and a
uint8 overflow the 16 bits that ONNX Runtime adds them in, and a bundle would be worse there than
it was measured to be.

What reads the picture, or maps of half its side or more, stays in fp32: its channels differ most in
range, and it would be most of the error. Rounded weights shift the mean of what a convolution says,
and its bias takes that back (Nagel et al. [2]_, section 4.2).

References
----------
.. [1] B. Jacob et al.: Quantization and Training of Neural Networks for Efficient
       Integer-Arithmetic-Only Inference. CVPR 2018, arXiv:1712.05877.
.. [2] M. Nagel, M. van Baalen, T. Blankevoort, M. Welling: Data-Free Quantization Through Weight
       Equalization and Bias Correction. ICCV 2019, arXiv:1906.04721.
"""

import contextlib
import copy
import io
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
import onnxruntime
from onnx import ModelProto, numpy_helper
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)

from doctor_derma.bundle import INPUT_NAME
from doctor_derma.export.onnx import map_convolutions
from doctor_derma.terminal import terminal

# Of the values of a map that its range holds. Chosen by the divergence from the fp32 probabilities
# on training images of HAM10000, against 99.9, 99.95, 99.999 and the whole range.
_PERCENTILE = 99.99


def quantize_int8(network: ModelProto, pictures: Sequence[np.ndarray]) -> ModelProto:
    """Return a network of `cut_network` whose convolutions of small maps are in int8.

    ``pictures`` show the range of each map: training images, uint8 (height, width, 3).
    """
    console = terminal(error=True)
    with (
        console.status("Finding the ranges of the maps"),
        contextlib.redirect_stdout(io.StringIO()),  # ONNX Runtime prints its settings there.
    ):
        read = _maps_read(network, pictures)
        small = {name: found for name, found in read.items() if 2 * found.side < len(pictures[0])}
        quantized = _quantize(network, pictures, set(small))
    _correct_biases(network, quantized, small)
    return quantized


class _Map(NamedTuple):
    """What a convolution reads: the height of the map, and the mean of each channel."""

    side: int
    means: np.ndarray


def _maps_read(network: ModelProto, pictures: Sequence[np.ndarray]) -> dict[str, _Map]:
    """Describe the maps that convolutions read, by the names of these."""
    convolutions = map_convolutions(network)
    names = sorted({node.input[0] for node in convolutions})
    telling = copy.deepcopy(network)
    del telling.graph.output[:]
    telling.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    session = onnxruntime.InferenceSession(
        telling.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    sides, sums = [0] * len(names), [np.zeros(1)] * len(names)
    for picture in pictures:
        for index, values in enumerate(session.run(names, {INPUT_NAME: picture[None]})):
            sides[index] = values.shape[2]
            sums[index] = sums[index] + values.mean((0, 2, 3), dtype=np.float64)
    found = {
        name: _Map(side, total / len(pictures))
        for name, side, total in zip(names, sides, sums, strict=True)
    }
    return {node.name: found[node.input[0]] for node in convolutions}


def _quantize(
    network: ModelProto, pictures: Sequence[np.ndarray], convolutions: set[str]
) -> ModelProto:
    prepared = copy.deepcopy(network)
    # ONNX Runtime's mark for what needs no preparation: the exporter has folded and inferred.
    onnx.helper.set_model_props(prepared, {"onnx.quant.pre_process": "onnxruntime.quant"})
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "int8.onnx"
        quantize_static(
            prepared,
            path,
            _Pictures(pictures),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            op_types_to_quantize=["Conv"],
            reduce_range=True,
            nodes_to_exclude=[
                node.name for node in network.graph.node if node.name not in convolutions
            ],
            calibrate_method=CalibrationMethod.Percentile,
            extra_options={"CalibPercentile": _PERCENTILE},
        )
        return onnx.load(path)


class _Pictures(CalibrationDataReader):  # type: ignore[misc]  # of an untyped library
    def __init__(self, pictures: Sequence[np.ndarray]) -> None:
        self._left = iter(pictures)

    def get_next(self) -> dict[str, np.ndarray] | None:
        # One by one: ONNX Runtime takes batches of one size only.
        picture = next(self._left, None)
        return None if picture is None else {INPUT_NAME: picture[None]}


def _correct_biases(network: ModelProto, quantized: ModelProto, read: dict[str, _Map]) -> None:
    """Take what rounded weights add to the mean of a convolution back from its int32 bias.

    ``quantized`` is changed; ``read`` says what its convolutions in int8 read, by their names.
    """
    exact = {constant.name: constant for constant in network.graph.initializer}
    stored = {constant.name: constant for constant in quantized.graph.initializer}
    makers = {name: node for node in quantized.graph.node for name in node.output}
    convolutions = {node.name: node for node in quantized.graph.node}
    for node in network.graph.node:
        if node.name not in read or len(node.input) < 3:
            continue
        _, weight, bias = (makers[name] for name in convolutions[node.name].input)
        scale = numpy_helper.to_array(stored[weight.input[1]])[:, None, None, None]
        rounded = numpy_helper.to_array(stored[weight.input[0]]) * scale
        errors = (rounded - numpy_helper.to_array(exact[node.input[1]])).sum((2, 3))
        # A filter reads the channels of its group alone.
        groups = read[node.name].means.reshape(-1, errors.shape[1])
        means = np.repeat(groups, len(errors) // len(groups), axis=0)
        constant = stored[bias.input[0]]
        steps = (errors * means).sum(1) / numpy_helper.to_array(stored[bias.input[1]])
        values = numpy_helper.to_array(constant) - np.rint(steps).astype(np.int32)
        constant.CopyFrom(numpy_helper.from_array(values, constant.name))
