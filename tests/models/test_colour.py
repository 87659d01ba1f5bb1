"""Colour constancy: what a light's colour changes, the layer undoes."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from doctor_derma.models.networks import create_network
from doctor_derma.models.preprocessing import ShadesOfGray


@given(
    lights=st.lists(st.floats(0.5, 1.0), min_size=3, max_size=3),
    seed=st.integers(0, 2**31),
)
def test_a_picture_looks_the_same_in_every_light(lights: list[float], seed: int) -> None:
    picture = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(seed)) + 0.05
    light = torch.tensor(lights).view(3, 1, 1)
    plain, tinted = ShadesOfGray()(picture), ShadesOfGray()(picture * light)
    # All but the brightness, which is that of the picture in its own light.
    torch.testing.assert_close(tinted / tinted.mean(), plain / plain.mean(), atol=1e-4, rtol=1e-3)


def test_the_power_mean_is_that_of_the_paper() -> None:
    picture = torch.zeros(1, 3, 1, 2)
    picture[0, 0] = torch.tensor([0.8, 0.0])
    picture[0, 1] = torch.tensor([0.4, 0.4])
    picture[0, 2] = torch.tensor([0.2, 0.2])
    red, green, blue = 0.8 * 0.5 ** (1 / 6), 0.4, 0.2
    mean = (red + green + blue) / 3
    expected = picture * (mean / torch.tensor([red, green, blue])).view(1, 3, 1, 1)
    torch.testing.assert_close(ShadesOfGray()(picture), expected, atol=1e-5, rtol=1e-5)


def test_grey_and_black_pictures_stay_as_they_are() -> None:
    grey = torch.full((1, 3, 4, 4), 0.3)
    torch.testing.assert_close(ShadesOfGray()(grey), grey, atol=1e-5, rtol=1e-5)
    assert ShadesOfGray()(torch.zeros(1, 3, 4, 4)).abs().max() < 1e-5


def test_a_network_with_the_layer_has_no_weights_more() -> None:
    plain, balanced = (
        create_network("resnet18", 3),
        create_network("resnet18", 3, colour_constancy=True),
    )
    balanced.load_state_dict(plain.state_dict())
    plain.eval(), balanced.eval()
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    warm = images + torch.tensor([1.0, 0.0, -1.0]).view(3, 1, 1)
    with torch.no_grad():
        torch.testing.assert_close(
            balanced(images), plain(ShadesOfGray()(images)), atol=1e-5, rtol=1e-5
        )
        assert (plain(images) - plain(warm)).abs().max() > 0
        assert balanced.logits_maps_and_features(images)[0] == pytest.approx(
            balanced(images), abs=1e-4
        )
