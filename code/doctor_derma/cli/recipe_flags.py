"""One flag for every setting of a recipe."""

import functools
import inspect
from collections.abc import Callable
from typing import Annotated, Any

import typer

from doctor_derma.training.config import TrainConfig


def recipe_flags(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command one flag for every setting of a recipe."""
    signature = inspect.signature(command)
    flags = [
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=None,
            annotation=Annotated[
                bool | None if field.annotation is bool else str | None,
                typer.Option(
                    help=f"{field.description} (default: {field.default})",
                    metavar=None if field.annotation is bool else "VALUE",
                    rich_help_panel="Recipe",
                ),
            ],
        )
        for name, field in TrainConfig.model_fields.items()
    ]

    @functools.wraps(command)
    def wrapped(**arguments: Any) -> None:
        names = TrainConfig.model_fields
        given = {key: arguments.pop(key) for key in names if key in arguments}
        command(**arguments, flags={k: v for k, v in given.items() if v is not None})

    kept = [p for p in signature.parameters.values() if p.name != "flags"]
    wrapped.__signature__ = signature.replace(parameters=[*kept, *flags])  # type: ignore[attr-defined]
    return wrapped
