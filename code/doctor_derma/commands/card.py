"""``derma card``."""

from doctor_derma.commands.options import Reference
from doctor_derma.terminal import terminal
from doctor_derma.workspace import Workspace


def card(model: Reference) -> None:
    """Write a model's card again, from what was measured of it by now."""
    from doctor_derma.commands.publishing import write_model_card

    path, evidence = write_model_card(Workspace.find(), model)
    console = terminal(soft_wrap=True)
    for name, reason in evidence.missing.items():
        console.print(f"Not in it: {name}, {reason}")
    console.print(f"Model card: {path}")
