"""A prediction over several views is their mean, with every place back where it was."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from doctor_derma.models.networks import LesionNetwork, create_network
from doctor_derma.models.tta import average_over_views
from project import SMALLEST

torch.manual_seed(0)
IMAGES = torch.randn(2, 3, 96, 96)


def network(tta: int) -> LesionNetwork:
    torch.manual_seed(1)
    found = create_network(SMALLEST, 3).eval()
    found.tta = tta
    return found


def closer(images: Tensor) -> Tensor:
    middle = images[:, :, 16:80, 16:80]
    return functional.interpolate(middle, (96, 96), mode="bilinear", align_corners=False)


@pytest.mark.parametrize("count", [1, 2, 4, 8])
@pytest.mark.parametrize("place", [(0.5, 0.5), (0.3, 0.6), (0.75, 0.7)])
def test_every_view_is_put_back(count: int, place: tuple[float, float]) -> None:
    rows, columns = torch.meshgrid(*[(torch.arange(96) + 0.5) / 96] * 2, indexing="ij")
    bump = torch.exp(-((rows - place[0]) ** 2 + (columns - place[1]) ** 2) / 0.001)
    found = average_over_views(lambda images: images, bump[None, None], count)[0, 0]
    centroid = [float((found * places).sum() / found.sum()) for places in (rows, columns)]
    assert centroid == pytest.approx(place, abs=0.002)


@pytest.mark.parametrize("count", [1, 2, 4, 8])
def test_the_mean_over_places_is_that_of_the_views(count: int) -> None:
    means: list[Tensor] = []

    def features_of(images: Tensor) -> Tensor:
        features = functional.avg_pool2d(images, 32)
        means.append(features.mean((2, 3)).view(count, 2, 3).mean(0))
        return features

    found = average_over_views(features_of, IMAGES, count)
    torch.testing.assert_close(found.mean((2, 3)), means[0])


@pytest.mark.parametrize("count", [2, 4, 8])
def test_all_views_are_different(count: int) -> None:
    seen: list[Tensor] = []

    def features_of(images: Tensor) -> Tensor:
        seen.extend(images[0::2])
        return images

    average_over_views(features_of, IMAGES, count)
    assert len(seen) == count
    assert torch.equal(seen[0], IMAGES[0])
    torch.testing.assert_close(seen[1], closer(IMAGES)[0].flip(2))
    assert all(not torch.equal(a, b) for i, a in enumerate(seen) for b in seen[:i])


def test_four_views_keep_the_shape_of_a_picture() -> None:
    wide = torch.randn(1, 3, 64, 96)
    assert average_over_views(lambda images: images, wide, 4).shape == wide.shape


@pytest.mark.parametrize("count", [4, 8])
def test_a_prediction_is_the_same_upside_down(count: int) -> None:
    several = network(count)
    with torch.no_grad():
        logits, maps, features = several.logits_maps_and_features(IMAGES)
        again = several.logits_maps_and_features(IMAGES.flip(2))
        alone = network(1).logits_maps_and_features(IMAGES)[0]
    torch.testing.assert_close(again[0], logits, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(again[1].flip(2), maps, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(maps.mean((2, 3)) + several.head.bias, logits)
    torch.testing.assert_close(several.head(features), logits)
    assert not torch.allclose(alone, logits)


def test_logits_are_the_mean_of_those_of_the_views() -> None:
    with torch.no_grad():
        each = [network(1)(view) for view in (IMAGES, closer(IMAGES).flip(3))]
        found = network(2).logits_maps_and_features(IMAGES)[0]
    torch.testing.assert_close(found, torch.stack(each).mean(0), rtol=1e-3, atol=1e-4)
