"""Networks by name: a timm backbone, global average pooling and one linear layer."""

from pathlib import Path
from typing import Any

import timm
import torch
from timm.models._efficientnet_blocks import DepthwiseSeparableConv, InvertedResidual
from torch import Tensor, nn

from doctor_derma.errors import DermaError
from doctor_derma.models.attention import EfficientChannelAttention, SqueezeExcitation
from doctor_derma.models.names import parse_name
from doctor_derma.models.preprocessing import Normalization, ShadesOfGray
from doctor_derma.models.tta import average_over_views
from doctor_derma.models.weights import WeightsSource, load_pretrained

# A side that no network of a fixed size has, and that the deepest can still halve.
_PROBE_SIZE = 96


class LesionNetwork(nn.Module):
    r"""A backbone with global average pooling and a linear head.

    With features :math:`f` of shape (n, C, h, w) and head weights :math:`w_k, b_k`, the logit
    is the mean of the class activation map plus the bias [1]_:

    .. math:: M_k(i, j) = \sum_c w_{k,c} f_c(i, j), \qquad
              \mathrm{logit}_k = \frac{1}{hw} \sum_{i,j} M_k(i, j) + b_k

    so the map is exact and costs one 1x1 convolution. With ``tta`` over 1 the features of a
    prediction, not those of training, are the mean over so many views of the picture.

    Images are float in [0, 1]; the network normalises them as its backbone expects.
    ``weights_source`` says where pretrained weights came from, None for fresh ones.

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
        normalization: Normalization | None = None,
    ) -> None:
        super().__init__()
        self.colour = colour or nn.Identity()
        self.normalization = normalization or Normalization()
        self.backbone = backbone
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(features, classes)
        self.tta = 1
        self.weights_source: WeightsSource | None = None
        self._frozen: list[nn.Module] = []

    def freeze(self, stages: int) -> None:
        """Keep the stem and so many first stages as they are: weights and batch statistics.

        They need no gradients: with half of the stages frozen a step takes about half as long.

        Raises
        ------
        DermaError
            When the backbone has fewer stages, or stages that are not known here.
        """
        parts = _stem_and_stages(self.backbone)
        if not parts:
            raise DermaError("freeze: this network has no known stages; leave it at 0")
        if stages >= len(parts):
            raise DermaError(f"freeze: {stages}: the network has {len(parts) - 1} stages")
        self._frozen = [module for part in parts[: stages + 1] for module in part]
        for module in self._frozen:
            module.requires_grad_(False)
        self.train(self.training)

    def train(self, mode: bool = True) -> "LesionNetwork":
        """Set training mode, which frozen stages never enter."""
        super().train(mode)
        for module in self._frozen:
            module.eval()
        return self

    def forward(self, images: Tensor) -> Tensor:
        """Return logits of shape (n, classes) for images in [0, 1] of shape (n, 3, H, W)."""
        pooled = self.backbone(self.normalization(self.colour(images))).mean((2, 3))
        return self.head(self.dropout(pooled))

    def logits_maps_and_features(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return logits (n, classes), class activation maps (n, classes, h, w) and the pooled
        features (n, C) that the logits are linear in."""
        normalised = self.normalization(self.colour(images))
        features = average_over_views(self.backbone, normalised, self.tta)
        maps = nn.functional.conv2d(features, self.head.weight[:, :, None, None])
        return maps.mean((2, 3)) + self.head.bias, maps, features.mean((2, 3))


