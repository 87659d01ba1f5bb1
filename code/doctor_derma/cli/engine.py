"""Where a command does its work: here, or on a Ray cluster."""

from collections.abc import Mapping
from typing import Annotated, Literal

import typer

from doctor_derma.errors import DermaError

Engine = Annotated[
    Literal["local", "ray"], typer.Option(help="Where to work: here, or on a Ray cluster.")
]
Address = Annotated[
    str | None,
    typer.Option(help="host:port of a Ray cluster ($RAY_ADDRESS), else one is started here."),
]


def check_engine(engine: str, only_ray: Mapping[str, object]) -> None:
    """Refuse flags that mean nothing without Ray.

    Raises
    ------
    DermaError
        When such a flag is given, and Ray is not the engine.
    """
    given = [flag for flag, value in only_ray.items() if value is not None]
    if engine != "ray" and given:
        raise DermaError(f"{given[0]}: needs --engine ray; add that, or leave it out")
