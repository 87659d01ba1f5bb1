"""The OOD score: the Mahalanobis distance, its scale, and features that say nothing."""

import numpy as np
import pytest

from doctor_derma.export.ood import OodScore, fit_distance, ood_threshold


def normal(count: int, seed: int) -> np.ndarray:
    generator = np.random.default_rng(seed)
    return generator.normal(size=(count, 3)) @ np.array([[2, 0, 0], [1, 0.5, 0], [0, 0, 0.1]]) + 5


def fit(training: np.ndarray, validation: np.ndarray) -> OodScore:
    distance = fit_distance(training)
    return distance.scaled(ood_threshold(distance(validation)))


def test_the_threshold_is_one() -> None:
    validation = normal(400, 1)
    found = fit(normal(1000, 0), validation)(validation)
    assert (found > 1).mean() == pytest.approx(0.05, abs=0.005)


def test_distance_is_proportional_to_mahalanobis() -> None:
    training = normal(5000, 0)
    fitted = fit(training, normal(400, 1))
    some = normal(20, 2) * 1.5
    from_mean = some - training.mean(axis=0)
    inverse = np.linalg.inv(np.cov(training.T))
    expected = np.einsum("ni,ij,nj->n", from_mean, inverse, from_mean)
    ratios = fitted(some) / expected
    np.testing.assert_allclose(ratios, ratios.mean(), rtol=0.05)


def test_a_step_across_is_scores_more_than_one_along() -> None:
    fitted = fit(normal(1000, 0), normal(400, 1))
    centre = np.full(3, 5.0)
    along, across = fitted(centre + np.array([[2, 0, 0], [0, 0, 2]]))
    assert across > 50 * along


def test_constant_features_do_no_harm() -> None:
    training = np.concatenate([normal(10, 0), np.zeros((10, 8))], axis=1)
    fitted = fit(training, training)
    found = fitted(training)
    assert bool(np.isfinite(found).all())
    assert bool(np.isfinite(fit(np.zeros((4, 2)), np.zeros((4, 2))).directions).all())


def test_all_but_the_largest_directions_count_alike() -> None:
    """With one direction kept, the two others have the mean of their variances."""
    generator = np.random.default_rng(0)
    training = generator.normal(size=(200_000, 3)) * [3.0, 2.0, 1.0]
    distance = fit_distance(training, directions=1)
    assert distance.directions.shape == (3, 1)
    found = distance(np.array([[3.0, 0, 0], [0, 2, 0], [0, 0, 2]]) + distance.mean)
    np.testing.assert_allclose(found, [9 / 9, 4 / 2.5, 4 / 2.5], rtol=0.03)


def test_scaling_moves_the_threshold_alone() -> None:
    distance = fit_distance(normal(1000, 0))
    some = normal(20, 2)
    np.testing.assert_allclose(distance.scaled(8.0)(some), distance(some) / 8, rtol=1e-9)
