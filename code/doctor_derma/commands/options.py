"""Arguments that several commands take, with the type and the help that they have in all."""

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from doctor_derma.decisions import Costs, Rule, read_costs
from doctor_derma.errors import DermaError
from doctor_derma.hub import bundle_folder
from doctor_derma.training.config import OLDER_NAMES, TrainConfig
from doctor_derma.workspace import Workspace

Reference = Annotated[
    str, typer.Argument(help="A run's name, a bundle's folder, hf://USER/NAME, or 'champion'.")
]
Split = Annotated[str, typer.Option(help="Which split to evaluate on: test, val or train.")]
Gallery = Annotated[bool, typer.Option(help="Show pictures of the data set in the report.")]
Bundle = Annotated[
    str | None,
    typer.Option(metavar="FOLDER", help="Bundle: a folder or hf://USER/NAME; default: champion."),
]
RuleChoice = Annotated[
    Rule | None, typer.Option(help="Decision rule for the label; default: the model's own.")
]
CostsFile = Annotated[
    Path | None,
    typer.Option("--costs", help="YAML file with the costs of mistakes, for the rule 'costs'."),
]
Engine = Annotated[
    Literal["local", "ray"], typer.Option(help="Where to run: here, or on a Ray cluster.")
]
Address = Annotated[
    str | None,
    typer.Option(help="host:port of a Ray cluster ($RAY_ADDRESS); default: one started here."),
]


def bundle_or_champion(model: str | Path | None) -> Path:
    """Return the folder of the bundle that ``--model`` names, that of the champion when None.

    Raises as ``bundle_folder``, where it is on the hub and can't be fetched.
    """
    return bundle_folder(model) if model else Workspace.find().champion


def costs_in(file: Path | None) -> Costs | None:
    """Read a file of costs, if one is given; raises as ``read_costs``."""
    return None if file is None else read_costs(file)


def check_engine(engine: str, only_ray: Mapping[str, object]) -> None:
    """Refuse flags that mean nothing without Ray, with a DermaError."""
    given = [flag for flag, value in only_ray.items() if value is not None]
    if engine != "ray" and given:
        raise DermaError(f"{given[0]}: needs --engine ray; add that, or leave it out")


def recipe_flags(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command one flag for every setting of a recipe, in its argument ``flags``."""
    signature = inspect.signature(command)
    types: dict[str, Any] = {
        name: Annotated[
            bool | None if field.annotation is bool else str | None,
            typer.Option(
                help=f"{field.description} (default: {field.default})",
                metavar=None if field.annotation is bool else "VALUE",
                rich_help_panel="Recipe",
            ),
        ]
        for name, field in TrainConfig.model_fields.items()
    }
    types |= dict.fromkeys(OLDER_NAMES, Annotated[str | None, typer.Option(hidden=True)])

    @functools.wraps(command)
    def wrapped(**arguments: Any) -> None:
        given = {name: arguments.pop(name, None) for name in types}
        command(**arguments, flags={k: v for k, v in given.items() if v is not None})

    kept = [p for p in signature.parameters.values() if p.name != "flags"]
    keyword = inspect.Parameter.KEYWORD_ONLY
    flags = [inspect.Parameter(n, keyword, default=None, annotation=t) for n, t in types.items()]
    wrapped.__signature__ = signature.replace(parameters=[*kept, *flags])  # type: ignore[attr-defined]
    return wrapped


def parse_map(pairs: Sequence[str]) -> dict[str, str]:
    """Read ``LABEL=CLASS`` pairs; raises a DermaError when one is none."""
    mapping = {}
    for pair in pairs:
        label, equals, name = pair.rpartition("=")
        if not (label.strip() and equals and name.strip()):
            raise DermaError(f"--map {pair}: write LABEL=CLASS or LABEL=drop, as in melanoma=mel")
        mapping[label.strip()] = name.strip()
    return mapping
