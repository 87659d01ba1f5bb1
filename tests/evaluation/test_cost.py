"""Weights and arithmetic by hand, and speed by a clock that the test turns."""

from types import SimpleNamespace

import numpy as np
import pytest
from torch import nn

from doctor_derma.evaluation import cost
from doctor_derma.evaluation.cost import WARM_UP, count_size, images_per_second, measure_costs
from doctor_derma.models.networks import LesionNetwork


class Clocked:
    """A classifier whose calls take a second a picture, or what ``seconds`` says, on a clock."""

    name = "clocked"
    class_names = ("benign", "malignant")
    height, width = 4, 6
    info = SimpleNamespace(tta=1)

    def __init__(self, clock: list[float], calls: list[str], mark: str, seconds: list[float]):
        self.clock, self.calls, self.mark, self.seconds = clock, calls, mark, seconds

    def predict_pixels(self, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        assert pixels.dtype == np.uint8
        assert pixels.shape[1:] == (4, 6, 3)
        self.calls.append(f"{self.mark}{len(pixels)}")
        self.clock[0] += self.seconds.pop(0) if self.seconds else len(pixels)
        return np.zeros((len(pixels), 2)), np.zeros((len(pixels), 2, 1, 1))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [0.0]
    monkeypatch.setattr(cost, "time", SimpleNamespace(perf_counter=lambda: now[0]))
    return now


def test_size_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    backbone = nn.Sequential(nn.Conv2d(3, 5, 3, padding=1, bias=False), nn.BatchNorm2d(5))
    network = LesionNetwork(backbone, features=5, classes=2)
    monkeypatch.setattr(cost, "create_network", lambda *_: network)
    parameters, macs = count_size("any", 2, 4, 6)
    assert parameters == 5 * 3 * 9 + 2 * 5 + (5 * 2 + 2)
    assert macs == 4 * 6 * (5 * 3 * 9) + 5 * 2


@pytest.mark.slow
def test_sizes_of_residual_networks() -> None:
    """He et al. (CVPR 2016) give ResNet-18 1.8 billion multiply-adds for 224x224 pixels."""
    parameters, macs = count_size("resnet18", 1000, 224, 224)
    assert parameters == 11_689_512
    assert macs == pytest.approx(1.8e9, rel=0.01)
    assert count_size("se_resnet18", 1000, 224, 224) > (parameters, macs)


def test_speed_is_of_the_median_call_after_the_warm_up(clock: list[float]) -> None:
    calls: list[str] = []
    first = Clocked(clock, calls, "a", [9, 9, 0.5, 0.25, 100])
    second = Clocked(clock, calls, "b", [])
    speeds = images_per_second([first, second], batches=(1, 8), repeats=3)
    assert speeds == [{1: 2.0, 8: 1.0}, {1: 1.0, 8: 1.0}]
    assert calls == ["a1", "b1"] * (WARM_UP + 3) + ["a8", "b8"] * (WARM_UP + 3)


def test_costs_belong_to_architectures(clock: list[float]) -> None:
    classifiers = {name: Clocked(clock, [], "", []) for name in ("eca_resnet18", "resnet18")}
    costs = measure_costs(classifiers, repeats=1)
    assert list(costs) == ["eca_resnet18", "resnet18"]
    assert costs["resnet18"].parameters == 11_176_512 + 2 * (512 + 1)
    assert costs["eca_resnet18"].macs > costs["resnet18"].macs
    assert costs["resnet18"].images_per_second == {1: 1.0, 32: 1.0}
    twice = Clocked(clock, [], "", [])
    twice.info = SimpleNamespace(tta=2)
    [looked_at_twice] = measure_costs({"resnet18": twice}, repeats=1).values()
    assert looked_at_twice.macs == 2 * costs["resnet18"].macs
