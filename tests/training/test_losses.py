"""The three losses against torch, by hand, and for what they are there for."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from doctor_derma.training.module import class_counts, class_loss

COUNTS = torch.tensor([70.0, 20.0, 10.0])


def batch(seed: int, count: int = 12) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(count, 3, generator=generator)
    return logits, torch.randint(3, (count,), generator=generator)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**16), smoothing=st.floats(0, 0.5))
def test_each_is_a_cross_entropy_of_torch(seed: int, smoothing: float) -> None:
    logits, targets = batch(seed)
    shares = COUNTS / 100

    def reference(logits: Tensor, weight: Tensor | None = None) -> Tensor:
        return functional.cross_entropy(logits, targets, weight, label_smoothing=smoothing)

    for imbalance, expected in (
        ("none", reference(logits)),
        ("weighted", reference(logits, 1 / (3 * shares))),
        ("logit_adjusted", reference(logits + shares.log())),
    ):
        found = class_loss(logits, targets, COUNTS, imbalance, smoothing)
        torch.testing.assert_close(found, expected)


def test_logit_adjusted_by_hand() -> None:
    """With equal logits an image of share p costs -log p, as its probability is p."""
    logits = torch.zeros(3, 3)
    loss = class_loss(logits, torch.tensor([0, 1, 2]), COUNTS, "logit_adjusted")
    expected = -(math.log(0.7) + math.log(0.2) + math.log(0.1)) / 3
    assert float(loss) == pytest.approx(expected, rel=1e-6)


def test_weights_have_mean_1_over_the_training_images() -> None:
    """So at equal logits the loss of the training split is log K, whatever the shares."""
    targets = torch.repeat_interleave(torch.arange(3), COUNTS.long())
    logits = torch.zeros(100, 3)
    loss = class_loss(logits, targets, COUNTS, "weighted")
    assert float(loss) == pytest.approx(math.log(3), rel=1e-6)


def test_targets_may_be_probabilities() -> None:
    logits, targets = batch(3)
    soft = functional.one_hot(targets, 3).float()
    for imbalance in ("none", "logit_adjusted"):
        torch.testing.assert_close(
            class_loss(logits, soft, COUNTS, imbalance),
            class_loss(logits, targets, COUNTS, imbalance),
        )


@pytest.mark.parametrize("class_cap", [0, 15, 1000])
@pytest.mark.parametrize(
    ("imbalance", "expected"),
    [("none", [0.7, 0.2, 0.1]), ("weighted", [1 / 3] * 3), ("logit_adjusted", [1 / 3] * 3)],
)
def test_minimiser_where_pictures_tell_nothing(
    imbalance: str, expected: list[float], class_cap: int
) -> None:
    """Both losses for imbalance leave every class the same weight; the plain one its share,
    also where an epoch shows less of it."""
    shown = COUNTS.clamp(max=class_cap or math.inf).long()
    targets = torch.repeat_interleave(torch.arange(3), shown)
    logits = torch.zeros(3, requires_grad=True)
    optimizer = torch.optim.LBFGS([logits], max_iter=100)

    def closure() -> Tensor:
        optimizer.zero_grad()
        repeated = logits.expand(len(targets), 3)
        loss = class_loss(repeated, targets, COUNTS, imbalance, class_cap=class_cap)
        loss.backward()
        return loss

    for _ in range(10):
        optimizer.step(closure)
    torch.testing.assert_close(
        logits.detach().softmax(0), torch.tensor(expected), rtol=1e-3, atol=1e-3
    )


def test_counts_have_a_place_for_every_class() -> None:
    assert class_counts([0, 2, 2, 0, 0], 4).tolist() == [3.0, 0.0, 2.0, 0.0]


def test_unknown_name() -> None:
    with pytest.raises(ValueError, match="imbalance='focal'"):
        class_loss(*batch(0), COUNTS, "focal")
