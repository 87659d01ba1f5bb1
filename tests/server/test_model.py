"""``GET /v1/model`` and the model card."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from doctor_derma.decisions import MEANINGS, RULES
from doctor_derma.inference.classifier import Classifier
from doctor_derma.inference.prediction import NOTICE
from server.fake_engine import FakeEngine, make_api
from tiny_bundle import ALL_RULES, write_bundle

CARD = "---\nlicense: mit\n---\n# Tiny\n\nNot for <b>people</b>.\n"


@pytest.fixture
def client(classifier: Classifier, tmp_path: Path) -> Iterator[TestClient]:
    bundle = write_bundle(tmp_path)
    (bundle / "README.md").write_text(CARD)
    with TestClient(make_api(FakeEngine(classifier), bundle)) as client:
        yield client


def test_the_provenance_is_all_of_model_json(client: TestClient, bundle: Path) -> None:
    told = client.get("/v1/model").json()
    written = json.loads((bundle / "model.json").read_text())
    for key in (
        *("data", "code", "recipe", "metrics", "classes"),
        *("input", "parity", "conformal", "decision"),
    ):
        assert told[key] == written[key]
    assert told["weights_sha256"] == written["weights"]["sha256"]
    assert told["notice"] == NOTICE
    assert client.get(told["card"]).status_code == 200


def test_the_rules_that_may_be_asked_for_are_told_with_what_they_do(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path, decision=ALL_RULES)
    with TestClient(make_api(FakeEngine(Classifier.load(bundle)), bundle)) as client:
        told = client.get("/v1/model").json()
    assert [rule["name"] for rule in told["rules"]] == list(RULES)
    assert told["decision"]["default"] == "balanced"
    for rule in told["rules"]:
        assert rule["meaning"] == MEANINGS[rule["name"]]
    assert [rule["expectation"] for rule in told["rules"]] == [
        *(None, None),
        "The threshold is 2.0%: where it was chosen it found 80% of 20 melanomas (95% interval "
        "70% to 90%) and spared 90% of 80 other images (85% to 95%).",
        None,
        "Chosen for malignant (mel) by a specificity of 50% with a threshold of 10.0%; on 100 "
        "images that training has not seen: sensitivity 90% (95% interval 80% to 100%), "
        "specificity 50% (95% interval 40% to 60%), called so 60% (95% interval 50% to 70%).",
    ]


def test_a_model_without_a_threshold_or_costs_offers_two_rules(client: TestClient) -> None:
    rules = client.get("/v1/model").json()["rules"]
    assert [rule["name"] for rule in rules] == ["balanced", "most-probable"]


def test_the_card_is_markdown_and_a_page(client: TestClient) -> None:
    card = client.get("/v1/model/card")
    assert card.headers["content-type"] == "text/markdown; charset=utf-8"
    assert card.text == CARD
    page = client.get("/card")
    assert page.headers["content-type"].startswith("text/html")
    assert "<h1>Tiny</h1>" in page.text
    assert "&lt;b&gt;people" in page.text
