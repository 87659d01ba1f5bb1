"""The network in 8 bits: its convolutions multiply integers.

Weights are int8 with a scale for each output channel; maps are uint8 with one scale and zero
point each, from the values that they take on training images (Jacob et al. [1]_). The first
convolution, which sees the pixels, stays in fp32: it costs speed, and left in int8 it is most of
the error.

Weights take 7 of the 8 bits. On an x86 processor without VNNI instructions two products of a
whole 8-bit weight and a uint8 overflow the 16 bits that ONNX Runtime adds them in, and a bundle
would be worse there than it was measured to be.

References
----------
.. [1] B. Jacob et al.: Quantization and Training of Neural Networks for Efficient
       Integer-Arithmetic-Only Inference. CVPR 2018, arXiv:1712.05877.
"""

import contextlib
import io
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import ModelProto
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)

from doctor_derma.export.graph import INPUT_NAME
from doctor_derma.export.graph_parts import map_convolutions
from doctor_derma.terminal import terminal

# Chosen on the validation images of HAM10000 by the divergence from the fp32 probabilities,
# against the whole range, its moving average, entropy and other percentiles.
_PERCENTILE = 99.999


def quantise_network(network: ModelProto, pictures: Sequence[np.ndarray]) -> ModelProto:
    """Return a network whose convolutions of maps, but the first, are in int8.

    Parameters
    ----------
    network : of `graph_parts.cut_network`
    pictures : training images that show the range of each map, uint8 (height, width, 3)
    """
    prepared = ModelProto()
    prepared.CopyFrom(network)
    # ONNX Runtime's mark for what needs no preparation: the exporter has folded and inferred.
    onnx.helper.set_model_props(prepared, {"onnx.quant.pre_process": "onnxruntime.quant"})
    console = terminal(error=True)
    with (
        tempfile.TemporaryDirectory() as folder,
        console.status("Finding the ranges of the maps"),
        contextlib.redirect_stdout(io.StringIO()),  # ONNX Runtime prints its settings there.
    ):
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
            nodes_to_quantize=[node.name for node in map_convolutions(network)[1:]],
            calibrate_method=CalibrationMethod.Percentile,
            extra_options={"CalibPercentile": _PERCENTILE},
        )
        return onnx.load(path)


class _Pictures(CalibrationDataReader):
    def __init__(self, pictures: Sequence[np.ndarray]) -> None:
        self._left = iter(pictures)

    def get_next(self) -> dict[str, np.ndarray] | None:
        # One by one: ONNX Runtime takes batches of one size only.
        picture = next(self._left, None)
        return None if picture is None else {INPUT_NAME: picture[None]}
