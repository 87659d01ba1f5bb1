"""Settings from the environment."""

import os
from contextlib import suppress
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from doctor_derma.errors import DermaError
from doctor_derma.server.settings import Settings

ENVIRONABLE = st.text(st.characters(codec="utf-8", exclude_characters="\0"))


def given_by(**variables: str) -> Settings:
    with mock.patch.dict(os.environ, variables):
        return Settings.from_environment()


def test_defaults_without_any_variable() -> None:
    settings = Settings.from_environment()
    assert (settings.queue_limit, settings.max_batch, settings.deadline_seconds) == (64, 2, 10.0)
    assert (settings.per_client_limit, settings.workers, settings.health_port) == (48, 1, None)
    assert (settings.api_keys, settings.cors_origins, settings.rule) == (frozenset(), (), None)
    assert (settings.log_format, settings.log_clients) == ("auto", False)
    assert settings.local_site is None
    assert settings.providers == ("CPUExecutionProvider",)


def test_every_field_is_read(tmp_path: Path) -> None:
    (tmp_path / "index.html").touch()
    settings = given_by(
        DERMA_QUEUE_LIMIT=" 8 ",
        DERMA_MAX_BATCH="3",
        DERMA_DEADLINE_SECONDS="2.5",
        DERMA_API_KEYS="first, second,,",
        DERMA_CORS_ORIGINS="https://a.example,http://localhost:3000",
        DERMA_PER_CLIENT_LIMIT="3",
        DERMA_WORKERS="2",
        DERMA_HEALTH_PORT="5556",
        DERMA_RULE="melanoma-first",
        DERMA_PROVIDERS="CUDA, cpu",
        DERMA_LOCAL_SITE=str(tmp_path),
        DERMA_LOG_FORMAT="text",
        DERMA_LOG_CLIENTS="yes",
        DERMA_ROOT="/elsewhere",
    )
    assert settings.model_dump() == {
        "queue_limit": 8,
        "max_batch": 3,
        "deadline_seconds": 2.5,
        "api_keys": frozenset({"first", "second"}),
        "cors_origins": ("https://a.example", "http://localhost:3000"),
        "per_client_limit": 3,
        "workers": 2,
        "health_port": 5556,
        "rule": "melanoma-first",
        "providers": ("CUDAExecutionProvider", "CPUExecutionProvider"),
        "local_site": tmp_path,
        "log_format": "text",
        "log_clients": True,
    }


def test_what_is_given_goes_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DERMA_QUEUE_LIMIT", "7")
    assert Settings(queue_limit=9).queue_limit == 9


@pytest.mark.parametrize("empty", ["", " "])
def test_an_empty_variable_is_unset(empty: str) -> None:
    assert given_by(DERMA_QUEUE_LIMIT=empty, DERMA_API_KEYS=empty, DERMA_RULE=empty) == Settings()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DERMA_QUEUE_LIMIT", "0"),
        ("DERMA_QUEUE_LIMIT", "many"),
        ("DERMA_MAX_BATCH", "-1"),
        ("DERMA_RULE", "coin"),
        ("DERMA_PROVIDERS", "cuda;cpu"),
        ("DERMA_DEADLINE_SECONDS", "0"),
        ("DERMA_DEADLINE_SECONDS", "inf"),
        ("DERMA_DEADLINE_SECONDS", "nan"),
        ("DERMA_PER_CLIENT_LIMIT", "0"),
        ("DERMA_WORKERS", "1.5"),
        ("DERMA_HEALTH_PORT", "70000"),
        ("DERMA_LOG_FORMAT", "xml"),
        ("DERMA_LOG_CLIENTS", "perhaps"),
        ("DERMA_API_KEYS", ","),
        ("DERMA_API_KEYS", "good,schlüssel"),
        ("DERMA_API_KEYS", "two words"),
        ("DERMA_CORS_ORIGINS", "*"),
        ("DERMA_CORS_ORIGINS", "https://a.example/path"),
        ("DERMA_CORS_ORIGINS", "a.example"),
    ],
)
def test_a_bad_value_is_one_sentence_with_its_variable(name: str, value: str) -> None:
    with pytest.raises(DermaError, match=f"^{name}: .+; change it, or unset it") as error:
        given_by(**{name: value})
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.slow
@given(value=ENVIRONABLE)
@settings(deadline=None)
def test_no_value_is_more_than_a_derma_error(value: str) -> None:
    for name in Settings.model_fields:
        # What it raises for a bad one is checked above; anything but a DermaError fails here.
        with suppress(DermaError):
            given_by(**{f"DERMA_{name.upper()}": value})


def test_keys_are_not_shown() -> None:
    assert "secret" not in repr(Settings(api_keys=frozenset({"secret"})))
    with pytest.raises(DermaError) as refused:
        given_by(DERMA_API_KEYS="geheimer schlüssel")
    assert "schlüssel" not in str(refused.value)


def test_white_space_around_a_key_is_none_of_it() -> None:
    assert Settings(api_keys=frozenset({" a-key\n"})).api_keys == {"a-key"}
