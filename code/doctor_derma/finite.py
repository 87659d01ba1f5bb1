"""Floats that are not finite (nan, infinity), for which strict JSON has no word."""

import json
import math
from collections.abc import Mapping
from typing import Any


def finite_values(values: Mapping[str, float]) -> dict[str, float]:
    """Return the values that are finite numbers, under their names.

    Examples
    --------
    >>> finite_values({"accuracy": 0.8, "macro_auc": float("nan")})
    {'accuracy': 0.8}
    """
    return {name: float(value) for name, value in values.items() if math.isfinite(value)}


def strict_json(value: Any) -> str:
    """Write JSON, indented, with null for what is not finite."""
    return json.dumps(_or_none(value), indent=2, allow_nan=False) + "\n"


def _or_none(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _or_none(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_or_none(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
