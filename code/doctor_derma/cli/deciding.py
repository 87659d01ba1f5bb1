"""How a command names the decision rule, and what mistakes cost."""

from pathlib import Path
from typing import Annotated

import typer

from doctor_derma.decisions import Costs, Rule

RuleChoice = Annotated[
    Rule | None, typer.Option(help="Rule that decides the label, else the model's own.")
]
CostsFile = Annotated[
    Path | None,
    typer.Option("--costs", help="YAML file of what mistakes cost, for the rule 'costs'."),
]


def costs_in(file: Path | None) -> Costs | None:
    """Read a file of costs, if one is given.

    Raises
    ------
    DermaError
        When it can't be read.
    """
    if file is None:
        return None
    from doctor_derma.evaluation.cost_file import read_costs

    return read_costs(file)
