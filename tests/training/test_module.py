"""The growing image size, the schedule of the learning rate and the moving average."""

import math
from collections.abc import Iterable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from doctor_derma.training.config import Size, TrainConfig
from doctor_derma.training.module import LesionModule, epoch_size
from project import recipe


@given(
    epochs=st.integers(1, 60),
    shape=st.sampled_from([(1, 1), (3, 4), (4, 3), (2, 3)]),
    start=st.integers(16, 128),
    end=st.integers(16, 128),
    growth=st.floats(0.1, 0.9),
)
def test_image_size_grows_to_the_training_size(
    epochs: int, shape: tuple[int, int], start: int, end: int, growth: float
) -> None:
    first, last = (Size(*(2 * side * times for side in shape)) for times in (start, end))
    config = TrainConfig(
        epochs=epochs,
        image_size=str(last),
        start_size=str(first),
        train_size=str(last),
        growth=growth,
    )
    sizes = [epoch_size(epoch, config) for epoch in range(epochs)]
    assert sizes == sorted(sizes)
    assert sizes[-1] == last
    assert set(sizes[math.ceil(epochs * growth) :]) <= {last}
    assert min(sizes) >= min(first, last)
    assert all(size.has_shape_of(last) for size in sizes)
    assert all(side % 16 == 0 for size in set(sizes) - {first, last} for side in size)
    if epochs > 1 and first < last:
        assert sizes[0] == first


def test_image_size_grows_in_steps() -> None:
    config = TrainConfig(epochs=10, growth=0.5, start_size=64, train_size=112)
    assert heights(config, range(10)) == [64, 64, 80, 80, 96] + [112] * 5
    slower = config.model_copy(update={"growth": 0.9})
    assert heights(slower, (0, 3, 6, 8, 9)) == [64, 80, 96, 96, 112]
    wide = {"image_size": "144x192", "train_size": "144x192", "start_size": "48x64"}
    config = TrainConfig(epochs=10, growth=0.5, **wide)
    assert heights(config, range(10)) == [48] * 3 + [96] * 2 + [144] * 5


def heights(config: TrainConfig, epochs: Iterable[int]) -> list[int]:
    return [epoch_size(epoch, config).height for epoch in epochs]


def counts() -> torch.Tensor:
    return torch.tensor([6.0, 3.0, 1.0])


def test_weight_decay_spares_biases_and_norms() -> None:
    module = LesionModule(recipe(), counts())
    module.trainer = type("Steps", (), {"estimated_stepping_batches": 10})()
    decayed, plain = module.configure_optimizers()["optimizer"].param_groups  # type: ignore[index]
    assert decayed["weight_decay"] == recipe().weight_decay
    assert plain["weight_decay"] == 0
    assert {weight.ndim for weight in decayed["params"]} <= {2, 3, 4}
    assert {weight.ndim for weight in plain["params"]} == {1}
    trained = sum(weight.numel() for weight in module.network.parameters())
    assert sum(w.numel() for group in (decayed, plain) for w in group["params"]) == trained


def test_learning_rate_rises_to_its_peak_and_falls_to_nearly_nothing() -> None:
    config = recipe(learning_rate=0.01, warmup=0.2)
    module = LesionModule(config, counts())
    module.trainer = type("Steps", (), {"estimated_stepping_batches": 50})()
    made = module.configure_optimizers()
    optimizer, scheduler = made["optimizer"], made["lr_scheduler"]["scheduler"]  # type: ignore
    rates = []
    for step in range(50):
        scheduler.step_update(step)
        rates.append(optimizer.param_groups[0]["lr"])
    peak = rates.index(max(rates))
    assert 9 <= peak <= 11
    assert max(rates) == pytest.approx(0.01, rel=0.12)
    assert rates[:peak] == sorted(rates[:peak])
    assert rates[peak:] == sorted(rates[peak:], reverse=True)
    assert rates[0] == pytest.approx(0.01 / 25)
    assert rates[-1] < 0.0003


def test_moving_average_follows_the_network() -> None:
    torch.manual_seed(0)
    module = LesionModule(recipe(ema_decay=0.5), counts())
    before = module.ema.module.head.weight.clone()
    with torch.no_grad():
        module.network.head.weight += 1
    module.ema.update(module.network, 10_000)
    torch.testing.assert_close(module.ema.module.head.weight, before + 0.5)
    assert not any(weight.requires_grad for weight in module.ema.parameters())


MIXED = {"mixup": 0.4, "cutmix": 1.0}


@pytest.mark.parametrize(
    "changes", [{}, {"mixup": 0.4}, {"cutmix": 1.0}, MIXED, MIXED | {"imbalance": "weighted"}]
)
@pytest.mark.parametrize("count", [4, 5])
def test_a_step_has_a_finite_loss_and_gradients(changes: dict, count: int) -> None:
    """Mixup and cutmix pair images, so an odd batch goes without."""
    torch.manual_seed(0)
    module = LesionModule(recipe(**changes), counts())
    module.log = lambda *args, **kwargs: None  # type: ignore[method-assign]
    module.trainer = type("Now", (), {"current_epoch": 0})()
    pixels = torch.randint(0, 256, (count, 32, 32, 3), dtype=torch.uint8)
    loss = module.training_step((pixels, torch.arange(count) % 3), 0)
    loss.backward()
    assert 0 < loss.item() < 20
    gradient = module.network.head.weight.grad
    assert gradient is not None
    assert float(gradient.abs().sum()) > 0
