"""What a server can be told, from the environment variables ``DERMA_*``."""

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from doctor_derma.decisions import Rule
from doctor_derma.errors import DermaError, first_mistake
from doctor_derma.inference.providers import CPU, named_providers

PREFIX = "DERMA_"
_ORIGIN = re.compile(r"https?://[^/\s]+")
_KEY = re.compile(r"[!-~]+")


def clean_key(key: str) -> str:
    """Return an API key without the white space around it.

    Raises
    ------
    ValueError
        When nothing is left, or what a client can't send in a header.
    """
    key = key.strip()
    if not _KEY.fullmatch(key):
        raise ValueError("a key has ASCII letters, digits and signs, at least one, and no spaces")
    return key


def _split(given: Any) -> Any:
    """Read several values with commas between."""
    if not isinstance(given, str):
        return given
    parts = [part.strip() for part in given.split(",") if part.strip()]
    if not parts:
        raise ValueError("there is nothing between the commas")
    return parts


def _named(given: Any) -> Any:
    return named_providers(given) if isinstance(given, str) else given


def _check_origin(origin: str) -> str:
    if not _ORIGIN.fullmatch(origin):
        raise ValueError(f"{origin} is no origin such as https://example.org")
    return origin


def _check_site(site: Path) -> Path:
    try:
        written = (site / "index.html").is_file()
    except OSError:  # Of a name that can't be one.
        written = False
    if not written:
        raise ValueError(f"{site} has no index.html; write the site with 'derma web {site}'")
    return site


Key = Annotated[str, AfterValidator(clean_key)]
Origin = Annotated[str, AfterValidator(_check_origin)]


class Settings(BaseSettings):
    """How a server behaves; each field is read from ``DERMA_`` and its name in capitals.

    Attributes
    ----------
    queue_limit : pictures that are accepted and not yet answered; past it the answer is 503
    max_batch : pictures that the network takes at a time
    deadline_seconds : after which an accepted picture is given up, with a 503
    api_keys : one of them is needed to classify, when there are any; see ``clean_key``
    cors_origins : sites, each scheme and host such as ``https://example.org``, whose pages may
        use the API
    per_client_limit : requests with pictures that one address may have under way. Behind a
        proxy, ``FORWARDED_ALLOW_IPS`` says whose word on a client's address is taken
    workers : processes that share the port
    health_port : port for ``/healthz``, ``/readyz`` and ``/metrics`` alone, besides the usual one
    rule : that decides labels where a request names none; the bundle's own when None
    providers : execution providers of ONNX Runtime that compute the network, by preference
    local_site : folder that ``derma web`` has written, to be offered at ``/local/``
    log_format : ``json``, ``text``, or ``auto`` for text on a terminal and JSON elsewhere
    log_clients : whether clients' addresses are logged
    """

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="forbid", frozen=True)

    queue_limit: int = Field(default=64, ge=1)
    max_batch: int = Field(default=2, ge=1)
    deadline_seconds: float = Field(default=10.0, gt=0, allow_inf_nan=False)
    api_keys: Annotated[frozenset[Key], NoDecode, BeforeValidator(_split)] = Field(
        default=frozenset(), repr=False
    )
    cors_origins: Annotated[tuple[Origin, ...], NoDecode, BeforeValidator(_split)] = ()
    per_client_limit: int = Field(default=48, ge=1)
    workers: int = Field(default=1, ge=1)
    health_port: int | None = Field(default=None, ge=1, le=65535)
    rule: Rule | None = None
    providers: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_named)] = (CPU,)
    local_site: Annotated[Path, AfterValidator(_check_site)] | None = None
    log_format: Literal["auto", "json", "text"] = "auto"
    log_clients: bool = False

    @model_validator(mode="before")
    @classmethod
    def _leave_out_empty(cls, given: dict[str, Any]) -> dict[str, Any]:
        tidy = {
            name: text.strip() if isinstance(text, str) else text for name, text in given.items()
        }
        return {name: value for name, value in tidy.items() if value != ""}

    @classmethod
    def from_environment(cls) -> "Settings":
        """Read the settings from environment variables; an empty one counts as unset.

        Raises
        ------
        DermaError
            When a variable has a value it can't have.
        """
        try:
            return cls()
        except ValidationError as error:
            wrong = first_mistake(error)
            raise DermaError(
                f"{PREFIX}{wrong.keys[0].upper()}: {wrong.reason}; change it, or unset it for the "
                "default"
            ) from error
