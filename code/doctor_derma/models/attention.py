r"""Channel attention: Squeeze-and-Excitation and Efficient Channel Attention.

Both look at one number a channel, the global average of its map,

.. math:: z_c = \frac{1}{HW} \sum_{i,j} x_{c,i,j}

and scale each channel by a gate in (0, 1): :math:`y_{c,i,j} = s_c \, x_{c,i,j}`. They differ
in how the gates come from the averages.

Put into a network that is trained already, such gates would halve what its layers expect. With
``identity`` they are :math:`2 \sigma(\cdot)`, in (0, 2), and the weights before the sigmoid start
at zero: every gate is exactly 1 at first, and the network computes what it did before.

References
----------
.. [1] J. Hu, L. Shen, G. Sun: Squeeze-and-Excitation Networks. CVPR 2018, arXiv:1709.01507.
.. [2] Q. Wang, B. Wu, P. Zhu, P. Li, W. Zuo, Q. Hu: ECA-Net: Efficient Channel Attention for
       Deep Convolutional Neural Networks. CVPR 2020, arXiv:1910.03151.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn


class _ScaledGates(nn.Module):
    """Gates up to ``scale``, which is kept with the weights: they mean nothing without."""

    scale: Tensor

    def __init__(self, identity: bool) -> None:
        super().__init__()
        self.register_buffer("scale", torch.tensor(2.0 if identity else 1.0))

    def gates(self, x: Tensor) -> Tensor:
        """Return the gates s of shape (n, C, 1, 1) for ``x`` of shape (n, C, H, W)."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        """Scale ``x`` of shape (n, C, H, W) channel by channel."""
        return x * self.gates(x)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        # Checkpoints from before there was a scale have the gates of the papers.
        state_dict.setdefault(f"{prefix}scale", torch.tensor(1.0))
        super()._load_from_state_dict(state_dict, prefix, *rest)


class SqueezeExcitation(_ScaledGates):
    r"""Squeeze-and-Excitation: every channel's gate sees every channel's average.

    .. math:: s = \sigma(W_2 \, \mathrm{ReLU}(W_1 z + b_1) + b_2)

    with :math:`W_1 \in R^{C/r \times C}` and :math:`W_2 \in R^{C \times C/r}`
    (Hu et al. [1]_, eq. 2 to 4).

    Parameters
    ----------
    channels : number of channels C
    reduction : the ratio r between C and the width of the bottleneck
    identity : start with every gate at 1, for a network that is trained already

    Raises
    ------
    ValueError
        When ``channels`` is smaller than ``reduction``, which leaves no bottleneck.

    Examples
    --------
    >>> import torch
    >>> SqueezeExcitation(64)(torch.ones(2, 64, 8, 8)).shape
    torch.Size([2, 64, 8, 8])
    """

    def __init__(self, channels: int, reduction: int = 16, identity: bool = False) -> None:
        super().__init__(identity)
        if channels < reduction:
            raise ValueError(f"channels={channels} is smaller than reduction={reduction}")
        self.squeeze = nn.Conv2d(channels, channels // reduction, kernel_size=1)
        self.activation = nn.ReLU(inplace=True)
        self.excite = nn.Conv2d(channels // reduction, channels, kernel_size=1)
        if identity:
            self.level()

    def level(self) -> None:
        """Set every gate to half of ``scale``, whatever comes in; ``identity`` makes that 1."""
        nn.init.zeros_(self.excite.weight)
        nn.init.zeros_(self.excite.bias)  # type: ignore[arg-type]

    def gates(self, x: Tensor) -> Tensor:
        """Return the gates s of shape (n, C, 1, 1) for ``x`` of shape (n, C, H, W)."""
        averages = x.mean((2, 3), keepdim=True)
        return self.scale * self.excite(self.activation(self.squeeze(averages))).sigmoid()


class EfficientChannelAttention(_ScaledGates):
    r"""Efficient Channel Attention: a gate sees its k nearest channels, with shared weights.

    .. math:: s = \sigma(\mathrm{conv1d}_k(z))

    without bias or bottleneck, k weights in all (Wang et al. [2]_, eq. 8 and 9). The kernel
    grows with the number of channels, :math:`k = \lfloor \log_2(C)/\gamma + b/\gamma \rfloor`,
    raised to the next odd number (eq. 12).

    Parameters
    ----------
    channels : number of channels C
    identity : start with every gate at 1, for a network that is trained already

    Examples
    --------
    >>> EfficientChannelAttention(64).kernel_size, EfficientChannelAttention(512).kernel_size
    (3, 5)
    """

    def __init__(self, channels: int, identity: bool = False) -> None:
        super().__init__(identity)
        self.kernel_size = adaptive_kernel_size(channels)
        self.conv = nn.Conv1d(1, 1, self.kernel_size, padding=self.kernel_size // 2, bias=False)
        if identity:
            nn.init.zeros_(self.conv.weight)

    def gates(self, x: Tensor) -> Tensor:
        """Return the gates s of shape (n, C, 1, 1) for ``x`` of shape (n, C, H, W)."""
        averages = x.mean((2, 3)).unsqueeze(1)
        return self.scale * self.conv(averages).sigmoid().transpose(1, 2).unsqueeze(-1)


def adaptive_kernel_size(channels: int) -> int:
    r"""Return ECA's odd kernel size for C channels, with :math:`\gamma = 2` and :math:`b = 1`.

    Examples
    --------
    >>> [adaptive_kernel_size(channels) for channels in (64, 128, 256, 512)]
    [3, 5, 5, 5]
    """
    size = int((math.log2(channels) + 1) / 2)
    return max(size if size % 2 else size + 1, 3)
