"""What people read on the terminal: names and paths as they are, never as Rich's markup."""

from typing import Any

from rich.console import Console
from rich.text import Text


def terminal(*, error: bool = False, **options: Any) -> Console:
    """Return a console that takes no text for markup or emoji codes, such as a class ``[b]``.

    Parameters
    ----------
    error : print to standard error
    options : of Rich's ``Console``
    """
    return Console(stderr=error, markup=False, emoji=False, highlight=False, **options)


def cells(*values: object) -> list[Text]:
    """Return the cells of a row as text that stays as it is on any console."""
    return [value if isinstance(value, Text) else Text(str(value)) for value in values]
