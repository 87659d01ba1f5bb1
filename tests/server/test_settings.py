"""Settings from the environment."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from doctor_derma.errors import DermaError
from doctor_derma.server.settings import Settings


def test_defaults_without_any_variable() -> None:
    assert Settings.from_environment({}) == Settings()
    assert Settings().queue_limit == 64
    assert Settings().api_keys == frozenset()


def test_every_field_is_read() -> None:
    variables = {
        "DERMA_QUEUE_LIMIT": " 8 ",
        "DERMA_MAX_BATCH": "4",
        "DERMA_DEADLINE_SECONDS": "2.5",
        "DERMA_API_KEYS": "first, second,,",
        "DERMA_CORS_ORIGINS": "https://a.example,http://localhost:3000",
        "DERMA_PER_CLIENT_LIMIT": "3",
        "DERMA_WORKERS": "2",
        "DERMA_RULE": "melanoma-first",
        "DERMA_LOG_FORMAT": "text",
        "DERMA_LOG_CLIENTS": "yes",
        "DERMA_ROOT": "/elsewhere",
    }
    assert Settings.from_environment(variables) == Settings(
        queue_limit=8,
        max_batch=4,
        deadline_seconds=2.5,
        api_keys=frozenset({"first", "second"}),
        cors_origins=("https://a.example", "http://localhost:3000"),
        per_client_limit=3,
        workers=2,
        rule="melanoma-first",
        log_format="text",
        log_clients=True,
    )


def test_the_process_environment_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DERMA_QUEUE_LIMIT", "7")
    assert Settings.from_environment().queue_limit == 7


def test_an_empty_variable_is_unset() -> None:
    assert Settings.from_environment({"DERMA_QUEUE_LIMIT": " "}) == Settings()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DERMA_QUEUE_LIMIT", "0"),
        ("DERMA_QUEUE_LIMIT", "many"),
        ("DERMA_MAX_BATCH", "-1"),
        ("DERMA_RULE", "coin"),
        ("DERMA_DEADLINE_SECONDS", "0"),
        ("DERMA_DEADLINE_SECONDS", "inf"),
        ("DERMA_DEADLINE_SECONDS", "nan"),
        ("DERMA_PER_CLIENT_LIMIT", "0"),
        ("DERMA_WORKERS", "1.5"),
        ("DERMA_LOG_FORMAT", "xml"),
        ("DERMA_LOG_CLIENTS", "perhaps"),
        ("DERMA_CORS_ORIGINS", "*"),
        ("DERMA_CORS_ORIGINS", "https://a.example/path"),
        ("DERMA_CORS_ORIGINS", "a.example"),
    ],
)
def test_a_bad_value_is_one_sentence_with_its_variable(name: str, value: str) -> None:
    with pytest.raises(DermaError, match=f"^{name}: .+; change it, or unset it") as error:
        Settings.from_environment({name: value})
    assert len(str(error.value).splitlines()) == 1


@given(value=st.text())
def test_no_value_is_more_than_a_derma_error(value: str) -> None:
    for name in Settings.model_fields:
        # What it raises for a bad one is checked above; anything but a DermaError fails here.
        with suppress(DermaError):
            Settings.from_environment({f"DERMA_{name.upper()}": value})


def test_keys_are_not_shown() -> None:
    assert "secret" not in repr(Settings(api_keys=frozenset({"secret"})))
