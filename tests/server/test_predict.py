"""``POST /v1/predict``: one picture, several, raw ones, and maps."""

import base64
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urljoin

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from doctor_derma.inference.classifier import Classifier
from doctor_derma.inference.patient import Patient
from doctor_derma.server.answers import VIRIDIS, draw_map
from doctor_derma.server.app import create_app
from doctor_derma.server.engine.engine import DeadlineExceeded, Overloaded
from doctor_derma.server.routes.pages import STATIC
from doctor_derma.server.routes.predict import MAX_PICTURES
from doctor_derma.server.uploads import MAX_IMAGE_BYTES
from server.fake_engine import FakeEngine, encoded, make_api
from tiny_bundle import BETWEEN, BLUE, GREEN, PATIENT, RED, SIZE, write_bundle


@pytest.fixture
def engine(classifier: Classifier) -> FakeEngine:
    return FakeEngine(classifier)


@pytest.fixture
def client(engine: FakeEngine, bundle: Path) -> Iterator[TestClient]:
    with TestClient(make_api(engine, bundle), raise_server_exceptions=False) as client:
        yield client


def test_one_picture_gets_one_answer(client: TestClient, classifier: Classifier) -> None:
    picture = encoded(GREEN)
    body = client.post("/v1/predict", files={"image": picture}).json()
    (expected,) = classifier.predict(picture)
    assert (body["label"], body["full_name"]) == ("nv", "Melanocytic nevus")
    assert body["prediction_set"] == list(expected.prediction_set)
    assert body["activation_map"] is None
    assert body["activation_map_png"] is None
    found = {each["name"]: each["probability"] for each in body["probabilities"]}
    assert found == pytest.approx(expected.probabilities)
    places = {each["name"]: each["index"] for each in body["probabilities"]}
    assert places == {"mel": 0, "nv": 1, "vasc": 2}


@pytest.mark.parametrize("path", ["/v1/predict", "/v1/predict/batch"])
def test_a_rule_may_be_asked_for(client: TestClient, path: str) -> None:
    field = "images" if path.endswith("batch") else "image"
    for query, label, rule in (
        ("", "nv", "most-probable"),
        ("?rule=balanced", "mel", "balanced"),
        ("?rule=most-probable&activation_map=grid", "nv", "most-probable"),
    ):
        body = client.post(path + query, files={field: encoded(BETWEEN)}).json()
        body = body.get("answer", body)
        assert (body["label"], body["rule"]) == (label, rule)
        assert [each["name"] for each in body["probabilities"]] == ["nv", "mel", "vasc"]
    several = client.post("/v1/predict?rule=balanced", files={"images": encoded(BETWEEN)}).json()
    assert several["items"][0]["answer"]["label"] == "mel"
    for rule, sentence in (
        ("costs", "Rule 'costs': this model has no costs; use balanced, most-probable."),
        ("coin", "Input should be 'balanced'"),
    ):
        refused = client.post(f"{path}?rule={rule}", files={field: encoded(RED)})
        assert (refused.status_code, urljoin(path, refused.json()["type"])) == (
            422,
            "/problems/invalid",
        )
        assert sentence in refused.json()["detail"]


@pytest.mark.parametrize("path", ["/v1/predict", "/v1/predict/batch"])
def test_patient_data_are_weighed_beside_the_picture(tmp_path: Path, path: str) -> None:
    bundle = write_bundle(tmp_path, patient=PATIENT)
    classifier = Classifier.load(bundle)
    field = "images" if path.endswith("batch") else "image"
    [expected] = classifier.predict(encoded(BETWEEN), patient=Patient(age=90, site="face"))
    with TestClient(create_app(bundle)) as client:
        body = client.post(f"{path}?age=90&site=face", files={field: encoded(BETWEEN)}).json()
        body = body.get("answer", body)
        assert body["patient_data"] == ["age", "site"]
        assert body["label"] == expected.label == "mel"
        found = {each["name"]: each["probability"] for each in body["probabilities"]}
        assert found == pytest.approx(expected.probabilities)
        several = client.post(f"{path}?sex=male", files=[("images", encoded(RED))] * 2)
        items = [json.loads(line) for line in several.text.splitlines()]
        items = items[0].get("items", items)
        assert [item["answer"]["patient_data"] for item in items] == [["sex"], ["sex"]]
        plain = client.post(path, files={field: encoded(BETWEEN)}).json()
        assert plain.get("answer", plain)["patient_data"] == []
        assert client.get("/v1/model").json()["patient_sites"] == ["back", "face"]
        for query, sentence in (
            ("site=elbow", "Site: 'elbow' is unknown; use back, face."),
            ("age=121", "less than or equal to 120"),
            ("sex=other", "Input should be 'female' or 'male'"),
        ):
            refused = client.post(f"{path}?{query}", files={field: encoded(RED)})
            assert refused.status_code == 422
            assert sentence in refused.json()["detail"]


