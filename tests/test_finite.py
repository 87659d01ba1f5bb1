"""What becomes of numbers that are not finite."""

import json
import math

from doctor_derma.finite import finite_values, strict_json


def test_only_finite_numbers_stay() -> None:
    values = {"a": 1.5, "b": math.nan, "c": math.inf, "d": -math.inf, "e": 0.0}
    assert finite_values(values) == {"a": 1.5, "e": 0.0}


def test_json_has_null_for_what_is_not_finite_wherever_it_stands() -> None:
    value = {"a": [1.0, math.nan, (math.inf,)], "b": {"c": -math.inf, "d": "nan"}, "e": None}
    text = strict_json(value)
    assert "NaN" not in text
    assert "Infinity" not in text
    assert json.loads(text) == {"a": [1.0, None, [None]], "b": {"c": None, "d": "nan"}, "e": None}
