"""Networks by name: a timm backbone, global average pooling and one linear layer."""

from collections.abc import Callable
from typing import Any

import timm
import torch
from torch import Tensor, nn

from doctor_derma.errors import DermaError
from doctor_derma.models.attention import EfficientChannelAttention, SqueezeExcitation
from doctor_derma.models.names import parse_name

_ATTENTION: dict[str, Callable[[int], nn.Module]] = {
    "se": SqueezeExcitation,
    "eca": EfficientChannelAttention,
}


class LesionNetwork(nn.Module):
    r"""A backbone with global average pooling and a linear head.

    With features :math:`f` of shape (n, C, h, w) and head weights :math:`w_k, b_k`, the logit
    is the mean of the class activation map plus the bias [1]_:

    .. math:: M_k(i, j) = \sum_c w_{k,c} f_c(i, j), \qquad
              \mathrm{logit}_k = \frac{1}{hw} \sum_{i,j} M_k(i, j) + b_k

    so the map is exact and costs one 1x1 convolution.

    References
    ----------
    .. [1] B. Zhou, A. Khosla, A. Lapedriza, A. Oliva, A. Torralba: Learning Deep Features for
           Discriminative Localization. CVPR 2016, arXiv:1512.04150.
    """

    def __init__(self, backbone: nn.Module, features: int, classes: int, dropout: float = 0.0):
        super().__init__()
        self.backbone = backbone
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(features, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits of shape (n, classes) for normalised images of shape (n, 3, H, W)."""
        pooled = self.backbone(images).mean((2, 3))
        return self.head(self.dropout(pooled))

    def logits_and_maps(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits (n, classes) and class activation maps (n, classes, h, w)."""
        features = self.backbone(images)
        maps = nn.functional.conv2d(features, self.head.weight[:, :, None, None])
        return maps.mean((2, 3)) + self.head.bias, maps


def create_network(
    name: str,
    classes: int,
    *,
    pretrained: bool = False,
    dropout: float = 0.0,
    drop_path: float = 0.0,
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
    if attention:
        block = _ATTENTION[attention]
        attended = options | {"block_args": {"attn_layer": lambda channels, **_: block(channels)}}
        backbone = timm.create_model(backbone_name, **attended)
    else:
        backbone = timm.create_model(backbone_name, **options)
    features = _feature_channels(name, backbone)
    if pretrained:
        weights = _pretrained(backbone_name, options).state_dict()
        backbone.load_state_dict(weights, strict=attention is None)
    return LesionNetwork(backbone, features, classes, dropout)


def _feature_channels(name: str, backbone: nn.Module) -> int:
    training = backbone.training
    try:
        with torch.no_grad():
            features = backbone.eval()(torch.zeros(1, 3, 64, 64))
    except (AssertionError, RuntimeError) as error:
        raise DermaError(
            f"model: '{name}' does not take images of any size; use a convolutional network"
        ) from error
    backbone.train(training)
    if features.ndim != 4 or features.shape[1] != backbone.num_features:
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
        return timm.create_model(backbone_name, pretrained=True, **options)
    except Exception as error:  # the hub client raises what its HTTP library raises
        raise DermaError(
            f"pretrained: the weights of '{backbone_name}' can't be fetched from the model hub "
            f"({type(error).__name__}); leave --pretrained out, or run where the hub is reached"
        ) from error