def create_network(
    name: str,
    classes: int,
    *,
    pretrained: bool = False,
    weights: Path | None = None,
    dropout: float = 0.0,
    drop_path: float = 0.0,
    colour_constancy: bool = False,
) -> LesionNetwork:
    """Build a network by name.

    Parameters
    ----------
    name : ``resnet18`` (26, 34, 50) or ``efficientnet_lite0`` (1, 2), with ``se_`` or ``eca_``
        in front for channel attention: after the last convolution of every residual block, after
        the depthwise convolution of every inverted bottleneck. Or ``timm/NAME`` for a
        convolutional network of timm
    classes : number of classes
    pretrained : start from ImageNet weights, see ``models/weights.py``; channel attention then
        starts as the identity, so that the network begins as the plain one
    weights : file of pretrained weights, for ``pretrained``
    dropout, drop_path : probabilities of dropping a pooled feature, or a residual branch
    colour_constancy : take the light's colour out of images first, see ``ShadesOfGray``

    Raises
    ------
    DermaError
        When the name is unknown, the backbone has no feature maps, or its pretrained weights
        can't be had.

    Examples
    --------
    >>> import torch
    >>> network = create_network("eca_resnet18", classes=7).eval()
    >>> with torch.no_grad():
    ...     logits, maps, features = network.logits_maps_and_features(torch.zeros(2, 3, 64, 96))
    >>> logits.shape, maps.shape, features.shape
    (torch.Size([2, 7]), torch.Size([2, 7, 2, 3]), torch.Size([2, 512]))
    """
    backbone_name, attention = parse_name(name)
    has_bottlenecks = backbone_name.startswith("tf_efficientnet_lite")
    options: dict[str, Any] = {"num_classes": 0, "global_pool": ""}
    if drop_path:
        options["drop_path_rate"] = drop_path
    if attention and not has_bottlenecks:
        options["block_args"] = {
            "attn_layer": lambda channels, **_: _gates(attention, channels, pretrained)
        }
    backbone = _build(name, backbone_name, options)
    if attention and has_bottlenecks:
        _attend_bottlenecks(backbone, attention, pretrained)
    features = _feature_channels(name, backbone)
    colour = ShadesOfGray() if colour_constancy else None
    network = LesionNetwork(
        backbone, features, classes, dropout, colour, _normalization(backbone_name)
    )
    if pretrained:
        for module in backbone.modules():
            # Once more: timm, when it builds a residual network, draws all its convolutions anew.
            if isinstance(module, SqueezeExcitation):
                module.level()
        network.weights_source = load_pretrained(backbone_name, backbone, weights)
    return network


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
    try:
        with torch.no_grad():
            features = backbone.eval()(torch.zeros(1, 3, _PROBE_SIZE, _PROBE_SIZE))
    except (AssertionError, RuntimeError) as error:
        raise DermaError(
            f"model: '{name}' does not take images of any size; use a convolutional network"
        ) from error
    backbone.train()
    # Some networks of timm widen the features once more after the last stage.
    channels = (backbone.num_features, getattr(backbone, "head_hidden_size", None))
    if features.ndim != 4 or features.shape[1] not in channels:
        raise DermaError(
            f"model: '{name}' has no feature maps of shape (channels, height, width), which "
            "activation maps need; use a convolutional network"
        )
    return features.shape[1]


def _stem_and_stages(backbone: nn.Module) -> list[list[nn.Module]]:
    """Return the modules of the stem, then those of each stage; nothing for unknown backbones."""
    names = dict(backbone.named_children())
    if "conv_stem" in names and "blocks" in names:
        stem, stages = "conv_stem", list(names["blocks"].children())
    elif "conv1" in names and "layer1" in names:
        stem, stages = "conv1", [names[f"layer{index}"] for index in range(1, 5)]
    else:
        return []
    return [[names[stem], names["bn1"]], *([stage] for stage in stages)]


def _normalization(backbone_name: str) -> Normalization:
    """Return what the backbone's pretrained weights expect, which does no harm to fresh ones."""
    config = timm.get_pretrained_cfg(backbone_name)
    if config is None or len(config.mean) != 3:
        return Normalization()
    return Normalization(config.mean, config.std)  # type: ignore[arg-type]


def _gates(attention: str, channels: int, identity: bool, reduction: int = 16) -> nn.Module:
    if attention == "se":
        return SqueezeExcitation(channels, reduction, identity)
    return EfficientChannelAttention(channels, identity)


def _attend_bottlenecks(backbone: nn.Module, attention: str, identity: bool) -> None:
    """Put gates after the depthwise convolution of every inverted bottleneck.

    The bottleneck of SE is a quarter of the channels that enter the block, as in EfficientNet
    (M. Tan, Q. V. Le, ICML 2019, arXiv:1905.11946).
    """
    for block in backbone.modules():
        if not isinstance(block, InvertedResidual | DepthwiseSeparableConv):
            continue
        channels = block.conv_dw.out_channels
        first = block.conv_pw if isinstance(block, InvertedResidual) else block.conv_dw
        block.se = _gates(attention, channels, identity, 4 * channels // first.in_channels)