def test_a_model_of_pictures_alone_refuses_patient_data(client: TestClient) -> None:
    refused = client.post("/v1/predict?age=50", files={"image": encoded(RED)})
    assert refused.status_code == 422
    assert "Age: this model, tiny, looks at pictures alone" in refused.json()["detail"]
    assert client.get("/v1/model").json()["patient_sites"] is None


@pytest.mark.parametrize(
    "media_type", ["image/png", "image/x-anything", "application/octet-stream"]
)
def test_a_raw_picture_needs_no_form(client: TestClient, media_type: str) -> None:
    response = client.post(
        "/v1/predict", content=encoded(RED, "JPEG"), headers={"content-type": media_type}
    )
    assert response.json()["label"] == "mel"
    assert response.headers["cache-control"] == "no-store"


def test_several_pictures_are_answered_or_refused_in_their_order(client: TestClient) -> None:
    pictures = [encoded(RED), b"", encoded(BLUE), b"not a picture"]
    response = client.post("/v1/predict", files=[("image", picture) for picture in pictures])
    assert response.status_code == 200
    items = response.json()["items"]
    assert [item["index"] for item in items] == [0, 1, 2, 3]
    assert [item["answer"] and item["answer"]["label"] for item in items] == [
        *("mel", None, "vasc", None)
    ]
    assert [item["problem"] and item["problem"]["status"] for item in items] == [
        *(None, 422, None, 415)
    ]
    assert "private" not in response.text


def test_the_field_images_always_gets_a_list(client: TestClient) -> None:
    (item,) = client.post("/v1/predict", files={"images": encoded(RED)}).json()["items"]
    assert item["answer"]["label"] == "mel"


def test_the_map_comes_as_numbers_or_as_a_png(client: TestClient, classifier: Classifier) -> None:
    files = {"image": encoded(GREEN)}
    (expected,) = classifier.predict(files["image"])
    grid = client.post("/v1/predict?activation_map=grid", files=files).json()
    np.testing.assert_allclose(grid["activation_map"], expected.activation_map, rtol=1e-6)
    assert grid["activation_map_png"] is None
    png = client.post("/v1/predict?activation_map=png", files=files).json()
    assert png["activation_map"] is None
    with Image.open(io.BytesIO(base64.b64decode(png["activation_map_png"]))) as image:
        assert (image.format, image.size, image.mode) == ("PNG", (SIZE, SIZE), "RGB")


def test_a_drawn_map_goes_from_blue_to_yellow() -> None:
    drawn = draw_map(np.array([[0.0, 1.0]], dtype=np.float32), 2, 8)
    pixels = np.asarray(Image.open(io.BytesIO(drawn)))
    np.testing.assert_array_equal(pixels[0, 0], (68, 1, 84))
    np.testing.assert_array_equal(pixels[1, -1], (253, 231, 37))
    flat = np.asarray(Image.open(io.BytesIO(draw_map(np.full((3, 3), 7.0), 4, 4))))
    assert (flat == (68, 1, 84)).all()


def test_the_page_draws_maps_in_the_same_colours() -> None:
    script = (STATIC / "pictures.js").read_text()
    [stops] = re.findall(r"^const VIRIDIS = (.+?);$", script, re.MULTILINE | re.DOTALL)
    assert json.loads(stops) == VIRIDIS.tolist()


def test_too_many_pictures_are_refused(client: TestClient) -> None:
    files = [("images", b"x")] * (MAX_PICTURES + 1)
    response = client.post("/v1/predict", files=files)
    assert response.status_code == 400
    assert response.json()["detail"] == "Too many files: send at most 32 at a time."


def test_one_large_picture_leaves_the_others_alone(client: TestClient) -> None:
    large = bytes(MAX_IMAGE_BYTES + 1)
    body = client.post("/v1/predict", files=[("images", large), ("images", encoded(BLUE))]).json()
    assert body["items"][0]["problem"]["status"] == 413
    assert body["items"][1]["answer"]["label"] == "vasc"


def test_a_busy_engine_is_503_for_one_picture(client: TestClient, engine: FakeEngine) -> None:
    engine.errors.append(Overloaded(7))
    response = client.post("/v1/predict", files={"image": encoded(RED)})
    assert response.status_code == 503
    assert response.headers["retry-after"] == "7"
    assert response.json()["type"] == "../problems/overloaded"


def test_several_pictures_wait_for_a_busy_engine(client: TestClient, engine: FakeEngine) -> None:
    engine.errors += [Overloaded(0), DeadlineExceeded(), Overloaded(100)]
    files = [("images", encoded(RED))] * 3
    items = client.post("/v1/predict", files=files).json()["items"]
    # The first tries again and is answered; nobody waits 100 seconds.
    told = [item["problem"] and item["problem"]["type"] for item in items]
    assert told == [None, "../problems/late", "../problems/overloaded"]
    assert [busy.retry_after for busy in engine.given_up] == [100]
