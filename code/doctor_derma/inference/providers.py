"""Which execution providers of ONNX Runtime compute a graph: a GPU's, where that is asked for."""

import os
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from typing import TYPE_CHECKING

from doctor_derma.errors import DermaError

if TYPE_CHECKING:  # Settings name providers, and who only asks a server has no ONNX Runtime.
    import onnxruntime

VARIABLE = "DERMA_PROVIDERS"
CPU = "CPUExecutionProvider"
# They compute on a GPU, which Ray gives to a process that asks for it.
ON_GPUS = frozenset(
    {"CUDAExecutionProvider", "TensorrtExecutionProvider", "MIGraphXExecutionProvider"}
)
# Builds of ONNX Runtime for Linux that have what the package onnxruntime lacks.
_PACKAGES = {
    "CUDAExecutionProvider": "onnxruntime-gpu[cuda,cudnn]",
    "TensorrtExecutionProvider": "onnxruntime-gpu[cuda,cudnn] and tensorrt",
    "MIGraphXExecutionProvider": "onnxruntime-migraphx",
    "OpenVINOExecutionProvider": "onnxruntime-openvino",
}


def named_providers(text: str) -> tuple[str, ...]:
    """Return the execution providers that a setting names, in its order.

    Parameters
    ----------
    text : ONNX Runtime's own names or short ones, with commas between, in any case; without any
        name it is the processor alone

    Raises
    ------
    DermaError
        When one is none that ONNX Runtime knows.

    Examples
    --------
    >>> from doctor_derma.inference.providers import named_providers
    >>> named_providers("cuda, CPUExecutionProvider")
    ('CUDAExecutionProvider', 'CPUExecutionProvider')
    """
    import onnxruntime as ort

    known = {_short(name): name for name in ort.get_all_providers()}
    wanted = [part.strip() for part in text.split(",") if part.strip()]
    for name in wanted:
        if _short(name) not in known:
            raise DermaError(
                f"{VARIABLE}: {name!r} is no execution provider of ONNX Runtime (here are "
                f"{_here()}); change it, or unset it for the default"
            )
    return tuple(dict.fromkeys(known[_short(name)] for name in wanted)) or (CPU,)


def providers_of_environment() -> tuple[str, ...]:
    """Return the execution providers that ``$DERMA_PROVIDERS`` names; the processor without it.

    Raises a DermaError when one is none that ONNX Runtime knows.
    """
    return named_providers(os.environ.get(VARIABLE, ""))


def prepare_providers(names: Sequence[str]) -> None:
    """Check that the installed ONNX Runtime has these, and load the libraries that they need.

    Raises a DermaError when it lacks one.
    """
    import onnxruntime as ort

    there = ort.get_available_providers()
    for name in names:
        if name not in there:
            package = _PACKAGES.get(name)
            remedy = f"install {package} in place of onnxruntime" if package else "name another"
            raise DermaError(
                f"{VARIABLE}: the installed ONNX Runtime has no {name} (it has {_here()}); "
                f"{remedy}, or unset {VARIABLE}"
            )
    if "CUDAExecutionProvider" in names:
        # Those of the packages nvidia-*, which no loader looks for. It prints what it misses.
        with redirect_stdout(sys.stderr):
            ort.preload_dlls()


def check_providers(session: "onnxruntime.InferenceSession", names: Sequence[str]) -> None:
    """Check that a session computes with all of these, and not in their place on the processor.

    Raises a DermaError when one could not be started.
    """
    for name in names:
        if name not in session.get_providers():
            raise DermaError(
                f"{VARIABLE}: {name} is in the installed ONNX Runtime and can't start here; check "
                f"its device, driver and libraries, or unset {VARIABLE}"
            )


def _short(name: str) -> str:
    return name.lower().removesuffix("executionprovider")


def _here() -> str:
    import onnxruntime as ort

    return ", ".join(_short(name) for name in ort.get_available_providers())
