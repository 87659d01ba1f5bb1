"""What people read on the terminal: names and paths as they are, never as Rich's markup."""

from collections.abc import Iterable
from typing import Any, TypeVar

from rich.console import Console
from rich.progress import track
from rich.text import Text

Step = TypeVar("Step")


def terminal(*, error: bool = False, **options: Any) -> Console:
    """Return a console that takes no text for markup or emoji codes, such as a class ``[b]``.

    With ``error`` it prints to standard error; ``options`` are those of Rich's ``Console``.
    """
    return Console(stderr=error, markup=False, emoji=False, highlight=False, **options)


def cells(*values: object) -> list[Text]:
    """Return the cells of a row as text that stays as it is on any console."""
    return [value if isinstance(value, Text) else Text(str(value)) for value in values]


def with_progress(
    steps: Iterable[Step], description: str, total: int | None = None
) -> Iterable[Step]:
    """Yield steps under a progress bar on standard error, gone when they are done.

    ``total``, how many steps there are, is needed where they have no length.
    """
    console = terminal(error=True)
    return track(
        steps,
        description=description,
        total=total,
        console=console,
        transient=True,
        disable=not console.is_terminal,  # Elsewhere it would be an empty line.
    )
