"""Classifier: known pictures, every kind of source, and bundles that don't fit."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from onnx import TensorProto
from PIL import Image

import doctor_derma
from doctor_derma.decisions import RULES
from doctor_derma.errors import DermaError
from doctor_derma.images.decoding import DECODER, UnreadableImage
from doctor_derma.images.quality import quality_warnings
from doctor_derma.inference.classifier import Classifier
from tiny_bundle import (
    ALL_RULES,
    BETWEEN,
    BLUE,
    CLASSES,
    GREEN,
    MAP,
    RED,
    SIZE,
    TEMPERATURE,
    tiny_graph,
    write_bundle,
)


def solid(colour: tuple[int, int, int], size: tuple[int, int] = (40, 30)) -> Image.Image:
    return Image.new("RGB", size, colour)


def test_package_exports_the_classifier() -> None:
    assert doctor_derma.Classifier is Classifier
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = doctor_derma.Nothing


def test_describes_its_bundle(classifier: Classifier) -> None:
    assert classifier.name == classifier.info.name == "tiny"
    assert classifier.class_names == ("mel", "nv", "vasc")
    assert (classifier.height, classifier.width) == (SIZE, SIZE)


def test_known_colours_get_their_class(classifier: Classifier) -> None:
    predictions = classifier.predict([solid(RED), solid(GREEN), solid(BLUE)], batch_size=2)
    assert [prediction.label for prediction in predictions] == ["mel", "nv", "vasc"]
    for prediction in predictions:
        assert list(prediction.probabilities) == [name for name, _ in CLASSES]
        assert sum(prediction.probabilities.values()) == pytest.approx(1, abs=1e-6)
        # Evidence 6 everywhere over temperature 2, against 0 twice.
        expected = np.exp(3) / (np.exp(3) + 2)
        assert prediction.probabilities[prediction.label] == pytest.approx(expected, abs=1e-5)


def test_activation_map_belongs_to_the_label_and_its_place(classifier: Classifier) -> None:
    picture = np.zeros((SIZE, SIZE, 3), dtype=np.uint8)
    picture[: SIZE // 2, : SIZE // 2] = GREEN
    (prediction,) = classifier.predict(picture)
    assert prediction.label == "nv"
    assert prediction.activation_map.shape == (MAP, MAP)
    assert prediction.activation_map.dtype == np.float32
    expected = np.zeros((MAP, MAP))
    expected[: MAP // 2, : MAP // 2] = 6
    np.testing.assert_allclose(prediction.activation_map, expected, atol=1e-4)


@pytest.mark.parametrize("kind", ["path", "text", "bytes", "pil", "array"])
def test_every_source_gives_the_same(classifier: Classifier, tmp_path: Path, kind: str) -> None:
    image = solid((200, 30, 90))
    path = tmp_path / "image.png"
    image.save(path)
    source = {
        "path": path,
        "text": str(path),
        "bytes": path.read_bytes(),
        "pil": image,
        "array": np.asarray(image),
    }[kind]
    (single,) = classifier.predict(source)
    (listed,) = classifier.predict([source])
    assert single.probabilities == listed.probabilities
    assert single.probabilities == classifier.predict(image)[0].probabilities


def test_no_picture_gives_no_prediction(classifier: Classifier) -> None:
    assert classifier.predict([]) == []


def test_an_array_of_pictures_is_several(classifier: Classifier) -> None:
    batch = np.stack([np.asarray(solid(RED)), np.asarray(solid(BLUE))])
    assert [prediction.label for prediction in classifier.predict(batch)] == ["mel", "vasc"]


@given(
    pixels=arrays(np.uint8, st.tuples(st.integers(1, 5), *map(st.just, (SIZE, SIZE, 3)))),
    batch_size=st.integers(1, 6),
)
def test_maps_explain_probabilities_in_any_batch(
    classifier: Classifier, pixels: np.ndarray, batch_size: int
) -> None:
    probabilities, maps = classifier.predict_pixels(pixels)
    assert probabilities.dtype == maps.dtype == np.float32
    assert maps.shape == (len(pixels), len(CLASSES), MAP, MAP)
    logits = maps.mean(axis=(2, 3)) / TEMPERATURE
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    expected = shifted / shifted.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(probabilities, expected, atol=1e-5)
    for row, prediction in zip(probabilities, classifier.predict(pixels, batch_size), strict=True):
        np.testing.assert_allclose(list(prediction.probabilities.values()), row, atol=1e-6)


def test_a_clear_picture_has_one_class_and_no_abstention(classifier: Classifier) -> None:
    [prediction] = classifier.predict(solid(RED))
    assert prediction.prediction_set == ("mel",)
    assert prediction.unfamiliarity == pytest.approx(0, abs=1e-6)
    assert prediction.warnings == ()
    assert prediction.abstention is None


@pytest.fixture(scope="module")
def ruled(tmp_path_factory: pytest.TempPathFactory) -> Classifier:
    """A bundle that has every rule, the balanced one by default."""
    return Classifier.load(write_bundle(tmp_path_factory.mktemp("ruled"), decision=ALL_RULES))


def test_the_rule_decides_the_label_and_its_map_and_nothing_else(ruled: Classifier) -> None:
    found = {rule: ruled.predict(solid(BETWEEN), rule=rule)[0] for rule in RULES}
    assert {rule: prediction.label for rule, prediction in found.items()} == {
        "balanced": "mel",
        "most-probable": "nv",
        # 37% is over the threshold of 2%.
        "melanoma-first": "mel",
        # A vascular lesion is missed at 50, so its 3.5% are the dearest.
        "costs": "vasc",
        # 37% is over the threshold of 10%, too.
        "operating-point": "mel",
    }
    maps = ruled.predict_pixels(np.full((1, SIZE, SIZE, 3), BETWEEN, dtype=np.uint8))[1][0]
    for rule, prediction in found.items():
        assert prediction.rule == rule
        assert prediction.probabilities == found["balanced"].probabilities
        place = ruled.class_names.index(prediction.label)
        np.testing.assert_allclose(prediction.activation_map, maps[place], rtol=1e-5)


def test_the_bundle_says_which_rule_decides_where_none_is_named(
    ruled: Classifier, classifier: Classifier, tmp_path: Path
) -> None:
    assert ruled.predict(solid(BETWEEN))[0].rule == "balanced"
    # A bundle from before there were rules.
    [prediction] = classifier.predict(solid(BETWEEN))
    assert (prediction.label, prediction.rule) == ("nv", "most-probable")
    folder = write_bundle(tmp_path, decision=ALL_RULES)
    assert Classifier.load(folder, rule="costs").predict(solid(BETWEEN))[0].label == "vasc"
    cheap = Classifier.load(folder, costs={}).predict(solid(BETWEEN))[0]
    assert (cheap.label, cheap.rule) == ("nv", "costs")


def test_pictures_of_one_batch_may_have_rules_of_their_own(ruled: Classifier) -> None:
    asked = ("most-probable", None, "costs")
    pictures = [ruled.read(solid(BETWEEN))._replace(rule=rule) for rule in asked]
    assert [each.label for each in ruled.classify(pictures)] == ["nv", "mel", "vasc"]


def test_the_label_is_in_the_set_and_makes_it_unsure(ruled: Classifier) -> None:
    [plain] = ruled.predict(solid(RED), rule="most-probable")
    assert (plain.prediction_set, plain.abstention) == (("mel",), None)
    [costly] = ruled.predict(solid(RED), rule="costs")
    assert costly.label == "vasc"
    assert (costly.prediction_set, costly.abstention) == (("mel", "vasc"), "unsure")


def test_a_rule_that_the_model_lacks_is_refused(classifier: Classifier, tmp_path: Path) -> None:
    with pytest.raises(DermaError, match="no threshold for melanoma; use balanced, most-prob"):
        classifier.predict([], rule="melanoma-first")
    with pytest.raises(DermaError, match="no costs"):
        Classifier.load(write_bundle(tmp_path / "plain"), rule="costs")
    wrong = ALL_RULES.model_copy(update={"costs": {"bcc": {"nv": 2.0}}})
    folder = write_bundle(tmp_path / "wrong", decision=wrong)
    with pytest.raises(DermaError, match=r"model\.json: decision: costs: class 'bcc' is unknown"):
        Classifier.load(folder)


def test_between_two_classes_the_model_is_unsure(classifier: Classifier) -> None:
    [prediction] = classifier.predict(solid((255, 250, 0)))
    assert prediction.prediction_set == ("mel", "nv")
    assert prediction.abstention == "unsure"


def test_what_is_unlike_the_training_pictures_is_unfamiliar(classifier: Classifier) -> None:
    [prediction] = classifier.predict(solid((250, 200, 190)))
    assert prediction.unfamiliarity == pytest.approx(190 / 127.5, abs=1e-5)
    assert prediction.abstention == "unfamiliar"


@pytest.mark.parametrize(
    ("colour", "size", "warnings"),
    [
        ((5, 5, 5), (20, 20), ("dark",)),
        ((250, 250, 250), (20, 20), ("bright",)),
        ((200, 0, 0), (7, 20), ("small",)),
        ((0, 0, 0), (20, 7), ("dark", "small")),
    ],
)
def test_faults_of_a_picture_are_named(
    colour: tuple[int, int, int],
    size: tuple[int, int],
    warnings: tuple[str, ...],
    classifier: Classifier,
) -> None:
    [prediction] = classifier.predict(Image.new("RGB", size, colour))
    assert prediction.warnings == warnings


def test_a_blurred_picture_is_told_from_a_sharp_one(classifier: Classifier) -> None:
    limits = classifier.info.quality.model_copy(update={"blurriest": 100.0})
    info = classifier.info.model_copy(update={"quality": limits})
    sharp = np.zeros((SIZE, SIZE, 3), np.uint8)
    sharp[::2, ::2] = 255
    assert quality_warnings(sharp, (20, 20), info) == ()
    assert quality_warnings(np.full_like(sharp, 100), (20, 20), info) == ("blurred",)


def test_an_unreadable_picture_is_named(classifier: Classifier, tmp_path: Path) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"\xff\xd8 not really")
    with pytest.raises(UnreadableImage, match=r"broken\.jpg: "):
        classifier.predict([solid(RED), broken])
    with pytest.raises(UnreadableImage, match="image 1: empty file"):
        classifier.predict([solid(RED), b""])


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((1, SIZE + 1, SIZE, 3), np.uint8),
        np.zeros((SIZE, SIZE, 3), np.uint8),
        np.zeros((1, SIZE, SIZE, 3), np.float32),
    ],
)
def test_wrong_pixels_are_refused(classifier: Classifier, pixels: np.ndarray) -> None:
    with pytest.raises(DermaError, match=r"takes uint8 of shape \(n, 8, 8, 3\)"):
        classifier.predict_pixels(pixels)


def test_a_bundle_of_another_decoder_is_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = write_bundle(tmp_path)
    for version, lines in ((None, 0), (DECODER, 0), (DECODER - 1, 1)):
        made = None if version is None else {"version": version, "pillow": "1", "libvips": "2"}
        told = {**json.loads((folder / "model.json").read_text()), "decoder": made}
        (folder / "model.json").write_text(json.dumps(told))
        # Once, however often it is loaded.
        for _ in range(2):
            assert Classifier.load(folder, 1).predict(solid(RED))[0].label == "mel"
        assert len(caplog.messages) == lines
    assert caplog.messages[0].startswith(f"{folder}: fitted on images that were decoded in version")


def test_an_older_bundle_names_no_decoder(tmp_path: Path) -> None:
    folder = write_bundle(tmp_path)
    told = json.loads((folder / "model.json").read_text())
    del told["decoder"]
    (folder / "model.json").write_text(json.dumps(told))
    assert Classifier.load(folder).info.decoder is None


def test_wrong_settings_are_refused(classifier: Classifier, bundle: Path) -> None:
    with pytest.raises(DermaError, match="batch_size: 0"):
        classifier.predict([solid(RED)], batch_size=0)
    with pytest.raises(DermaError, match="threads: 0"):
        Classifier.load(bundle, threads=0)


def test_one_thread_gives_the_same(classifier: Classifier, bundle: Path) -> None:
    single = Classifier.load(str(bundle), threads=1)
    picture = solid((10, 200, 120))
    assert single.predict(picture)[0].probabilities == pytest.approx(
        classifier.predict(picture)[0].probabilities, abs=1e-6
    )


def without_softmax() -> onnx.ModelProto:
    graph = tiny_graph()
    graph.graph.node[-1].op_type = "Identity"
    del graph.graph.node[-1].attribute[:]
    return graph


def of_floats() -> onnx.ModelProto:
    graph = tiny_graph()
    graph.graph.input[0].type.tensor_type.elem_type = TensorProto.FLOAT
    return graph


def without_maps() -> onnx.ModelProto:
    graph = tiny_graph()
    del graph.graph.output[1]
    return graph


def without_unfamiliarity() -> onnx.ModelProto:
    graph = tiny_graph()
    del graph.graph.output[2]
    return graph


def one_at_a_time() -> onnx.ModelProto:
    graph = tiny_graph()
    graph.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    return graph


@pytest.mark.parametrize(
    ("graph", "reason"),
    [
        (tiny_graph(input_name="pixels"), "its input is pixels"),
        (tiny_graph(size=16), r"its input has the shape \['n', 16, 16, 3\], but model.json"),
        (tiny_graph(classes=4), "names 3 classes"),
        (of_floats(), r"its input is images tensor\(float\)"),
        (without_maps(), "its output activation_maps is missing"),
        (without_softmax(), "don't sum to 1"),
        (without_unfamiliarity(), "its output unfamiliarity is missing"),
        (one_at_a_time(), "its input has the shape"),
        (b"not a graph", "can't load this graph"),
        (b"", "can't load this graph"),
    ],
)
def test_a_graph_that_does_not_fit_is_one_sentence(
    tmp_path: Path, graph: onnx.ModelProto | bytes, reason: str, capfd: pytest.CaptureFixture
) -> None:
    bundle = write_bundle(tmp_path, graph)
    with pytest.raises(DermaError, match=rf"model\.onnx: .*{reason}") as caught:
        Classifier.load(bundle)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr().err == ""
