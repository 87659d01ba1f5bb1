"""The network as one graph: pixels in; calibrated probabilities, maps and unfamiliarity out."""

from pathlib import Path

import onnx
import torch
from torch import Tensor, nn

from doctor_derma.export.calibrating import Calibration
from doctor_derma.export.familiarity import Familiarity
from doctor_derma.models.networks import LesionNetwork, create_network
from doctor_derma.models.preprocessing import scale_pixels
from doctor_derma.training.checkpoints import averaged_weights
from doctor_derma.training.runs import Run

OPSET = 18
INPUT_NAME = "images"
OUTPUT_NAMES = ("probabilities", "activation_maps", "unfamiliarity")


class ServingGraph(nn.Module):
    """Normalisation, network, calibrated softmax, class activation maps and unfamiliarity.

    Parameters
    ----------
    network : a trained network, put into evaluation mode
    calibration : the temperature and offsets of the softmax
    familiarity : mean, precision and directions of the pooled features
    """

    offsets: Tensor
    mean: Tensor
    directions: Tensor

    def __init__(
        self, network: LesionNetwork, calibration: Calibration, familiarity: Familiarity
    ) -> None:
        super().__init__()
        self.network = network
        self.temperature = calibration.temperature
        self.register_buffer("offsets", torch.from_numpy(calibration.offsets).float())
        self.register_buffer("mean", torch.from_numpy(familiarity.mean).float())
        self.precision = familiarity.precision
        self.register_buffer("directions", torch.from_numpy(familiarity.directions).float())
        self.eval()

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return probabilities (n, classes), maps (n, classes, h, w) and unfamiliarity (n,).

        ``images`` is uint8 RGB of shape (n, height, width, 3).
        """
        logits, maps, features = self.network.logits_maps_and_features(scale_pixels(images))
        probabilities = torch.softmax(logits / self.temperature + self.offsets, dim=1)
        centred = features - self.mean
        along = (centred @ self.directions).square().sum(1)
        unfamiliarity = self.precision * centred.square().sum(1) - along
        return probabilities, maps, unfamiliarity


def load_network(run: Run) -> LesionNetwork:
    """Load the averaged weights of the best epoch of a run."""
    # Never pretrained: the checkpoint holds every weight.
    network = create_network(
        run.config.model,
        len(run.info.classes),
        colour_constancy=run.config.colour_constancy,
    )
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
    program.optimize()
    for node in program.model.graph:
        # Where torch met it: file names of this machine, which are nobody else's business.
        node.metadata_props.pop("pkg.torch.onnx.stack_trace", None)
    program.save(path, external_data=False)
    onnx.checker.check_model(str(path), full_check=True)
