"""The network as an ONNX graph: pixels in; calibrated probabilities, maps and OOD score out.

An exported graph has two parts: the network, and the head that makes its answers of it. The
network is most of the work and of the bytes, and can be quantized. The head is small, is fitted
to what the network says, and stays in fp32.
"""

import copy
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import ModelProto, NodeProto, numpy_helper
from torch import Tensor, nn

from doctor_derma.bundle import ACTIVATION_MAPS, INPUT_NAME, OOD_SCORE, OUTPUT_NAMES, PROBABILITIES
from doctor_derma.errors import DermaError
from doctor_derma.export.calibration import Calibration
from doctor_derma.export.ood import OodScore
from doctor_derma.models.networks import LesionNetwork, create_network
from doctor_derma.models.preprocessing import scale_pixels
from doctor_derma.terminal import with_progress
from doctor_derma.training.checkpoints import averaged_weights
from doctor_derma.training.runs import Run

OPSET = 18
LOGITS, FEATURES = "logits", "features"
# The same computation as of `ServingGraph`, for a network that has it no more.
_HEAD = f"""
head (float[%(n)s, %(classes)d] {LOGITS}, float[%(n)s, features] {FEATURES})
  => (float[%(n)s, %(classes)d] {PROBABILITIES}, float[%(n)s] {OOD_SCORE}) {{
    head_scaled = Div ({LOGITS}, head_temperature)
    head_shifted = Add (head_scaled, head_offsets)
    {PROBABILITIES} = Softmax <axis = 1> (head_shifted)
    head_centred = Sub ({FEATURES}, head_mean)
    head_squares = Mul (head_centred, head_centred)
    head_norm = ReduceSum <keepdims = 0> (head_squares, head_axis)
    head_distance = Mul (head_precision, head_norm)
    head_projected = MatMul (head_centred, head_directions)
    head_projected_squares = Mul (head_projected, head_projected)
    head_along = ReduceSum <keepdims = 0> (head_projected_squares, head_axis)
    {OOD_SCORE} = Sub (head_distance, head_along)
}}
"""
_POOLS = ("ReduceMean", "GlobalAveragePool")
_BATCH = 64


