"""What the OpenAPI document says is what the server does, asked by schemathesis."""

from collections.abc import Iterator

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode, checks
from schemathesis.schemas import BaseSchema

from doctor_derma.server.app import create_app
from server.live import serving
from tiny_bundle import write_bundle

OPERATIONS = (
    *(("POST", "/v1/predict"), ("POST", "/v1/predict/batch"), ("POST", "/predict")),
    *(("GET", "/v1/model"), ("GET", "/v1/model/card"), ("GET", "/model")),
    *(("GET", "/healthz"), ("GET", "/readyz"), ("GET", "/metrics")),
)
checks.load_all_checks()
# All but those that can't know what a picture is: bytes that the document allows are refused, and
# several pictures are answered one by one, with a problem for each that is none.
CHECKS = checks.CHECKS.get_by_names(
    [
        *("not_a_server_error", "status_code_conformance", "content_type_conformance"),
        *("response_headers_conformance", "response_schema_conformance"),
        *("unsupported_method", "allow_header_conformance"),
    ]
)


@pytest.fixture(scope="module")
def described(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BaseSchema]:
    bundle = write_bundle(tmp_path_factory.mktemp("bundle"))
    (bundle / "README.md").write_text("# Tiny\n")
    with serving(create_app(bundle)) as url:
        yield schemathesis.openapi.from_url(f"{url}/openapi.json")


def test_every_operation_is_asked(described: BaseSchema) -> None:
    operations = (each.ok() for each in described.get_all_operations())
    assert {(each.method.upper(), each.path) for each in operations} == set(OPERATIONS)


@pytest.mark.parametrize(
    ("method", "path", "mode"),
    [
        *((method, path, GenerationMode.POSITIVE) for method, path in OPERATIONS),
        # The others take nothing that could be wrong.
        *((method, path, GenerationMode.NEGATIVE) for method, path in OPERATIONS[:3]),
    ],
)
def test_every_answer_is_as_described(
    described: BaseSchema, method: str, path: str, mode: GenerationMode
) -> None:
    @settings(
        max_examples=25,
        derandomize=True,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        database=None,
    )
    @given(case=described[path][method].as_strategy(generation_mode=mode))
    def ask(case: schemathesis.Case) -> None:
        case.call_and_validate(checks=CHECKS)

    ask()
