"""Where cells look: known for two networks made by hand."""

import numpy as np
import pytest
import torch
from torch import nn

from doctor_derma.export.alignment import measure_map_shift
from doctor_derma.models.networks import LesionNetwork, create_network

PIXELS = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)


def halvings(count: int, kernel: int, padding: int) -> LesionNetwork:
    """Averages that halve the picture so often."""
    layers = []
    for index in range(count):
        layer = nn.Conv2d(3 if index == 0 else 4, 4, kernel, stride=2, padding=padding)
        nn.init.constant_(layer.weight, 1 / layer.weight[0].numel())
        layers.append(layer)
    return LesionNetwork(nn.Sequential(*layers), 4, 3).eval()


def test_patches_look_where_they_lie() -> None:
    assert measure_map_shift(halvings(3, 2, 0), PIXELS) == pytest.approx((0, 0), abs=1e-3)


@pytest.mark.parametrize("count", [1, 3])
def test_padded_halvings_look_up_and_left(count: int) -> None:
    # Each halving adds half a pixel of the size before it: (1 + 2 + 4) / 2 of 8 for three.
    expected = (2**count - 1) / 2 / 2**count
    found = measure_map_shift(halvings(count, 3, 1), PIXELS)
    assert found == pytest.approx((expected, expected), abs=1e-3)


def test_a_residual_network_looks_half_a_cell_away() -> None:
    torch.manual_seed(0)
    found = measure_map_shift(create_network("resnet18", 3).eval(), PIXELS)
    assert found == pytest.approx((31 / 64, 31 / 64), abs=0.05)


def test_a_network_that_sees_nothing_is_not_shifted() -> None:
    network = halvings(2, 3, 1)
    nn.init.zeros_(network.head.weight)
    assert measure_map_shift(network, PIXELS) == (0.0, 0.0)
