"""How good runs with a fold or a source left out are together, by figures worked out by hand."""

import numpy as np
import pandas as pd

from doctor_derma.export.out_of_fold import summary_table


def test_the_summary_by_hand() -> None:
    classes = ("df", "mel")
    labels = ["df"] * 6 + ["mel"] * 6
    table = pd.DataFrame(
        {
            "image": [f"i{n}" for n in range(12)],
            "lesion": [f"l{n}" for n in range(12)],
            "class": labels,
            "fold": [0, 0, 0, 1, 1, 1] * 2,
            # Fold 0 is right but for one df in three; fold 1 is always right.
            "logit_df": [2.0, 2.0, -1.0, 2.0, 2.0, 2.0, -2.0, -2.0, -2.0, -2.0, -2.0, -2.0],
            "logit_mel": [0.0] * 12,
        }
    )
    shown = summary_table(table, "cv", resamples=20)
    figures = {row[0]: row[4] for row in shown.rows}
    assert figures["fold 0"].startswith(f"{(2 / 3 + 1) / 2:.3f} (")
    assert figures["fold 1"].startswith("1.000 (1.000")
    assert figures["mean of the folds"] == f"{(5 / 6 + 1) / 2:.3f}"
    assert figures["all"].startswith(f"{(5 / 6 + 1) / 2:.3f} (")
    assert all(row[3] == str(len(classes)) for row in shown.rows if row[3])


def test_a_source_of_one_class_does_not_take_the_mean_away() -> None:
    table = pd.DataFrame(
        {
            "image": [f"i{n}" for n in range(60)],
            "lesion": [f"l{n}" for n in range(60)],
            "class": ["df"] * 20 + ["mel"] * 20 + ["mel"] * 20,
            "source": ["both"] * 40 + ["one"] * 20,
            "logit_df": [1.0] * 20 + [-1.0] * 20 + [-1.0] * 20,
            "logit_mel": [0.0] * 60,
        }
    )
    shown = {row[0]: row for row in summary_table(table, "away", resamples=20).rows}
    assert shown["mean of the sources"][-1] == "1.000"


def test_classes_of_a_few_images_in_a_source_do_not_count() -> None:
    count = {"df": 3, "mel": 20, "nv": 25}
    labels = [name for name, images in count.items() for _ in range(images)]
    table = pd.DataFrame(
        {
            "image": [f"i{n}" for n in range(48)],
            "lesion": [f"l{n}" for n in range(48)],
            "class": labels,
            "source": "away",
            # Right about all but the three of df.
            **{f"logit_{name}": np.array(labels) == name for name in ("mel", "nv")},
            "logit_df": 0.5,
        }
    )
    table.loc[:2, "logit_df"] = -1.0
    [of_source, _, _] = summary_table(table, "away", resamples=20).rows
    assert of_source[3] == "2"
    assert of_source[4] == "1.000 (1.000\N{EN DASH}1.000)"
