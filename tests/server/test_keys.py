"""API keys and other sites' pages."""

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urljoin

import pytest
from fastapi.testclient import TestClient

from doctor_derma.inference.classifier import Classifier
from doctor_derma.server.settings import Settings
from server.fake_engine import FakeEngine, encoded, make_api
from tiny_bundle import RED

SITE = "https://clinic.example"
SETTINGS = Settings(api_keys=frozenset({"first-key", "second-key"}), cors_origins=(SITE,))


@pytest.fixture
def client(classifier: Classifier, bundle: Path) -> Iterator[TestClient]:
    with TestClient(make_api(FakeEngine(classifier), bundle, SETTINGS)) as client:
        yield client


@pytest.mark.parametrize("path", ["/predict", "/v1/predict", "/v1/predict/batch"])
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"Authorization": "Bearer wrong"}, 401),
        ({"Authorization": "Basic first-key"}, 401),
        ({"X-API-Key": "first-ke"}, 401),
        ({"X-API-Key": ""}, 401),
        ({"X-API-Key": "schlüssel".encode()}, 401),
        ({"Authorization": "Bearer first-key"}, 200),
        ({"X-API-Key": "second-key"}, 200),
    ],
)
def test_pictures_need_a_key(client: TestClient, path: str, headers: dict, status: int) -> None:
    field = "images" if path.endswith("batch") else "image"
    response = client.post(path, files={field: encoded(RED)}, headers=headers)
    assert response.status_code == status
    if status == 401:
        assert response.headers["www-authenticate"] == "Bearer"
        assert urljoin(path, response.json()["type"]) == "/problems/key-needed"


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/model", "/v1/model", "/openapi.json"])
def test_what_the_server_is_needs_none(client: TestClient, path: str) -> None:
    assert client.get(path).status_code == 200


def test_openapi_names_both_ways_to_send_a_key(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    schemes = document["components"]["securitySchemes"]
    assert schemes["APIKeyHeader"]["name"] == "X-API-Key"
    assert schemes["HTTPBearer"]["scheme"] == "bearer"
    security = document["paths"]["/v1/predict"]["post"]["security"]
    assert security == [{"HTTPBearer": []}, {"APIKeyHeader": []}]
    assert "security" not in document["paths"]["/v1/model"]["get"]


def test_only_listed_sites_may_ask_from_a_browser(client: TestClient) -> None:
    preflight = {
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "x-api-key",
    }
    allowed = client.options("/v1/predict", headers={"Origin": SITE, **preflight})
    assert allowed.status_code == 200
    assert allowed.headers["access-control-allow-origin"] == SITE
    other = client.options("/v1/predict", headers={"Origin": "https://evil.example", **preflight})
    assert other.status_code == 400
    assert "access-control-allow-origin" not in other.headers
    # A refusal is readable for the page that asked, and so is when to come back.
    refused = client.post("/v1/predict", headers={"Origin": SITE})
    assert refused.status_code == 401
    assert refused.headers["access-control-allow-origin"] == SITE
    assert "Retry-After" in refused.headers["access-control-expose-headers"]
