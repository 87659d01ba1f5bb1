"""Weights on disk: checkpoints that are whole or not there, and what a run may start from.

A run starts from the weights of another run or of a bundle, or from the average of several. The
average of networks that were trained on from the same weights in different ways is often better
than each of them [1]_.

References
----------
.. [1] M. Wortsman et al.: Model soups: averaging weights of multiple fine-tuned models improves
       accuracy without increasing inference time. ICML 2022, arXiv:2203.05482.
"""

import io
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.plugins.io import TorchCheckpointIO
from onnx import numpy_helper
from torch import Tensor, nn

from doctor_derma.atomic import replacing_file
from doctor_derma.bundle import GRAPH_FILE
from doctor_derma.errors import DermaError
from doctor_derma.models.networks import LesionNetwork, create_network
from doctor_derma.models.preprocessing import scale_pixels
from doctor_derma.training.runs import open_run


class WholeCheckpoints(TorchCheckpointIO):
    """Writes a checkpoint beside its place and renames it.

    Lightning writes to the system's scratch folder, which may be another disk: moving a file
    from there is a copy, and a run killed meanwhile would lose the checkpoint before as well.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None
    ) -> None:
        """Write a checkpoint, whole or not at all: an ``OSError`` then names the file."""
        # To memory first: on a full disk torch hides the reason behind an error of its own.
        content = io.BytesIO()
        torch.save(checkpoint, content)
        try:
            with replacing_file(Path(path)) as scratch, scratch.open("wb") as stream:
                stream.write(content.getbuffer())
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(path)) from error


class MovableCheckpoint(ModelCheckpoint):
    """Remembers the best epoch of a run whose folder was moved, which Lightning's own forgets."""

    @property
    def state_key(self) -> str:
        """Name of its state in a checkpoint, the one that Lightning's own has."""
        return super().state_key.replace(type(self).__name__, ModelCheckpoint.__name__, 1)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the state out of a checkpoint, with the files that it names in this folder."""
        folder = Path(self.dirpath or "")

        def here(path: str) -> str:
            return str(folder / Path(path).name) if path else ""

        names = ("best_model_path", "kth_best_model_path", "last_model_path")
        best = {here(path): score for path, score in state_dict["best_k_models"].items()}
        moved: dict[str, Any] = {name: here(state_dict[name]) for name in names}
        moved |= {"best_k_models": best, "dirpath": self.dirpath}
        super().load_state_dict(state_dict | moved)


def remove_leftovers(folder: Path) -> None:
    """Remove what a run that was killed while it wrote a checkpoint has left."""
    for scratch in folder.glob(".*.ckpt"):
        scratch.unlink(missing_ok=True)


def finished_epochs(path: Path) -> int:
    """Return how many epochs of a run its last checkpoint holds, 0 where there is none."""
    if not path.is_file():
        return 0
    # Mapped, so that no weight is read; not only weights are in it, but it is the run's own.
    return torch.load(path, map_location="cpu", mmap=True, weights_only=False)["epoch"] + 1


def averaged_weights(path: Path) -> dict[str, Tensor]:
    """Read the moving average of a network's weights from a checkpoint."""
    prefix = "ema.module."
    state = torch.load(path, map_location="cpu", weights_only=True)["state_dict"]
    return {
        name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)
    }


def weights_to_start_from(
    reference: str, runs: Path, model: str, sample: Callable[[], np.ndarray]
) -> dict[str, Tensor]:
    """Return the weights of a network to start training from.

    Parameters
    ----------
    reference : name of a run in ``runs``, or folder of a bundle; of several, with commas between,
        the average is returned
    model : name of the network that will be trained
    sample : gives training images, uint8 of shape (n, H, W, 3), for the statistics of a bundle

    Raises
    ------
    DermaError
        When there is no such run or bundle, no epoch of the run was validated, or its network is
        another one.
    """
    names = list(dict.fromkeys(part.strip() for part in reference.split(",")))
    found = [_weights(name, runs, model, sample) for name in names]
    shapes = [{name: value.shape for name, value in weights.items()} for weights in found]
    for name, own in zip(names, shapes, strict=True):
        if own != shapes[0]:
            raise DermaError(
                f"initial: '{name}' has other weights than '{names[0]}', so they have no average; "
                "name runs of one model and the same classes"
            )
    return {
        name: torch.stack([weights[name] for weights in found]).mean(0)
        if value.is_floating_point()
        else value
        for name, value in found[0].items()
    }


