"""Networks by name: what differs between plain, SE and ECA, and what is refused."""

import time
from typing import Any

import pytest
import timm
import torch
from huggingface_hub.utils import get_session

from doctor_derma.errors import DermaError
from doctor_derma.models import networks, weights
from doctor_derma.models.names import RESNETS, parse_name
from doctor_derma.models.networks import create_network

TIMM_NETWORKS = ("timm/mobilenetv3_small_050", "timm/convnext_atto", "timm/test_resnet")


@pytest.mark.slow
@pytest.mark.parametrize("plain", RESNETS)
def test_plain_and_attention_networks_differ_in_the_attention_only(plain: str) -> None:
    without = create_network(plain, 7).state_dict()
    blocks = sum(name.endswith("conv2.weight") for name in without)
    for attention, kinds in (("se", 5), ("eca", 2)):
        with_it = create_network(f"{attention}_{plain}", 7).state_dict()
        added = [name for name in with_it if name not in without]
        assert set(without) <= set(with_it)
        assert all(".se." in name for name in added)
        assert len(added) == kinds * blocks
        assert all(with_it[name].shape == value.shape for name, value in without.items())


@pytest.mark.parametrize("name", ["resnet18", "se_resnet18", "eca_resnet18", *TIMM_NETWORKS])
def test_mean_of_the_map_and_bias_are_the_logit(name: str) -> None:
    torch.manual_seed(0)
    network = create_network(name, 5, dropout=0.5).eval()
    images = torch.randn(2, 3, 96, 64)
    with torch.no_grad():
        logits, maps, features = network.logits_maps_and_features(images)
        torch.testing.assert_close(logits, network.head(features))
        torch.testing.assert_close(network(images), logits, rtol=1e-4, atol=1e-5)
    assert maps.shape == (2, 5, 3, 2)
    torch.testing.assert_close(maps.mean((2, 3)) + network.head.bias, logits)
    assert float(maps.std((2, 3)).min()) > 0


def test_attention_stands_in_every_block_and_acts() -> None:
    torch.manual_seed(0)
    network = create_network("eca_resnet18", 3).eval()
    gates = [m for m in network.modules() if isinstance(m, networks.EfficientChannelAttention)]
    assert [gate.kernel_size for gate in gates] == [3, 3, 5, 5, 5, 5, 5, 5]
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        for name, weight in network.named_parameters():
            if name.endswith("bn2.weight"):  # 0 at first, so that a block begins as its shortcut
                weight.fill_(1)
        before = network(images)
        gates[-1].conv.weight.mul_(-1)
        assert not torch.allclose(before, network(images))


def test_dropout_and_drop_path_act_in_training_only() -> None:
    torch.manual_seed(0)
    network = create_network("resnet18", 3, dropout=0.5, drop_path=0.5)
    images = torch.randn(4, 3, 32, 32)
    with torch.no_grad():
        network.eval()
        assert torch.equal(network(images), network(images))
        network.train()
        assert not torch.equal(network(images), network(images))


@pytest.mark.parametrize("name", ["resnet19", "eca-resnet18", "se_timm/resnet18", "timm/nonet", ""])
def test_unknown_names_are_one_sentence(name: str) -> None:
    with pytest.raises(DermaError, match=f"no network named '{name}'; use one of resnet18"):
        parse_name(name)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("timm/vit_tiny_patch16_224", "does not take images of any size; use a convolutional"),
        ("timm/test_vit", "has no feature maps .* use a convolutional network"),
        ("timm/crossvit_tiny_240", "gives no feature maps .* use a convolutional network"),
    ],
)
def test_networks_without_feature_maps_are_refused(name: str, message: str) -> None:
    with pytest.raises(DermaError, match=message):
        create_network(name, 3)


def test_networks_without_branches_refuse_drop_path() -> None:
    with pytest.raises(DermaError, match="drop_path: 'timm/repvit_m0_9' has no branches to drop"):
        create_network("timm/repvit_m0_9", 3, drop_path=0.1)


def test_pretrained_without_a_hub_says_so_at_once(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def unreachable(url: str, **options: Any) -> None:
        assert "resnet18" in url
        raise ConnectionError("no route")

    monkeypatch.setattr(get_session(), "head", unreachable)
    monkeypatch.setattr(weights, "try_to_load_from_cache", lambda *where: None)
    started = time.perf_counter()
    with pytest.raises(DermaError, match=r"weights of 'resnet18' can't be fetched .*Connection"):
        create_network("eca_resnet18", 3, pretrained=True)
    assert time.perf_counter() - started < 5
    assert capfd.readouterr().err == ""


def test_pretrained_where_there_are_no_weights() -> None:
    name = next(name for name in timm.list_models("resnet*") if not timm.is_model_pretrained(name))
    with pytest.raises(DermaError, match=f"timm has no weights for '{name}'; leave --pretrained"):
        create_network(f"timm/{name}", 3, pretrained=True)


STEMS = {"resnet18": ("conv1", "bn1"), "se_efficientnet_lite0": ("conv_stem", "bn1")}
STAGES = {"resnet18": ("layer1", "layer2"), "se_efficientnet_lite0": ("blocks.0", "blocks.1")}


@pytest.mark.parametrize("name", STEMS)
def test_frozen_stages_keep_weights_and_statistics_and_all_else_learns(name: str) -> None:
    torch.manual_seed(0)
    network = create_network(name, 3)
    network.freeze(2)
    kept = tuple(f"backbone.{part}." for part in (*STEMS[name], *STAGES[name]))
    learnt = {key for key, weight in network.named_parameters() if weight.requires_grad}
    assert learnt == {key for key, _ in network.named_parameters() if not key.startswith(kept)}
    before = {key: value.clone() for key, value in network.state_dict().items()}
    optimizer = torch.optim.SGD([w for w in network.parameters() if w.requires_grad], lr=0.5)
    network.eval()
    network.train()  # As a validation and the next epoch do.
    for _ in range(3):
        images, targets = torch.rand(6, 3, 32, 32), torch.arange(6) % 3
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(network(images), targets).backward()
        optimizer.step()
    changed = {key for key, value in network.state_dict().items() if not value.equal(before[key])}
    assert not {key for key in changed if key.startswith(kept)}
    assert learnt <= changed
    statistics = {
        key for key in before if key.endswith("running_mean") and not key.startswith(kept)
    }
    assert statistics
    assert statistics <= changed


def test_freezing_nothing_but_the_stem() -> None:
    network = create_network("resnet18", 3)
    network.freeze(0)
    frozen = {key for key, weight in network.named_parameters() if not weight.requires_grad}
    assert frozen == {"backbone.conv1.weight", "backbone.bn1.weight", "backbone.bn1.bias"}


@pytest.mark.parametrize(
    ("name", "stages", "message"),
    [
        ("resnet18", 5, "freeze: 5: the network has 4 stages"),
        ("efficientnet_lite0", 8, "freeze: 8: the network has 7 stages"),
        ("timm/convnext_atto", 1, "freeze: this network has no known stages; leave it at 0"),
    ],
)
def test_more_stages_than_there_are_can_not_be_frozen(name: str, stages: int, message: str) -> None:
    with pytest.raises(DermaError, match=message):
        create_network(name, 3).freeze(stages)
