"""An exported graph in two parts: the network, and the head that makes its answers of it.

The network is most of the work and of the bytes, and can be had in fewer bits. The head is
small, is fitted to what the network says, and stays in fp32.
"""

from collections.abc import Iterator

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from doctor_derma.errors import DermaError
from doctor_derma.export.calibrating import Calibration
from doctor_derma.export.familiarity import Familiarity
from doctor_derma.export.graph import INPUT_NAME

LOGITS, MAPS, FEATURES = "logits", "activation_maps", "features"
_POOLS = ("ReduceMean", "GlobalAveragePool")


def cut_network(model: ModelProto) -> ModelProto:
    """Return the network of an exported graph.

    Returns
    -------
    a graph from ``images`` to ``logits`` (n, classes), ``activation_maps``
    (n, classes, h, w) and the pooled ``features`` (n, C)

    Raises
    ------
    DermaError
        When the graph has no such parts.
    """
    makers = _makers(model)
    logits = _mean_of(model, MAPS)
    features = _mean_of(model, makers[MAPS].input[0])
    for node in _readers(model, logits):
        if node.op_type == "Add":  # the bias of the linear head
            logits = node.output[0]
    described = onnx.shape_inference.infer_shapes(model)
    network = onnx.utils.Extractor(described).extract_model([INPUT_NAME], [logits, MAPS, features])
    _rename(network, {logits: LOGITS, features: FEATURES})
    return network


def join_head(
    network: ModelProto, calibration: Calibration, familiarity: Familiarity
) -> ModelProto:
    """Return a network of `cut_network` with the head of ``graph.ServingGraph``.

    Its outputs are ``probabilities``, ``activation_maps`` and ``unfamiliarity``.
    """
    model = ModelProto()
    model.CopyFrom(network)
    constants = {
        "temperature": np.float32(calibration.temperature),
        "offsets": calibration.offsets.astype(np.float32),
        "mean": familiarity.mean.astype(np.float32),
        "precision": np.float32(familiarity.precision),
        "directions": familiarity.directions.astype(np.float32),
        "last_axis": np.array([1], dtype=np.int64),
    }
    model.graph.initializer.extend(
        numpy_helper.from_array(np.asarray(value), f"head.{name}")
        for name, value in constants.items()
    )
    model.graph.node.extend(
        [
            helper.make_node("Div", [LOGITS, "head.temperature"], ["head.cooled"]),
            helper.make_node("Add", ["head.cooled", "head.offsets"], ["head.evidence"]),
            helper.make_node("Softmax", ["head.evidence"], ["probabilities"], axis=1),
            helper.make_node("Sub", [FEATURES, "head.mean"], ["head.centred"]),
            helper.make_node("Mul", ["head.centred", "head.centred"], ["head.squares"]),
            _sum_of("head.squares", "head.squared"),
            helper.make_node("Mul", ["head.precision", "head.squared"], ["head.distance"]),
            helper.make_node("MatMul", ["head.centred", "head.directions"], ["head.moved"]),
            helper.make_node("Mul", ["head.moved", "head.moved"], ["head.moved_squares"]),
            _sum_of("head.moved_squares", "head.along"),
            helper.make_node("Sub", ["head.distance", "head.along"], ["unfamiliarity"]),
        ]
    )
    [maps] = [output for output in model.graph.output if output.name == MAPS]
    count = maps.type.tensor_type.shape.dim[0].dim_param or "n"
    del model.graph.output[:]
    model.graph.output.extend(
        [
            helper.make_tensor_value_info(
                "probabilities", TensorProto.FLOAT, [count, len(calibration.offsets)]
            ),
            maps,
            helper.make_tensor_value_info("unfamiliarity", TensorProto.FLOAT, [count]),
        ]
    )
    onnx.checker.check_model(model, full_check=True)
    return model


def _sum_of(squares: str, result: str) -> NodeProto:
    return helper.make_node("ReduceSum", [squares, "head.last_axis"], [result], keepdims=0)


def map_convolutions(network: ModelProto) -> list[NodeProto]:
    """Return the convolutions that work on maps, in order, without the one of the head.

    Those of channel attention work on pooled features: they are little work and decide much.
    """
    makers = _makers(network)
    return [
        node
        for node in network.graph.node
        if node.op_type == "Conv"
        and MAPS not in node.output
        and not any(before.op_type in _POOLS for before in _chain(node, makers))
    ]


def _chain(node: NodeProto, makers: dict[str, NodeProto]) -> Iterator[NodeProto]:
    """Yield what comes before a node, back to where two branches meet."""
    while len(made := [name for name in node.input if name in makers]) == 1:
        node = makers[made[0]]
        yield node


def _makers(model: ModelProto) -> dict[str, NodeProto]:
    return {name: node for node in model.graph.node for name in node.output}


def _readers(model: ModelProto, name: str) -> list[NodeProto]:
    return [node for node in model.graph.node if name in node.input]


def _mean_of(model: ModelProto, name: str) -> str:
    for node in _readers(model, name):
        if node.op_type in _POOLS:
            return node.output[0]
    raise DermaError(f"graph: '{name}' has no mean over places; export the run again")


def _rename(model: ModelProto, names: dict[str, str]) -> None:
    for node in model.graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
    for described in (*model.graph.output, *model.graph.value_info):
        described.name = names.get(described.name, described.name)
