"""Coverage of prediction sets on cases that can be counted by hand."""

import numpy as np
import pandas as pd
import pytest

from doctor_derma.audits.coverage import coverage_table, measure_coverage, plot_coverage
from doctor_derma.evaluation.predictions import Predictions
from evaluation.fake_predictions import fake_predictions

SURE, TORN = [0.9, 0.06, 0.04], [0.5, 0.4, 0.1]


def four_pictures() -> Predictions:
    return Predictions(
        name="model",
        classes=("mel", "nv", "vasc"),
        images=np.array(list("abcd")),
        lesions=np.array(list("abcd")),
        paths=np.full(4, ""),
        labels=np.array([0, 1, 1, 2]),
        probabilities=np.array([SURE, SURE, TORN, TORN]),
    )


def value(frame: pd.DataFrame, name: str, measure: str) -> float:
    return frame.set_index(["class", "measure"]).loc[(name, measure), "value"]


def test_coverage_and_size_by_hand() -> None:
    # Within 0.6: the first class of a sure picture, the first two of a torn one.
    frame = measure_coverage(four_pictures(), 0.6, resamples=50)
    assert value(frame, "all", "coverage") == 0.5
    assert value(frame, "all", "size") == 1.5
    assert value(frame, "all", "single") == 0.5
    assert [value(frame, name, "coverage") for name in ("mel", "nv", "vasc")] == [1, 0.5, 0]
    assert value(frame, "nv", "size") == 1.5
    assert frame.set_index("class")["images"].to_dict() == {"all": 4, "mel": 1, "nv": 2, "vasc": 1}


def test_intervals_hold_the_value_and_everything_is_covered_at_one() -> None:
    predictions = fake_predictions(200)
    frame = measure_coverage(predictions, 0.8, resamples=100).dropna()
    assert bool((frame["low"] <= frame["value"] + 1e-9).all())
    assert bool((frame["high"] >= frame["value"] - 1e-9).all())
    assert value(measure_coverage(predictions, 1.0, resamples=10), "all", "coverage") == 1
    with pytest.raises(Exception, match="resamples: 0 is too few"):
        measure_coverage(predictions, 0.8, resamples=0)


def test_table_and_plot_name_every_class() -> None:
    frame = measure_coverage(fake_predictions(200), 0.9, resamples=20)
    table = coverage_table(frame, 0.95)
    assert [row[0] for row in table.rows] == ["all", *fake_predictions(10).classes]
    assert "95%" in table.title
    left, right = plot_coverage(frame, 0.95).axes
    labels = [label.get_text().split("\n")[0] for label in left.get_yticklabels()]
    assert labels == [row[0] for row in table.rows]
    assert right.get_xlabel() == "Classes, mean (95% interval)"
