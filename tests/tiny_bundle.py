"""A small real bundle with known behaviour, made without torch.

The evidence for class i at a place is ``GAIN`` times colour channel i there, so a red
picture is the first class, a green one the second and a blue one the third. A picture is
unfamiliar when its least channel is over half: red, green, blue and black are familiar, white
is not.
"""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from doctor_derma.bundle import (
    BundleInfo,
    CodeProvenance,
    Conformal,
    DataProvenance,
    Decision,
    DiagnosisName,
    Expected,
    InputSize,
    MelanomaFirst,
    OodThreshold,
    OperatingPoint,
    Parity,
    PatientTerm,
    QualityLimits,
    RuleFigures,
    Weights,
    file_sha256,
    write_info,
)

SIZE = 8
MAP = 4
GAIN = 6.0
TEMPERATURE = 2.0
CLASSES = (("mel", "Melanoma"), ("nv", "Melanocytic nevus"), ("vasc", "Vascular lesion"))
RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)
# Green enough for the second class to be the most probable, red enough for the first, which is
# rarer, to be the balanced answer.
BETWEEN = (200, 240, 0)
# All rules, with the rarest class as the one that is missed at the greatest cost.
ALL_RULES = Decision(
    default="balanced",
    melanoma_first=MelanomaFirst(
        threshold=0.02,
        target_specificity=0.9,
        sensitivity=Expected(value=0.8, low=0.7, high=0.9, images=20),
        specificity=Expected(value=0.9, low=0.85, high=0.95, images=80),
    ),
    costs={"vasc": {"mel": 50, "nv": 50}},
    operating_point=OperatingPoint(
        question="malignant",
        classes=("mel",),
        target="a specificity of 50%",
        threshold=0.1,
        sensitivity=Expected(value=0.9, low=0.8, high=1.0, images=20),
        specificity=Expected(value=0.5, low=0.4, high=0.6, images=100),
        review_rate=Expected(value=0.6, low=0.5, high=0.7, images=100),
    ),
    figures={
        "balanced": RuleFigures(metrics={"balanced_accuracy": 0.75}, called=(0.3, 0.5, 0.2)),
        "most-probable": RuleFigures(metrics={"balanced_accuracy": 0.6}, called=(0.1, 0.85, 0.05)),
    },
)

# Old people have more of the first class and women of the last; the second is on the back.
PATIENT = PatientTerm(
    sites=("back", "face"),
    weights=((1.0, 0, 0), (0.5, 0, 0), (0, 0, 1.5), (0, 0, -1.5), (0, 2.0, 0), (1.0, 0, 0)),
    conformal=Conformal(target=0.95, threshold=0.2, images=100),
    metrics={
        name: dict.fromkeys(("balanced_accuracy", "macro_auc", "accuracy", "log_loss"), value)
        for name, value in (("picture", 0.5), ("both", 0.625))
    },
)


def tiny_graph(
    size: int = SIZE,
    classes: int = len(CLASSES),
    input_name: str = "images",
    width: int | None = None,
):
    """Return an ONNX model with the interface of an exported bundle."""
    sides = [size, width or size]
    kernel = np.zeros((classes, 3, 1, 1), dtype=np.float32)
    for index in range(min(classes, 3)):
        kernel[index, index] = GAIN / 255
    constants = {
        "kernel": kernel,
        "temperature": np.array(TEMPERATURE, dtype=np.float32),
        "places": np.array([2, 3], dtype=np.int64),
        "second": np.array([1], dtype=np.int64),
        "half": np.array(255 / 2, dtype=np.float32),
    }
    nodes = [
        helper.make_node("Cast", [input_name], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["floats"], ["channels"], perm=[0, 3, 1, 2]),
        helper.make_node(
            "AveragePool",
            ["channels"],
            ["places_rgb"],
            kernel_shape=[side // MAP for side in sides],
            strides=[side // MAP for side in sides],
        ),
        helper.make_node("Conv", ["places_rgb", "kernel"], ["activation_maps"]),
        helper.make_node("ReduceMean", ["activation_maps", "places"], ["logits"], keepdims=0),
        helper.make_node("Div", ["logits", "temperature"], ["cooled"]),
        helper.make_node("ReduceMean", ["places_rgb", "places"], ["colour"], keepdims=0),
        helper.make_node("ReduceMin", ["colour", "second"], ["greyness"], keepdims=0),
        helper.make_node("Div", ["greyness", "half"], ["unfamiliarity"]),
        helper.make_node("Softmax", ["cooled"], ["probabilities"], axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info(input_name, TensorProto.UINT8, ["n", *sides, 3])],
        [
            helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["n", classes]),
            helper.make_tensor_value_info(
                "activation_maps", TensorProto.FLOAT, ["n", classes, MAP, MAP]
            ),
            helper.make_tensor_value_info("unfamiliarity", TensorProto.FLOAT, ["n"]),
        ],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def write_bundle(
    folder: Path,
    graph: onnx.ModelProto | bytes | None = None,
    decision: Decision | None = None,
    patient: PatientTerm | None = None,
) -> Path:
    """Write a bundle whose ``model.json`` describes ``tiny_graph()`` around any graph."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "model.onnx"
    graph = tiny_graph() if graph is None else graph
    path.write_bytes(graph if isinstance(graph, bytes) else graph.SerializeToString())
    info = BundleInfo(
        name="tiny",
        run="0123456789abcdef",
        created="2025-01-01T00:00:00Z",
        architecture="tiny",
        classes=tuple(DiagnosisName(name=short, full_name=full) for short, full in CLASSES),
        input=InputSize(height=SIZE, width=SIZE, mean=(0, 0, 0), std=(1, 1, 1)),
        temperature=TEMPERATURE,
        class_shares=(0.2, 0.7, 0.1),
        map_shift=(0.0, 0.0),
        conformal=Conformal(target=0.95, threshold=0.9, images=100),
        ood=OodThreshold(acceptance=0.95, images=100),
        quality=QualityLimits(darkest=0.05, brightest=0.95, blurriest=0.0),
        patient=patient,
        decision=decision or Decision(),
        metrics={"val": {"balanced_accuracy": 0.75, "macro_auc": 0.9}},
        data=DataProvenance(
            name="colours", fingerprint="0" * 64, licence="CC0-1.0", images={"train": 3}
        ),
        code=CodeProvenance(version="0.1.0", git_commit="0" * 40),
        recipe={},
        weights=Weights(sha256=file_sha256(path), bytes=path.stat().st_size, precision="fp32"),
        parity=Parity(max_probability_difference=0.0, images=3),
    )
    write_info(folder, info)
    return folder
