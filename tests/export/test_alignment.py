"""Where cells look: known for networks made by hand."""

import numpy as np
import pytest
import torch
from torch import nn

from doctor_derma.export.alignment import MapPlaces, measure_map_places
from doctor_derma.inference.alignment import align_maps
from doctor_derma.models.networks import LesionNetwork, create_network

PIXELS = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
WIDE = np.random.default_rng(0).integers(0, 256, (2, 48, 64, 3), dtype=np.uint8)


def halvings(count: int, kernel: int, padding: int) -> LesionNetwork:
    """Averages that halve the picture so often."""
    layers = []
    for index in range(count):
        layer = nn.Conv2d(3 if index == 0 else 4, 4, kernel, stride=2, padding=padding)
        nn.init.constant_(layer.weight, 1 / layer.weight[0].numel())
        layers.append(layer)
    return LesionNetwork(nn.Sequential(*layers), 4, 3).eval()


def test_patches_look_where_they_lie() -> None:
    found = measure_map_places(halvings(3, 2, 0), PIXELS)
    assert found.shift == pytest.approx((0, 0), abs=1e-3)
    assert found.scale == (1, 1)


@pytest.mark.parametrize("count", [1, 3])
def test_padded_halvings_look_up_and_left(count: int) -> None:
    # Each halving adds half a pixel of the size before it: (1 + 2 + 4) / 2 of 8 for three.
    expected = (2**count - 1) / 2 / 2**count
    found = measure_map_places(halvings(count, 3, 1), PIXELS)
    assert found.shift == pytest.approx((expected, expected), abs=1e-3)
    assert found.scale == (1, 1)


def test_cells_that_reach_beyond_the_picture() -> None:
    """48 rows are one and a half cells of 32 pixels, and the map has two."""
    found = measure_map_places(halvings(5, 3, 1), WIDE)
    assert found.shift == pytest.approx((31 / 64, 31 / 64), abs=1e-3)
    assert found.scale == (0.75, 1)


# Of 144 rows five halvings leave four and a half. A residual network pads both sides alike. Those
# of TensorFlow pad what is missing, below and to the right where it is odd, so that their cells
# look half a cell away to the other side, or nothing where only the last halving has a rest.
@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "shift"),
    [("resnet18", (31 / 64, 31 / 64)), ("timm/tf_efficientnet_lite0", (1 / 64, -31 / 64))],
)
def test_where_the_cells_of_known_networks_look(name: str, shift: tuple[float, float]) -> None:
    torch.manual_seed(0)
    pixels = np.random.default_rng(0).integers(0, 256, (2, 144, 192, 3), dtype=np.uint8)
    found = measure_map_places(create_network(name, 3).eval(), pixels)
    assert found.shift == pytest.approx(shift, abs=0.05)
    assert found.scale == (0.9, 1)


@pytest.mark.parametrize("tta", [1, 2, 4])
@pytest.mark.parametrize("rows", [64, 66, 68, 70])
def test_aligned_maps_lie_where_the_picture_is_looked_at(rows: int, tta: int) -> None:
    """The same with all views, whose mirror images look the other way."""
    network = halvings(3, 3, 1)
    network.tta = tta
    pixels = np.random.default_rng(0).integers(0, 256, (2, rows, 96, 3), dtype=np.uint8)
    places = measure_map_places(network, pixels)
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2).float().div(255).requires_grad_()
    maps = network.logits_maps_and_features(images)[1][:, :, :, 6]
    cells = maps.shape[2]
    # A row of the aligned map is a weighted mean of the rows of the map.
    made_of = align_maps(np.eye(cells), (places.shift[0], 0), (places.scale[0], 1))
    for row in range(2, cells - 2):
        looked_at = sum(
            weight * looked_at_row(maps[:, :, index], images)
            for index, weight in enumerate(made_of[row])
            if weight
        )
        assert looked_at == pytest.approx((row + 0.5) / cells * rows, abs=1)


def looked_at_row(cells: torch.Tensor, images: torch.Tensor) -> float:
    """Return the row of the pictures that some cells look at."""
    (gradient,) = torch.autograd.grad(cells.square().sum(), images, retain_graph=True)
    rows = gradient.square().sum((0, 1, 3)).double()
    return float((rows * (torch.arange(len(rows)) + 0.5)).sum() / rows.sum())


def test_a_network_that_sees_nothing_is_not_moved() -> None:
    network = halvings(2, 3, 1)
    nn.init.zeros_(network.head.weight)
    assert measure_map_places(network, PIXELS) == MapPlaces((0, 0), (1, 1))
