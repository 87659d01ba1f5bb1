"""SE and ECA against timm's modules with the same weights, and by hand."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from timm.layers import EcaModule, SEModule
from torch import Tensor, nn

from doctor_derma.models import attention, names
from doctor_derma.models.attention import (
    EfficientChannelAttention,
    SqueezeExcitation,
    adaptive_kernel_size,
)

CHANNELS = (16, 64, 128, 256, 512)
SHAPES = st.tuples(st.integers(1, 4), st.integers(1, 9), st.integers(1, 9))


def se_pair(channels: int, reduction: int = 16) -> tuple[nn.Module, nn.Module]:
    ours = SqueezeExcitation(channels, reduction)
    theirs = SEModule(channels, rd_channels=channels // reduction)
    pairs = {"fc1": ours.squeeze, "fc2": ours.excite}
    for name, layer in pairs.items():
        theirs.get_submodule(name).load_state_dict(layer.state_dict())
    return ours, theirs


def eca_pair(channels: int) -> tuple[nn.Module, nn.Module]:
    ours, theirs = EfficientChannelAttention(channels), EcaModule(channels)
    theirs.conv.load_state_dict(ours.conv.state_dict())
    return ours, theirs


def outputs_and_gradients(module: nn.Module, x: Tensor, upstream: Tensor) -> list[Tensor]:
    """Return the output, the gradient of the input and the gradients of the weights."""
    x = x.clone().requires_grad_()
    module.zero_grad()
    y = module(x)
    y.backward(upstream)
    gradients = [weight.grad for weight in module.parameters()]
    assert x.grad is not None
    assert all(gradient is not None for gradient in gradients)
    return [y.detach(), x.grad, *(g for g in gradients if g is not None)]


def assert_same(pair: tuple[nn.Module, nn.Module], shape: tuple[int, ...], seed: int = 0) -> None:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(shape, generator=generator)
    upstream = torch.randn(shape, generator=generator)
    ours, theirs = (outputs_and_gradients(module, x, upstream) for module in pair)
    assert len(ours) == len(theirs)
    for mine, reference in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, reference, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("channels", CHANNELS)
def test_equal_to_timm_in_output_and_gradients(channels: int) -> None:
    for pair in (se_pair(channels), eca_pair(channels)):
        assert_same(pair, (3, channels, 7, 5))


@settings(max_examples=25, deadline=None)
@given(shape=SHAPES, groups=st.integers(1, 8), reduction=st.sampled_from([2, 4, 16]))
def test_squeeze_excitation_equals_timm_for_any_shape(
    shape: tuple[int, int, int], groups: int, reduction: int
) -> None:
    n, height, width = shape
    channels = groups * reduction
    assert_same(se_pair(channels, reduction), (n, channels, height, width))


@settings(max_examples=25, deadline=None)
@given(shape=SHAPES, channels=st.integers(1, 80))
def test_efficient_channel_attention_equals_timm_for_any_shape(
    shape: tuple[int, int, int], channels: int
) -> None:
    n, height, width = shape
    assert_same(eca_pair(channels), (n, channels, height, width))


# log2(C)/2 + 1/2 by hand, cut to a whole number and raised to an odd one.
@pytest.mark.parametrize(
    ("channels", "exact", "kernel"),
    [
        (8, 2.0, 3),
        (16, 2.5, 3),
        (32, 3.0, 3),
        (64, 3.5, 3),
        (128, 4.0, 5),
        (256, 4.5, 5),
        (512, 5.0, 5),
        (1024, 5.5, 5),
        (2048, 6.0, 7),
    ],
)
def test_kernel_size_of_equation_12(channels: int, exact: float, kernel: int) -> None:
    assert math.log2(channels) / 2 + 1 / 2 == exact
    assert adaptive_kernel_size(channels) == kernel
    assert EfficientChannelAttention(channels).conv.weight.shape == (1, 1, kernel)
    assert EfficientChannelAttention(channels).conv.bias is None


@given(channels=st.integers(1, 5000))
def test_kernel_size_is_odd_and_grows(channels: int) -> None:
    size = adaptive_kernel_size(channels)
    assert size % 2 == 1
    assert 3 <= size <= adaptive_kernel_size(2 * channels)


def test_efficient_channel_attention_by_hand() -> None:
    """Channel averages 2, 4, 6 and the kernel (1, -1, 0.5), zeros beyond the ends."""
    x = torch.tensor([1.0, 3.0, 4.0, 4.0, 5.0, 7.0]).view(1, 3, 1, 2)
    module = EfficientChannelAttention(3)
    with torch.no_grad():
        module.conv.weight.copy_(torch.tensor([[[1.0, -1.0, 0.5]]]))
    evidence = [-1 * 2 + 0.5 * 4, 1 * 2 - 1 * 4 + 0.5 * 6, 1 * 4 - 1 * 6]
    gates = [1 / (1 + math.exp(-value)) for value in evidence]
    expected = [1 * gates[0], 3 * gates[0], 4 * gates[1], 4 * gates[1], 5 * gates[2], 7 * gates[2]]
    torch.testing.assert_close(module(x).flatten(), torch.tensor(expected))


def test_squeeze_excitation_by_hand() -> None:
    """Averages 2 and 4 through one hidden unit: ReLU(1*2 + 2*4 - 3) = 7."""
    x = torch.tensor([1.0, 3.0, 4.0, 4.0]).view(1, 2, 1, 2)
    module = SqueezeExcitation(2, reduction=2)
    with torch.no_grad():
        module.squeeze.weight.copy_(torch.tensor([1.0, 2.0]).view(1, 2, 1, 1))
        module.squeeze.bias.fill_(-3.0)
        module.excite.weight.copy_(torch.tensor([0.1, -0.2]).view(2, 1, 1, 1))
        module.excite.bias.copy_(torch.tensor([0.0, 0.5]))
    gates = [1 / (1 + math.exp(-0.7)), 1 / (1 + math.exp(0.9))]
    expected = [1 * gates[0], 3 * gates[0], 4 * gates[1], 4 * gates[1]]
    torch.testing.assert_close(module(x).flatten(), torch.tensor(expected))


@settings(max_examples=20, deadline=None)
@given(scale=st.floats(0.01, 100), seed=st.integers(0, 2**16))
def test_gates_lie_between_0_and_1_and_only_scale_channels(scale: float, seed: int) -> None:
    x = scale * torch.randn(2, 32, 4, 4, generator=torch.Generator().manual_seed(seed))
    for module in (SqueezeExcitation(32), EfficientChannelAttention(32)):
        gates = module.gates(x)
        assert gates.shape == (2, 32, 1, 1)
        assert bool(((gates >= 0) & (gates <= 1)).all())
        torch.testing.assert_close(module(x), x * gates)


def identities() -> tuple[nn.Module, nn.Module]:
    return SqueezeExcitation(32, identity=True), EfficientChannelAttention(32, identity=True)


def test_identity_changes_nothing_at_first_and_its_gates_reach_from_0_to_2() -> None:
    x = torch.randn(2, 32, 3, 4, generator=torch.Generator().manual_seed(0))
    squeezing, local = identities()
    assert torch.equal(squeezing(x), x)
    assert torch.equal(local(x), x)
    nn.init.constant_(squeezing.get_parameter("excite.bias"), 100.0)
    nn.init.constant_(local.get_parameter("conv.weight"), 100.0)
    torch.testing.assert_close(squeezing(x), 2 * x)
    torch.testing.assert_close(local(x.abs() + 1), 2 * (x.abs() + 1))
    torch.testing.assert_close(local(-x.abs() - 1), 0 * x)


def test_checkpoints_from_before_the_scale_have_the_gates_of_the_papers() -> None:
    x = torch.randn(2, 32, 3, 4, generator=torch.Generator().manual_seed(0))
    plain = nn.Sequential(SqueezeExcitation(32), EfficientChannelAttention(32))
    old = {name: value for name, value in plain.state_dict().items() if "scale" not in name}
    assert len(old) == 5
    network = nn.Sequential(*identities())
    assert network.load_state_dict(dict(old)).missing_keys == []
    assert torch.equal(network(x), plain(x))
    # The scale of a newer checkpoint is kept, and what else is missing is said.
    network.load_state_dict(nn.Sequential(*identities()).state_dict())
    assert torch.equal(network(x), x)
    with pytest.raises(RuntimeError, match=r"0\.squeeze\.weight"):
        network.load_state_dict({k: v for k, v in old.items() if k != "0.squeeze.weight"})


def test_parameters_are_those_of_the_papers() -> None:
    def count(module: nn.Module) -> int:
        return sum(weight.numel() for weight in module.parameters())

    assert count(SqueezeExcitation(256, 16)) == 2 * 256 * 256 // 16 + 256 // 16 + 256
    assert count(EfficientChannelAttention(256)) == 5


def test_too_few_channels_for_a_bottleneck() -> None:
    with pytest.raises(ValueError, match="channels=8 is smaller than reduction=16"):
        SqueezeExcitation(8)


@pytest.mark.parametrize("module", [attention, names], ids=["attention", "names"])
def test_examples_in_the_docstrings(module: object) -> None:
    import doctest

    results = doctest.testmod(module)  # type: ignore[arg-type]
    assert results.attempted > 0
    assert results.failed == 0
