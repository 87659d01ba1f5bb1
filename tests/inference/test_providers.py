"""Execution providers: those that are here compute, and any other is a sentence that says so."""

from pathlib import Path

import onnxruntime as ort
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from doctor_derma.errors import DermaError
from doctor_derma.inference.classifier import Classifier
from doctor_derma.inference.providers import named_providers
from project import derma, own_environment
from tiny_bundle import RED

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
# In every build for Linux; it computes only what a graph hands to a service of its maker's.
AZURE = "AzureExecutionProvider"
needs_azure = pytest.mark.skipif(
    AZURE not in ort.get_available_providers(), reason="this ONNX Runtime has one provider only"
)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("", (CPU,)),
        (" , ", (CPU,)),
        ("cpu", (CPU,)),
        ("CUDA,cpu", (CUDA, CPU)),
        (f" {CUDA} , {CPU.lower()}, cuda", (CUDA, CPU)),
        ("openvino", ("OpenVINOExecutionProvider",)),
    ],
)
def test_names_are_onnx_runtime_s_own_or_short(text: str, names: tuple[str, ...]) -> None:
    assert named_providers(text) == names


@given(name=st.text("abcxyz!'\n ", min_size=1).filter(str.strip))
def test_any_other_name_is_one_sentence(name: str) -> None:
    with pytest.raises(DermaError, match=r"^DERMA_PROVIDERS: .+ \(here are .*cpu\); ") as caught:
        named_providers(f"cpu,{name}")
    assert len(str(caught.value).splitlines()) == 1


def test_without_a_word_the_processor_computes(bundle: Path) -> None:
    assert Classifier.load(bundle).providers == (CPU,)


@needs_azure
def test_the_environment_names_them(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DERMA_PROVIDERS", "azure, cpu")
    classifier = Classifier.load(bundle)
    assert classifier.providers == (AZURE, CPU)
    assert classifier.predict([_red()])[0].label == "mel"
    assert Classifier.load(bundle, providers=[CPU]).providers == (CPU,)


@pytest.mark.skipif(CUDA in ort.get_available_providers(), reason="this ONNX Runtime has CUDA")
def test_one_that_the_package_lacks_is_named_with_its_package(bundle: Path) -> None:
    with pytest.raises(DermaError, match="has no CUDAExecutionProvider") as caught:
        Classifier.load(bundle, providers=[CUDA, CPU])
    assert "cpu" in str(caught.value)
    assert "install onnxruntime-gpu[cuda,cudnn] in place of onnxruntime" in str(caught.value)


@pytest.mark.skipif(CUDA in ort.get_available_providers(), reason="this ONNX Runtime has CUDA")
@pytest.mark.filterwarnings("ignore:Specified provider")
def test_one_that_can_t_start_is_no_silent_processor(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As where the package is there and the driver is not: the session goes on without it.
    monkeypatch.setattr(ort, "get_available_providers", lambda: [CUDA, CPU])
    with pytest.raises(DermaError, match="can't start here; check its device, driver"):
        Classifier.load(bundle, providers=[CUDA, CPU])


@pytest.mark.slow
@pytest.mark.parametrize(("command", "last"), [("predict", ["red.png"]), ("serve", ["--port=0"])])
def test_a_command_ends_with_the_sentence(
    command: str, last: list[str], bundle: Path, tmp_path: Path
) -> None:
    _red().save(tmp_path / "red.png")
    abacus = own_environment(DERMA_PROVIDERS="abacus")
    done = derma(command, "--model", bundle, *last, env=abacus, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith(
        "derma: DERMA_PROVIDERS: 'abacus' is no execution provider of ONNX Runtime (here are "
    )


def _red() -> Image.Image:
    return Image.new("RGB", (40, 30), RED)
