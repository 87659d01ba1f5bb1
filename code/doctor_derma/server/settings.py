"""What a server can be told, from the environment variables ``DERMA_*``."""

import os
import re
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from doctor_derma.decisions import Rule
from doctor_derma.errors import DermaError

PREFIX = "DERMA_"
_ORIGIN = re.compile(r"https?://[^/\s]+")
# A name of several values holds them with commas between.
_LISTS = ("api_keys", "cors_origins")


class Settings(BaseModel):
    """How a server behaves; each field is read from ``DERMA_`` and its name in capitals.

    Attributes
    ----------
    queue_limit : pictures that are accepted and not yet answered; past it the answer is 503
    max_batch : pictures that the network takes at a time
    deadline_seconds : after which an accepted picture is given up, with a 503
    api_keys : one of them is needed to classify, when there are any
    cors_origins : sites, each scheme and host such as ``https://example.org``, whose pages may
        use the API
    per_client_limit : requests with pictures that one address may have under way. Behind a
        proxy, uvicorn's ``FORWARDED_ALLOW_IPS`` says whose word on a client's address is taken
    workers : processes that share the port
    rule : that decides labels where a request names none; the bundle's own when None
    log_format : ``json``, ``text``, or ``auto`` for text on a terminal and JSON elsewhere
    log_clients : whether clients' addresses are logged
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    queue_limit: int = Field(default=64, ge=1)
    max_batch: int = Field(default=4, ge=1)
    deadline_seconds: float = Field(default=10.0, gt=0, allow_inf_nan=False)
    api_keys: frozenset[str] = Field(default=frozenset(), repr=False)
    cors_origins: tuple[str, ...] = ()
    per_client_limit: int = Field(default=48, ge=1)
    workers: int = Field(default=1, ge=1)
    rule: Rule | None = None
    log_format: Literal["auto", "json", "text"] = "auto"
    log_clients: bool = False

    @field_validator("cors_origins")
    @classmethod
    def _check_origins(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        for origin in origins:
            if not _ORIGIN.fullmatch(origin):
                raise ValueError(f"{origin} is no origin such as https://example.org")
        return origins

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> "Settings":
        """Read the settings from environment variables; an empty one counts as unset.

        Raises
        ------
        DermaError
            When a variable has a value it can't have.
        """
        environment = os.environ if environment is None else environment
        given = {name: environment.get(PREFIX + name.upper(), "") for name in cls.model_fields}
        try:
            return cls(**{name: _parse(name, text) for name, text in given.items() if text.strip()})
        except ValidationError as error:
            first = error.errors()[0]
            raise DermaError(
                f"{PREFIX}{str(first['loc'][0]).upper()}: {first['msg']}; "
                "change it, or unset it for the default"
            ) from error


def _parse(name: str, text: str) -> Any:
    if name not in _LISTS:
        return text.strip()
    return [part.strip() for part in text.split(",") if part.strip()]
