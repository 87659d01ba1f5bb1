"""A prediction over several views is their mean, with every place back where it was."""

import pytest
import torch
from torch import Tensor

from doctor_derma.models.networks import LesionNetwork, create_network
from doctor_derma.models.views import average_over_views

torch.manual_seed(0)
IMAGES = torch.randn(2, 3, 96, 96)


def network(views: int) -> LesionNetwork:
    torch.manual_seed(1)
    found = create_network("se_resnet18", 3).eval()
    found.views = views
    return found


@pytest.mark.parametrize("count", [1, 2, 4, 8])
def test_every_view_is_turned_back(count: int) -> None:
    assert torch.allclose(average_over_views(lambda images: images, IMAGES, count), IMAGES)


@pytest.mark.parametrize("count", [2, 4, 8])
def test_all_views_are_different(count: int) -> None:
    seen: list[Tensor] = []

    def features_of(images: Tensor) -> Tensor:
        seen.extend(images[0::2])
        return images

    average_over_views(features_of, IMAGES, count)
    assert len(seen) == count
    assert torch.equal(seen[0], IMAGES[0])
    assert torch.equal(seen[1], IMAGES[0].flip(2))
    assert all(not torch.equal(a, b) for i, a in enumerate(seen) for b in seen[:i])


def test_four_views_keep_the_shape_of_a_picture() -> None:
    wide = torch.randn(1, 3, 64, 96)
    assert average_over_views(lambda images: images, wide, 4).shape == wide.shape


@pytest.mark.parametrize(("count", "turned"), [(2, (3,)), (4, (2,)), (4, (2, 3))])
def test_a_prediction_is_the_same_for_each_of_its_views(count: int, turned: tuple) -> None:
    several = network(count)
    with torch.no_grad():
        logits, maps, features = several.logits_maps_and_features(IMAGES)
        again = several.logits_maps_and_features(IMAGES.flip(turned))
        alone = network(1).logits_maps_and_features(IMAGES)[0]
    torch.testing.assert_close(again[0], logits, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(again[1].flip(turned), maps, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(maps.mean((2, 3)) + several.head.bias, logits)
    torch.testing.assert_close(several.head(features), logits)
    assert not torch.allclose(alone, logits)


def test_logits_are_the_mean_of_those_of_the_views() -> None:
    with torch.no_grad():
        each = [network(1)(view) for view in (IMAGES, IMAGES.flip(3))]
        found = network(2).logits_maps_and_features(IMAGES)[0]
    torch.testing.assert_close(found, torch.stack(each).mean(0), rtol=1e-3, atol=1e-4)
