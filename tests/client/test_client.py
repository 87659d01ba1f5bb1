"""Both clients against a real server: the same predictions as the model at hand."""

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import numpy as np
import pytest
from PIL import Image

from client.conftest import KEY, Server
from doctor_derma.client import AsyncClient, Client, ProblemError, Retries, Unreachable
from doctor_derma.client.answers import UnexpectedAnswer
from doctor_derma.client.pictures import GROUP_PICTURES, encode, grouped
from doctor_derma.errors import DermaError
from doctor_derma.images.decoding import UnreadableImage
from doctor_derma.inference.classifier import Classifier
from doctor_derma.inference.patient import Patient
from doctor_derma.inference.prediction import Prediction
from doctor_derma.server.app import create_app
from doctor_derma.server.engine.engine import Overloaded
from images.test_dicom import dicom
from server.fake_engine import encoded
from server.live import serving
from tiny_bundle import BETWEEN, BLUE, GREEN, PATIENT, RED, write_bundle

FAST = Retries(attempts=3, first_seconds=0.01, patience_seconds=5)
Ask = Callable[..., Any]


@pytest.fixture(params=["sync", "async"])
def ask(request: pytest.FixtureRequest, server: Server) -> Ask:
    """Call a method of either client by name."""

    def call(method: str, *arguments: Any, url: str = server.url, key: str | None = KEY) -> Any:
        if request.param == "sync":
            with Client(url, key, retries=FAST) as client:
                answer = getattr(client, method)(*arguments)
                return list(answer) if method == "predict_batch" else answer

        async def run() -> Any:
            async with AsyncClient(url, key, retries=FAST) as client:
                answer = getattr(client, method)(*arguments)
                if method == "predict_batch":
                    return [outcome async for outcome in answer]
                return await answer

        return anyio.run(run)

    return call


def assert_same(found: Prediction, expected: Prediction) -> None:
    np.testing.assert_allclose(found.activation_map, expected.activation_map, rtol=1e-6)
    assert list(found.probabilities) == list(expected.probabilities)
    assert found.probabilities == pytest.approx(expected.probabilities)
    for name in ("label", "rule", "prediction_set", "abstention", "warnings"):
        assert getattr(found, name) == getattr(expected, name)


@pytest.mark.parametrize("form", ["path", "str", "bytes", "image", "array"])
def test_a_picture_from_anywhere_is_what_the_classifier_says(
    ask: Ask, server: Server, tmp_path: Path, form: str
) -> None:
    path = tmp_path / "private.png"
    path.write_bytes(encoded(GREEN))
    image = Image.open(path)
    sources = {
        "path": path,
        "str": str(path),
        "bytes": path.read_bytes(),
        "image": image,
        "array": np.asarray(image),
    }
    found = ask("predict", sources[form])
    assert_same(found, server.classifier.predict(path)[0])


def test_a_rule_may_be_asked_for(ask: Ask, server: Server) -> None:
    picture = encoded(BETWEEN)
    for rule, label in ((None, "nv"), ("most-probable", "nv"), ("balanced", "mel")):
        found = ask("predict", picture, rule)
        assert found.label == label
        assert_same(found, server.classifier.predict(picture, rule=rule)[0])
        assert [each.label for each in ask("predict", [picture], rule)] == [label]
        assert [each.label for each in ask("predict_batch", [picture], rule)] == [label]
    for method, pictures in (("predict", picture), ("predict_batch", [picture])):
        with pytest.raises(ProblemError, match="Rule 'costs': this model has no costs; use"):
            ask(method, pictures, "costs")


def test_a_list_gives_a_list_and_raises_for_a_bad_picture(ask: Ask) -> None:
    labels = [each.label for each in ask("predict", [encoded(BLUE), encoded(RED)])]
    assert labels == ["vasc", "mel"]
    assert ask("predict", []) == []
    with pytest.raises(ProblemError, match=r"^Picture can't be decoded \(422\): Empty file\.$"):
        ask("predict", [encoded(BLUE), b""])


def test_a_batch_has_an_outcome_for_every_picture(ask: Ask, tmp_path: Path) -> None:
    pictures = [encoded(RED), b"nonsense", tmp_path / "missing.png", tmp_path, encoded(BLUE)]
    outcomes = ask("predict_batch", pictures * 10)
    assert len(outcomes) == 50 > GROUP_PICTURES
    for start in range(0, 50, 5):
        first, second, third, fourth, fifth = outcomes[start : start + 5]
        assert (first.label, fifth.label) == ("mel", "vasc")
        assert isinstance(second, ProblemError)
        assert (second.status, second.type) == (415, "/problems/wrong-type")
        assert isinstance(third, UnreadableImage)
        assert str(third) == "no such file"
        assert str(fourth) == "a folder, not a picture"


