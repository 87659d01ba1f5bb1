"""Pixels to images, and the mean and deviation that each backbone is given."""

import torch

from doctor_derma.models.networks import create_network
from doctor_derma.models.preprocessing import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    Normalization,
    scale_pixels,
)


def test_pixels_are_scaled_to_the_range_0_to_1() -> None:
    pixels = torch.tensor([[[[0, 128, 255]]]], dtype=torch.uint8)
    images = scale_pixels(pixels)
    assert images.shape == (1, 3, 1, 1)
    torch.testing.assert_close(images.flatten(), torch.tensor([0, 128 / 255, 1]))
    assert scale_pixels(pixels.repeat(2, 4, 6, 1)).is_contiguous(memory_format=torch.channels_last)


def test_normalization_by_hand() -> None:
    layer = Normalization((0.5, 0.4, 0.3), (0.1, 0.2, 0.5))
    images = torch.tensor([0.6, 0.4, 0.05]).view(1, 3, 1, 1)
    torch.testing.assert_close(layer(images).flatten(), torch.tensor([1.0, 0.0, -0.5]))
    assert layer.values == ((0.5, 0.4, 0.3), (0.1, 0.2, 0.5))


def test_each_backbone_is_given_what_its_weights_expect() -> None:
    resnet = create_network("resnet18", 3).normalization.values
    assert resnet == (IMAGENET_MEAN, IMAGENET_STD)
    lite = create_network("eca_efficientnet_lite0", 3).normalization.values
    assert lite == ((0.5,) * 3, (0.5,) * 3)


def test_a_network_normalises_its_images_and_keeps_no_weights_for_it() -> None:
    torch.manual_seed(0)
    network = create_network("efficientnet_lite0", 3).eval()
    seen = []
    network.backbone.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    network(torch.full((1, 3, 64, 64), 0.75))
    torch.testing.assert_close(seen[0], torch.full((1, 3, 64, 64), 0.5))
    assert not any("normalization" in name for name in network.state_dict())