def _weights(
    reference: str, runs: Path, model: str, sample: Callable[[], np.ndarray]
) -> dict[str, Tensor]:
    graph = Path(reference) / GRAPH_FILE
    if graph.is_file():
        return bundle_weights(graph, model, sample())
    checkpoint = open_run(runs, reference).best_checkpoint
    if not checkpoint.is_file():
        raise DermaError(
            f"initial: {checkpoint} is missing, as no epoch of the run was validated; go on with "
            f"it (derma train --resume {reference}), or name another one"
        )
    return averaged_weights(checkpoint)


def bundle_weights(graph: Path, model: str, pixels: np.ndarray) -> dict[str, Tensor]:
    """Take the weights of the network ``model`` out of the graph of a bundle of full precision.

    Export folds each batch normalisation into the convolution before it. Here a normalisation is
    put back that does nothing: its running mean and variance are measured over ``pixels``, uint8
    (n, H, W, 3), and its scale and shift undo them. So the network computes what the graph does,
    and its statistics are those that training will see.

    Folding also shrinks filters, some to a hundredth. In front of a normalisation the size of a
    filter changes nothing but how far a step of the optimiser turns it, so each gets the size of
    a fresh one of its layer: else the first steps would undo what the network knows.

    Raises
    ------
    DermaError
        When the graph does not hold the weights of such a network.
    """
    constants = {
        constant.name.removeprefix("network."): torch.tensor(numpy_helper.to_array(constant))
        for constant in onnx.load(graph).graph.initializer
    }

    def stored(name: str, shape: torch.Size | None = None) -> Tensor:
        found = constants.get(name)
        if found is None or (shape is not None and found.shape != shape):
            raise DermaError(
                f"initial: {graph} is not a {model} in full precision ({name} is missing or of "
                "another shape); start from a bundle or run of the same model"
            )
        return found

    network = create_network(model, len(stored("head.bias"))).eval()
    head = network.head.weight.shape
    for constant in list(constants.values()):
        # Some graphs have it as the 1x1 convolution that gives the activation maps.
        if constant.shape in (head, (*head, 1, 1)):
            constants["head.weight"] = constant.reshape(head)
            break
    folded = _folded(network)
    fresh = {conv: float(_sizes(_filters(network, conv)).mean()) for conv in folded}
    normalised = tuple(f"{norm}." for norm in folded.values())
    for name, weight in network.named_parameters():
        if not name.startswith(normalised):
            weight.data = stored(name, weight.shape)
    # All gates have one scale. A graph keeps equal constants once, and leaves out a factor of 1.
    scales = [float(value) for name, value in constants.items() if name.endswith(".scale")]
    for name, buffer in network.named_buffers():
        if name.endswith(".scale"):
            buffer.fill_(scales[0] if scales else 1.0)
    shifts = {conv: stored(f"{conv}.weight_bias") for conv in folded}
    grown = {conv: _grow(_filters(network, conv), size) for conv, size in fresh.items()}
    _restore(network, folded, shifts, grown, scale_pixels(torch.from_numpy(pixels)))
    return network.state_dict()


def _filters(network: nn.Module, conv: str) -> Tensor:
    return network.get_parameter(f"{conv}.weight").data


def _sizes(filters: Tensor) -> Tensor:
    return filters.flatten(1).norm(dim=1)


def _grow(filters: Tensor, size: float) -> Tensor:
    """Give all filters of a convolution one size, and return how much larger each is now."""
    sizes = _sizes(filters)
    factors = torch.where(sizes > 0, size / sizes, 1.0)
    filters *= factors.view(-1, 1, 1, 1)
    return factors


def _folded(network: nn.Module) -> dict[str, str]:
    """Return the name of the normalisation after each convolution that has one."""
    found, last = {}, ""
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d):
            last = name
        elif isinstance(module, nn.BatchNorm2d):
            found[last] = name
    return found


@torch.no_grad()
def _restore(
    network: LesionNetwork,
    folded: dict[str, str],
    shifts: dict[str, Tensor],
    grown: dict[str, Tensor],
    images: Tensor,
) -> None:
    """Set each normalisation, in the order in which images pass, so that it undoes the growth
    of its convolution and adds its shift."""

    def set_norm(conv: str, module: nn.Module, inputs: object, output: Tensor) -> None:
        norm: Any = network.get_submodule(folded[conv])
        variance, mean = torch.var_mean(output, (0, 2, 3), correction=0)
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(variance)
        norm.weight.copy_((variance + norm.eps).sqrt() / grown[conv])
        norm.bias.copy_(shifts[conv] + mean / grown[conv])

    hooks = [
        network.get_submodule(conv).register_forward_hook(partial(set_norm, conv))
        for conv in folded
    ]
    network(images)
    for hook in hooks:
        hook.remove()
