"""The one exception that a person can mend, and what other errors say, for its message."""

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from pydantic import ValidationError


class DermaError(Exception):
    """A mistake in the input, not in the program.

    The message is one sentence that names the file or setting, says what is wrong
    and what to do. The command line prints it without a traceback and exits with 2.
    """


def first_line(error: BaseException) -> str:
    """Return the first line of what an error says; the kind of error where it says nothing.

    >>> first_line(ValueError("no number\\nof any kind")), first_line(TimeoutError())
    ('no number', 'TimeoutError')
    """
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def kind_and_line(error: BaseException) -> str:
    """Return the kind of an error and the first line of what it says, of which 200 characters.

    >>> kind_and_line(ValueError("no number\\nof any kind")), kind_and_line(TimeoutError())
    ('ValueError: no number', 'TimeoutError')
    """
    kind, line = type(error).__name__, first_line(error)[:200]
    return kind if line == kind else f"{kind}: {line}"


class Mistake(NamedTuple):
    """What is wrong with a value: where it lies, pydantic's type of error, the value and why."""

    keys: tuple[str, ...]
    type: str
    given: Any
    reason: str

    @property
    def place(self) -> str:
        """The keys, joined by dots; empty where the whole is wrong."""
        return ".".join(self.keys)


def first_mistake(error: "ValidationError") -> Mistake:
    """Return the first thing that pydantic found wrong."""
    first = error.errors()[0]
    reason = first["msg"].removeprefix("Value error, ")
    return Mistake(tuple(map(str, first["loc"])), first["type"], first["input"], reason)
