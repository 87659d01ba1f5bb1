"""The exported graph in ONNX Runtime, checked against ``model.json`` before use."""

import functools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime as ort

from doctor_derma.bundle import INFO_FILE, INPUT_NAME, OUTPUT_NAMES, BundleInfo
from doctor_derma.cpus import usable_cpus
from doctor_derma.errors import DermaError, first_line
from doctor_derma.inference.providers import check_providers, prepare_providers


def open_graph(
    path: Path, info: BundleInfo, threads: int | None, providers: Sequence[str]
) -> ort.InferenceSession:
    """Load a graph and try it on one black picture.

    Parameters
    ----------
    threads : of the processor; as many as there are processors when None
    providers : execution providers of ONNX Runtime, by preference for each of the graph's nodes

    Raises
    ------
    DermaError
        When ONNX Runtime can't load or run the graph, its input and outputs are not those
        that ``info`` describes, or a provider is not there.
    """
    prepare_providers(providers)
    _share_arena()
    options = ort.SessionOptions()
    # The threads sleep between calls instead of spinning, because the server, the picture
    # decoder and other calls share the same processors.
    options.intra_op_num_threads = usable_cpus() if threads is None else threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # A pattern is kept for every size of a batch, which adds up to 50 MB.
    options.enable_mem_pattern = False
    options.add_session_config_entry("session.use_env_allocators", "1")
    options.log_severity_level = 4
    # ONNX Runtime's exceptions share no base class of their own.
    try:
        session = ort.InferenceSession(path, options, providers=list(providers), enable_fallback=0)
    except Exception as error:
        raise DermaError(
            f"{path}: ONNX Runtime can't load this graph ({first_line(error)}); "
            "export the run again"
        ) from error
    check_providers(session, providers)
    if not (wrong := _wrong_interface(session, info)):
        try:
            black = np.zeros((1, info.input.height, info.input.width, 3), dtype=np.uint8)
            outputs = session.run(list(OUTPUT_NAMES), {INPUT_NAME: black})
        except Exception as error:
            raise DermaError(
                f"{path}: ONNX Runtime can't run this graph ({first_line(error)}); "
                "export the run again"
            ) from error
        wrong = _wrong_outputs(info, *outputs)
    if wrong:
        raise DermaError(f"{path}: {wrong}; export the run again")
    return session


@functools.cache
def _share_arena() -> None:
    """Let all graphs of this process compute in the same memory, which each would keep for itself.

    A server has two, and takes 11 MB less. The arena grows by what is asked for, not in doubles.
    """
    place = ort.OrtMemoryInfo(
        "Cpu", ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, ort.OrtMemType.DEFAULT
    )
    growth = ort.OrtArenaCfg({"max_mem": 0, "arena_extend_strategy": 1})
    ort.create_and_register_allocator(place, growth)


def _wrong_interface(session: ort.InferenceSession, info: BundleInfo) -> str | None:
    """Say what is wrong with the graph's input and the names of its outputs; None for nothing."""
    inputs = session.get_inputs()
    if [(given.name, given.type) for given in inputs] != [(INPUT_NAME, "tensor(uint8)")]:
        found = ", ".join(f"{given.name} {given.type}" for given in inputs)
        return f"its input is {found or 'missing'} instead of {INPUT_NAME} tensor(uint8)"
    count, *size = inputs[0].shape
    expected = [info.input.height, info.input.width, 3]
    if isinstance(count, int) or size != expected:
        shapes = f"{inputs[0].shape}, but {INFO_FILE} says {['n', *expected]}"
        return f"its input has the shape {shapes}"
    if missing := set(OUTPUT_NAMES) - {output.name for output in session.get_outputs()}:
        return f"its output {min(missing)} is missing"
    return None


def _wrong_outputs(
    info: BundleInfo, probabilities: np.ndarray, maps: np.ndarray, unfamiliarity: np.ndarray
) -> str | None:
    """Say what is wrong with what the graph gives for one picture; None for nothing."""
    classes = len(info.classes)
    if probabilities.shape != (1, classes) or maps.ndim != 4 or maps.shape[:2] != (1, classes):
        return (
            f"for one picture it gives probabilities of shape {probabilities.shape} and "
            f"activation maps of shape {maps.shape}, but {INFO_FILE} names {classes} classes"
        )
    if unfamiliarity.shape != (1,):
        shape = unfamiliarity.shape
        return f"for one picture it gives an unfamiliarity of shape {shape} instead of (1,)"
    if probabilities.dtype != np.float32 or maps.dtype != np.float32:
        return f"its outputs are {probabilities.dtype} and {maps.dtype} instead of float32"
    # Not close to 1 also catches numbers that are not finite.
    if not abs(float(probabilities.sum()) - 1) < 1e-3:
        return "its probabilities don't sum to 1"
    return None
