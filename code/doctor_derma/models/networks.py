"""Networks by name: a timm backbone, global average pooling and one linear layer."""

from collections.abc import Callable
from typing import Any

import timm
import torch
from huggingface_hub import hf_hub_url, try_to_load_from_cache
from huggingface_hub.utils import get_session
from torch import Tensor, nn

from doctor_derma.errors import DermaError
from doctor_derma.models.attention import EfficientChannelAttention, SqueezeExcitation
from doctor_derma.models.colour import ShadesOfGray
from doctor_derma.models.names import parse_name
from doctor_derma.models.views import average_over_views

_ATTENTION: dict[str, Callable[[int], nn.Module]] = {
    "se": SqueezeExcitation,
    "eca": EfficientChannelAttention,
}
# A side that no network of a fixed size has, and that the deepest can still halve.
_PROBE_SIZE = 96
_HUB_SECONDS = 10


class LesionNetwork(nn.Module):
    r"""A backbone with global average pooling and a linear head.

    With features :math:`f` of shape (n, C, h, w) and head weights :math:`w_k, b_k`, the logit
    is the mean of the class activation map plus the bias [1]_:

    .. math:: M_k(i, j) = \sum_c w_{k,c} f_c(i, j), \qquad
              \mathrm{logit}_k = \frac{1}{hw} \sum_{i,j} M_k(i, j) + b_k

    so the map is exact and costs one 1x1 convolution. With ``views`` over 1 the features of a
    prediction, not those of training, are the mean over so many views of the picture.

    References
    ----------
    .. [1] B. Zhou, A. Khosla, A. Lapedriza, A. Oliva, A. Torralba: Learning Deep Features for
           Discriminative Localization. CVPR 2016, arXiv:1512.04150.
    """

    def __init__(
        self,
        backbone: nn.Module,
        features: int,
        classes: int,
        dropout: float = 0.0,
        colour: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.colour = colour or nn.Identity()
        self.backbone = backbone
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(features, classes)
        self.views = 1

    def forward(self, images: Tensor) -> Tensor:
        """Return logits of shape (n, classes) for normalised images of shape (n, 3, H, W)."""
        pooled = self.backbone(self.colour(images)).mean((2, 3))
        return self.head(self.dropout(pooled))

    def logits_maps_and_features(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return logits (n, classes), class activation maps (n, classes, h, w) and the pooled
        features (n, C) that the logits are linear in."""
        features = average_over_views(self.backbone, self.colour(images), self.views)
        maps = nn.functional.conv2d(features, self.head.weight[:, :, None, None])
        return maps.mean((2, 3)) + self.head.bias, maps, features.mean((2, 3))


def create_network(
    name: str,
    classes: int,
    *,
    pretrained: bool = False,
    dropout: float = 0.0,
    drop_path: float = 0.0,
    colour_constancy: bool = False,
) -> LesionNetwork:
    """Build a network by name.

    Parameters
    ----------
    name : ``resnet18`` (26, 34, 50), with ``se_`` or ``eca_`` in front for channel attention
        after the last convolution of every block, or ``timm/NAME`` for a convolutional
        network of timm
    classes : number of classes
    pretrained : start from timm's weights; an attention network takes those of the plain
        backbone and keeps its attention weights fresh
    dropout, drop_path : probabilities of dropping a pooled feature, or a residual branch
    colour_constancy : take the light's colour out of images first, see ``ShadesOfGray``

    Raises
    ------
    DermaError
        When the name is unknown, the backbone has no feature maps, or its pretrained weights
        can't be had.
    """
    backbone_name, attention = parse_name(name)
    options: dict[str, Any] = {"num_classes": 0, "global_pool": ""}
    if drop_path:
        options["drop_path_rate"] = drop_path
    attended = dict(options)
    if attention:
        block = _ATTENTION[attention]
        attended["block_args"] = {"attn_layer": lambda channels, **_: block(channels)}
    backbone = _build(name, backbone_name, attended)
    features = _feature_channels(name, backbone)
    if pretrained:
        weights = _pretrained(backbone_name, options).state_dict()
        backbone.load_state_dict(weights, strict=attention is None)
    colour = ShadesOfGray() if colour_constancy else None
    return LesionNetwork(backbone, features, classes, dropout, colour)


def count_parameters(network: nn.Module) -> int:
    """Count the weights that a network learns."""
    return sum(weight.numel() for weight in network.parameters())


def _build(name: str, backbone_name: str, options: dict[str, Any]) -> nn.Module:
    try:
        return timm.create_model(backbone_name, **options)
    except TypeError as error:
        if "drop_path_rate" not in str(error):
            raise
        raise DermaError(f"drop_path: '{name}' has no branches to drop; leave it at 0") from error
    except AssertionError as error:  # what timm raises where pooling can't be left out
        raise DermaError(
            f"model: '{name}' gives no feature maps ({error}), which activation maps need; "
            "use a convolutional network"
        ) from error


def _feature_channels(name: str, backbone: nn.Module) -> int:
    training = backbone.training
    try:
        with torch.no_grad():
            features = backbone.eval()(torch.zeros(1, 3, _PROBE_SIZE, _PROBE_SIZE))
    except (AssertionError, RuntimeError) as error:
        raise DermaError(
            f"model: '{name}' does not take images of any size; use a convolutional network"
        ) from error
    backbone.train(training)
    # Some networks of timm widen the features once more after the last stage.
    channels = (backbone.num_features, getattr(backbone, "head_hidden_size", None))
    if features.ndim != 4 or features.shape[1] not in channels:
        raise DermaError(
            f"model: '{name}' has no feature maps of shape (channels, height, width), which "
            "activation maps need; use a convolutional network"
        )
    return features.shape[1]


def _pretrained(backbone_name: str, options: dict[str, Any]) -> nn.Module:
    if not timm.is_model_pretrained(backbone_name):
        raise DermaError(
            f"pretrained: timm has no weights for '{backbone_name}'; leave --pretrained out"
        )
    try:
        _reach_hub(backbone_name)
        return timm.create_model(backbone_name, pretrained=True, **options)
    except Exception as error:  # the hub client raises what its HTTP library raises
        raise DermaError(
            f"pretrained: the weights of '{backbone_name}' can't be fetched from the model hub "
            f"({type(error).__name__}); leave --pretrained out, or run where the hub is reached"
        ) from error


def _reach_hub(backbone_name: str) -> None:
    """Ask the hub once for weights that aren't here yet: its client asks for a minute."""
    source = timm.get_pretrained_cfg(backbone_name)
    file = "model.safetensors"
    if source and source.hf_hub_id and not try_to_load_from_cache(source.hf_hub_id, file):
        get_session().head(hf_hub_url(source.hf_hub_id, file), timeout=_HUB_SECONDS)