def test_a_group_is_small_enough_for_a_slow_connection() -> None:
    sizes = [1_500_000, 1_500_000, 1_500_000, 9_000_000, 100]
    groups = [list(map(len, group)) for group in grouped(bytes(size) for size in sizes)]  # type: ignore[arg-type]
    assert groups == [[1_500_000, 1_500_000], [1_500_000], [9_000_000], [100]]


def test_a_file_that_no_server_takes_is_not_sent(ask: Ask, tmp_path: Path) -> None:
    large = tmp_path / "large.png"
    with large.open("wb") as stream:
        stream.truncate(600_000_000)
    first, second, third = ask("predict_batch", [encoded(RED), large, encoded(BLUE)])
    assert (first.label, third.label) == ("mel", "vasc")
    assert isinstance(second, UnreadableImage)
    assert second.kind == "large"
    assert str(second) == "the picture is over 20 MB; send a smaller or more compressed one"


def test_a_large_dicom_file_is_sent_as_a_png(tmp_path: Path) -> None:
    path = tmp_path / "large.dcm"
    path.write_bytes(dicom(np.full((2600, 2600, 3), RED, np.uint8)))
    assert path.stat().st_size > 20_000_000
    assert encode(path).startswith(b"\x89PNG")


def test_a_busy_server_is_asked_again(ask: Ask, server: Server) -> None:
    server.engine.errors += [Overloaded(0), Overloaded(0)]
    assert ask("predict", encoded(RED)).label == "mel"
    server.engine.errors += [Overloaded(100)]
    assert [each.label for each in ask("predict_batch", [encoded(RED)] * 3)] == ["mel"] * 3


def test_patience_ends(ask: Ask, server: Server) -> None:
    server.engine.errors += [Overloaded(0)] * 3
    with pytest.raises(ProblemError) as refused:
        ask("predict", encoded(RED))
    assert (refused.value.status, refused.value.title) == (503, "Busy")
    assert refused.value.detail.startswith("Too many pictures are waiting")


def test_without_a_key_the_server_says_what_it_wants(ask: Ask) -> None:
    with pytest.raises(ProblemError) as refused:
        ask("predict", encoded(RED), key=None)
    assert refused.value.status == 401
    with pytest.raises(ProblemError, match="not one of the server's"):
        ask("predict_batch", [encoded(RED)], key="another")


def test_white_space_around_a_key_is_none_of_it(ask: Ask) -> None:
    assert ask("predict", encoded(RED), key=f" {KEY}\n").label == "mel"


@pytest.mark.parametrize("key", ["schlüssel", "two\nlines", "", " \n"])
def test_a_key_that_no_header_can_hold_is_one_sentence(key: str) -> None:
    with pytest.raises(DermaError, match=r"^API key: a key has ASCII letters.*; copy it anew"):
        Client("http://localhost:5555", key)


def test_model_card_and_readiness(ask: Ask, server: Server) -> None:
    model = ask("model")
    assert model.name == "tiny"
    assert [each.name for each in model.classes] == ["mel", "nv", "vasc"]
    assert ask("model_card") == "# Tiny\n"
    assert ask("ready") is True
    server.engine.ready = False
    assert ask("ready") is False


def test_nobody_there(ask: Ask) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    assert ask("ready", url=url) is False
    with pytest.raises(Unreachable, match=rf"^{url}: no answer .*; see whether a server is"):
        ask("predict", encoded(RED), url=url)


def test_another_kind_of_server_is_told_apart(ask: Ask, server: Server) -> None:
    with pytest.raises(UnexpectedAnswer, match="no Doctor Derma server"):
        ask("model", url=f"{server.url}/openapi.json?")


@pytest.mark.parametrize("url", ["localhost:5555", "ftp://host", "http://", "http://[::1"])
def test_a_wrong_address_is_one_sentence(url: str) -> None:
    with pytest.raises(DermaError, match="give one such as http://localhost:5555"):
        Client(url)


def test_patient_data_go_with_the_pictures(ask: Ask, tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path, patient=PATIENT)
    patient = Patient(age=90, site="face")
    [expected] = Classifier.load(bundle).predict(encoded(BETWEEN), patient=patient)
    with serving(create_app(bundle)) as url:
        one = ask("predict", encoded(BETWEEN), None, patient, url=url)
        several = ask("predict_batch", [encoded(BETWEEN)] * 2, None, patient, url=url)
    for found in (one, *several):
        assert_same(found, expected)
        assert found.patient_data == ("age", "site")
