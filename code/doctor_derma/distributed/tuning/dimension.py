"""The values that one setting of a sweep may take, as they are written in its YAML file."""

import math
from collections.abc import Callable
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, model_validator

Kind = Literal["choice", "uniform", "loguniform", "randint"]
# Whole numbers up to so many are all tried when a sweep is checked, of more only both ends.
_MOST_TRIED = 64
_GOLDEN = (3 - math.sqrt(5)) / 2


class Dimension(BaseModel):
    """A list of values to choose from, or a range with both ends in it.

    ``values`` are all the values of a choice, or the two ends of ``uniform``, ``loguniform``
    (uniform in the logarithm) and ``randint`` (whole numbers).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Kind
    values: tuple[Any, ...]

    @model_validator(mode="before")
    @classmethod
    def _as_written(cls, written: Any) -> Any:
        if isinstance(written, list):
            written = {"choice": written}
        if not isinstance(written, dict) or len(written) != 1 or next(iter(written)) not in _READ:
            raise ValueError(
                "write a list of values, or one of choice: [...], uniform: [low, high], "
                "loguniform: [low, high] and randint: [low, high]"
            )
        kind, values = next(iter(written.items()))
        if not isinstance(values, list):
            raise ValueError(f"{kind} takes a list, such as {kind}: [1, 2]")
        return {"kind": kind, "values": _READ[kind](values)}

    def written(self) -> dict[str, list[Any]]:
        """Return it as a YAML file holds it."""
        return {self.kind: list(self.values)}

    def tried(self) -> list[Any]:
        """Return values that stand for all of them when a sweep is checked.

        A range of fractions is tried at both ends and between, so that a setting that is a
        whole number is not taken for one that may be any.
        """
        if self.kind == "choice":
            return list(self.values)
        low, high = self.values
        if self.kind == "randint":
            return list(range(low, high + 1)) if high - low < _MOST_TRIED else [low, high]
        return [low, low + (high - low) * _GOLDEN, high]

    def nearest(self, value: Any) -> Any:
        """Return a value, or the end of the range that it lies beyond."""
        if self.kind == "choice":
            return value
        low, high = self.values
        return min(max(value, low), high)


def _choice(values: list[Any]) -> list[Any]:
    if not values:
        raise ValueError("choice has no values; write at least one")
    return values


def _range(values: list[Any]) -> list[float]:
    try:
        low, high = (float(value) for value in values)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{values}: not two numbers; write [low, high]") from error
    return _ordered(low, high)


def _log_range(values: list[Any]) -> list[float]:
    low, high = _range(values)
    if low <= 0:
        raise ValueError(f"{values}: loguniform takes numbers above 0; use uniform, or raise low")
    return [low, high]


def _whole_range(values: list[Any]) -> list[int]:
    low, high = _range(values)
    if not (low.is_integer() and high.is_integer()):
        raise ValueError(f"{values}: randint takes whole numbers; use uniform for fractions")
    return [int(low), int(high)]


def _ordered(low: float, high: float) -> list[float]:
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ValueError(f"[{low:g}, {high:g}]: low must be below high")
    return [low, high]


_READ: dict[Any, Callable[[list[Any]], list[Any]]] = {
    "choice": _choice,
    "uniform": _range,
    "loguniform": _log_range,
    "randint": _whole_range,
}