class ServingGraph(nn.Module):
    """Normalisation, network, calibrated softmax, class activation maps and OOD score.

    The network is put into evaluation mode; ``ood`` is of its pooled features.
    """

    offsets: Tensor
    mean: Tensor
    directions: Tensor

    def __init__(self, network: LesionNetwork, calibration: Calibration, ood: OodScore) -> None:
        super().__init__()
        self.network = network
        self.temperature = calibration.temperature
        self.register_buffer("offsets", torch.from_numpy(calibration.offsets).float())
        self.register_buffer("mean", torch.from_numpy(ood.mean).float())
        self.precision = ood.precision
        self.register_buffer("directions", torch.from_numpy(ood.directions).float())
        self.eval()

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return probabilities (n, classes), maps (n, classes, h, w) and OOD scores (n,).

        ``images`` is uint8 RGB of shape (n, height, width, 3).
        """
        logits, maps, features = self.network.logits_maps_and_features(scale_pixels(images))
        probabilities = torch.softmax(logits / self.temperature + self.offsets, dim=1)
        centred = features - self.mean
        along = (centred @ self.directions).square().sum(1)
        return probabilities, maps, self.precision * centred.square().sum(1) - along


def load_network(run: Run) -> LesionNetwork:
    """Load the averaged weights of the best epoch of a run."""
    config, classes = run.config, len(run.info.classes)
    # Never pretrained: the checkpoint holds every weight.
    network = create_network(config.model, classes, colour_constancy=config.colour_constancy)
    network.load_state_dict(averaged_weights(run.best_checkpoint))
    return network.eval()


def write_graph(graph: ServingGraph, height: int, width: int, path: Path) -> None:
    """Write a graph as one ONNX file, for any number of images of one size, and check it."""
    images = torch.zeros(2, height, width, 3, dtype=torch.uint8)
    program = torch.onnx.export(
        graph,
        (images,),
        dynamo=True,
        opset_version=OPSET,
        input_names=[INPUT_NAME],
        output_names=list(OUTPUT_NAMES),
        dynamic_shapes={"images": {0: torch.export.Dim("n", min=1)}},
        verbose=False,
    )
    assert program is not None
    for node in program.model.graph:
        # It names files of this machine, which are nobody else's business.
        node.metadata_props.pop("pkg.torch.onnx.stack_trace", None)
    program.save(path, external_data=False)
    onnx.checker.check_model(str(path), full_check=True)


def run_graph(
    graph: Path | ModelProto, pixels: np.ndarray, rows: np.ndarray, outputs: Sequence[str]
) -> list[np.ndarray]:
    """Run a graph on n rows of a pixel cache, uint8 (images, height, width, 3).

    Returns
    -------
    for each name in ``outputs`` a float64 array of length n
    """
    source = graph.SerializeToString() if isinstance(graph, ModelProto) else graph
    session = onnxruntime.InferenceSession(source, providers=["CPUExecutionProvider"])
    batches = [rows[start : start + _BATCH] for start in range(0, len(rows), _BATCH)]
    found = [
        session.run(list(outputs), {INPUT_NAME: pixels[batch]})
        for batch in with_progress(batches, "Running the graph")
    ]
    return [np.concatenate(part).astype(np.float64) for part in zip(*found, strict=True)]


def cut_network(model: ModelProto) -> ModelProto:
    """Return the network of an exported graph, or raise `DermaError` where it has no such part.

    Returns
    -------
    a graph from ``images`` to ``logits`` (n, classes), ``activation_maps``
    (n, classes, h, w) and the pooled ``features`` (n, C)
    """
    logits = _mean_of(model, ACTIVATION_MAPS)
    features = _mean_of(model, _producers(model)[ACTIVATION_MAPS].input[0])
    for node in _consumers(model, logits):
        if node.op_type == "Add":  # the bias of the linear head
            logits = node.output[0]
    described = onnx.shape_inference.infer_shapes(model)
    outputs = [logits, ACTIVATION_MAPS, features]
    network = onnx.utils.Extractor(described).extract_model([INPUT_NAME], outputs)
    names = {logits: LOGITS, features: FEATURES}
    for node in network.graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
    for described_value in (*network.graph.output, *network.graph.value_info):
        described_value.name = names.get(described_value.name, described_value.name)
    return network


def join_head(network: ModelProto, calibration: Calibration, ood: OodScore) -> ModelProto:
    """Return a network of `cut_network` with the head of `ServingGraph`.

    Its outputs are ``probabilities``, ``activation_maps`` and ``unfamiliarity``.
    """
    model = copy.deepcopy(network)
    constants = {
        "temperature": np.float32(calibration.temperature),
        "offsets": calibration.offsets.astype(np.float32),
        "mean": ood.mean.astype(np.float32),
        "precision": np.float32(ood.precision),
        "directions": ood.directions.astype(np.float32),
        "axis": np.array([1], dtype=np.int64),
    }
    model.graph.initializer.extend(
        numpy_helper.from_array(np.asarray(value), f"head_{name}")
        for name, value in constants.items()
    )
    [maps] = [output for output in model.graph.output if output.name == ACTIVATION_MAPS]
    count = maps.type.tensor_type.shape.dim[0].dim_param or "n"
    head = onnx.parser.parse_graph(_HEAD % {"n": count, "classes": len(calibration.offsets)})
    model.graph.node.extend(head.node)
    probabilities, score = head.output
    del model.graph.output[:]
    model.graph.output.extend([probabilities, maps, score])
    onnx.checker.check_model(model, full_check=True)
    return model


def map_convolutions(network: ModelProto) -> list[NodeProto]:
    """Return the convolutions that work on maps, in order, without the one of the head.

    Those of channel attention work on pooled features: they are little work and decide much.
    """
    producers = _producers(network)
    return [
        node
        for node in network.graph.node
        if node.op_type == "Conv"
        and ACTIVATION_MAPS not in node.output
        and not any(before.op_type in _POOLS for before in _chain(node, producers))
    ]


def _chain(node: NodeProto, producers: dict[str, NodeProto]) -> Iterator[NodeProto]:
    """Yield what comes before a node, back to where two branches meet."""
    while len(made := [name for name in node.input if name in producers]) == 1:
        node = producers[made[0]]
        yield node


def _producers(model: ModelProto) -> dict[str, NodeProto]:
    return {name: node for node in model.graph.node for name in node.output}


def _consumers(model: ModelProto, name: str) -> list[NodeProto]:
    return [node for node in model.graph.node if name in node.input]


def _mean_of(model: ModelProto, name: str) -> str:
    for node in _consumers(model, name):
        if node.op_type in _POOLS:
            return node.output[0]
    raise DermaError(f"graph: '{name}' has no mean over places; export the run again")
