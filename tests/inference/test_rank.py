"""``derma predict --rank``: which pictures to label next, also as tasks of Label Studio."""

import csv
import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from doctor_derma.bundle import read_info
from doctor_derma.commands.predict import predict
from doctor_derma.errors import DermaError
from doctor_derma.inference.prediction import NOTICE
from doctor_derma.inference.rank import run_rank
from doctor_derma.inference.ranking import diverse_order
from tiny_bundle import BETWEEN, BLUE, RED

WHITE = (255, 255, 255)


@pytest.fixture
def unlabelled(tmp_path: Path) -> Path:
    """Pictures that the tiny bundle is sure of, torn about, and has never seen the like of."""
    folder = tmp_path / "to label"
    folder.mkdir()
    for name, colour in {"sure": RED, "torn": BETWEEN, "new": WHITE, "blue": BLUE}.items():
        Image.new("RGB", (20, 20), colour).save(folder / f"{name}.png")
    Image.new("RGB", (60, 40), BETWEEN).save(folder / "torn_again.jpg", quality=60)
    (folder / "bad.jpg").write_bytes(b"\xff\xd8\xff\xe0 no more")
    return folder


def ranked(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_what_a_label_is_worth_most_of_comes_first(
    unlabelled: Path, bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_rank([str(unlabelled)], bundle, "csv") == 1
    written = capsys.readouterr()
    rows = ranked(written.out)
    assert [*rows[0]] == [
        *("rank", "path", "score", "novelty", "margin", "set_size", "ood_score"),
        *("label", "rule", "prediction_set", "mel", "nv", "vasc", "error"),
    ]
    names = [Path(row["path"]).stem for row in rows]
    assert names[0] == "new"  # All three classes alike, and far from the training images.
    # Nearly the same picture twice: first one of them, the other last.
    assert {names[1], names[4]} == {"torn", "torn_again"}
    assert {*names[2:4]} == {"sure", "blue"}
    assert [row["rank"] for row in rows] == ["1", "2", "3", "4", "5", ""]
    by_name = dict(zip(names, rows, strict=True))
    new = by_name["new"]
    # White: every channel is 255, which is 1/3 for each class, and an OOD score of 2.
    assert float(new["margin"]) == pytest.approx(0, abs=1e-6)
    assert float(new["ood_score"]) == pytest.approx(2)
    assert new["set_size"] == "3"
    assert float(new["score"]) == pytest.approx((1 + 1 + 2 / 3) / 3, rel=1e-6)
    assert float(new["novelty"]) == 1
    # The logits are 6 for red and 0 otherwise, at a temperature of 2.
    red = np.exp([3.0, 0, 0]) / np.exp([3.0, 0, 0]).sum()
    assert float(by_name["sure"]["margin"]) == pytest.approx(red[0] - red[1], rel=1e-5)
    assert by_name["sure"]["prediction_set"] == "mel"
    assert float(rows[4]["novelty"]) < 0.25
    assert by_name["bad"]["error"]
    assert by_name["bad"]["score"] == ""
    assert NOTICE in written.err


def test_tasks_are_as_label_studio_imports_them(
    unlabelled: Path, bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The layout of https://labelstud.io/guide/predictions, for choices of an image."""
    output = tmp_path / "tasks.json"
    assert run_rank([str(unlabelled)], bundle, "label-studio", output) == 1
    tasks = json.loads(output.read_text())
    assert [task["data"]["rank"] for task in tasks] == [1, 2, 3, 4, 5]
    [task] = [task for task in tasks if task["data"]["path"].endswith("sure.png")]
    below_root = f"{unlabelled.as_posix().lstrip('/').replace(' ', '%20')}/sure.png"
    assert task["data"]["image"] == f"/data/local-files/?d={below_root}"
    [prediction] = task["predictions"]
    version = read_info(bundle).weights.sha256[:12]
    assert prediction["model_version"] == f"tiny {version}"
    assert prediction["score"] == pytest.approx(np.exp(3) / (np.exp(3) + 2), abs=1e-5)
    [result] = prediction["result"]
    assert result == {
        "id": "label",
        "from_name": "diagnosis",
        "to_name": "image",
        "type": "choices",
        "value": {"choices": ["mel"]},
    }
    assert "bad.jpg: " in capsys.readouterr().err


def test_pictures_may_be_elsewhere_for_the_labelling_tool(
    unlabelled: Path, bundle: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(unlabelled.parent)
    output = tmp_path / "tasks.json"
    prefix = "https://pictures.example.org/"
    run_rank(["to label/new.png"], Path(bundle), "label-studio", output, prefix)
    [task] = json.loads(output.read_text())
    assert task["data"]["image"] == "https://pictures.example.org/to%20label/new.png"


def test_the_table_says_what_it_is_not(
    unlabelled: Path,
    bundle: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert run_rank([str(unlabelled)], bundle) == 1
    written = capsys.readouterr().out
    assert "new.png" in written
    assert NOTICE in written


def test_formats_of_other_uses_are_refused(unlabelled: Path, bundle: Path) -> None:
    with pytest.raises(DermaError, match="--rank: can't be written as isic; use table, csv"):
        run_rank([str(unlabelled)], bundle, "isic")


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ({"rank": True, "url": "http://localhost:5555"}, "--rank: compares pictures here"),
        ({"rank": True, "engine": "ray", "out": Path("out")}, "leave --url and --engine ray out"),
        ({"format": "label-studio"}, "add --rank"),
        ({"rank": True, "image_url": "https://example.org/"}, "belongs to --format label-studio"),
    ],
)
def test_flags_that_do_not_go_together_are_refused(flags: dict[str, Any], said: str) -> None:
    with pytest.raises(DermaError, match=re.escape(said)):
        predict(["pictures"], **flags)


def test_ten_copies_of_the_best_picture_are_not_asked_for_together() -> None:
    random = np.random.default_rng(0)
    logs = random.normal(0, 2, (40, 7))
    thumbnails = random.integers(0, 256, (40, 16, 16, 3), dtype=np.uint8)
    scores = random.uniform(0.3, 0.5, 40)
    # The last ten are the same but for what JPEG does, and the model would learn most from them.
    logs[30:] = logs[30] + random.normal(0, 0.05, (10, 7))
    thumbnails[30:] = np.clip(thumbnails[30] + random.integers(-2, 3, (10, 16, 16, 3)), 0, 255)
    scores[30:] = 0.9
    order, novelty = diverse_order(scores, logs - logs.mean(axis=1, keepdims=True), thumbnails)
    assert order[0] >= 30
    assert all(index < 30 for index in order[1:20])
    copies = novelty[np.flatnonzero(order >= 30)[1:]]
    assert copies.max() < 0.3


@given(
    st.integers(1, 9).flatmap(
        lambda n: st.tuples(
            st.lists(st.floats(0, 1), min_size=n, max_size=n),
            st.lists(st.lists(st.floats(-9, 9), min_size=3, max_size=3), min_size=n, max_size=n),
            st.lists(st.integers(0, 255), min_size=n, max_size=n),
            st.integers(1, 9),
        )
    )
)
def test_the_order_is_that_of_the_written_rule(
    drawn: tuple[list[float], list[list[float]], list[int], int],
) -> None:
    """Against the formula of the guide, picture by picture."""
    scores, logs, greys, greedy = np.array(drawn[0]), np.array(drawn[1]), drawn[2], drawn[3]
    thumbnails = np.stack([np.full((16, 16, 3), grey, np.uint8) for grey in greys])
    order, novelty = diverse_order(scores, logs, thumbnails, greedy)
    assert sorted(order) == list(range(len(scores)))
    # Twice the variance is the mean square difference of two that are drawn independently.
    apart = np.mean([(a - b) ** 2 for a in logs for b in logs]) ** 0.5

    def new(index: int, taken: list[int]) -> float:
        found = [1.0]
        for other in taken:
            found.append(abs(greys[index] - greys[other]) / 16)
            if apart > 1e-6:
                found.append(2 * np.mean((logs[index] - logs[other]) ** 2) ** 0.5 / apart)
        return min(found)

    taken: list[int] = []
    for place, index in enumerate(order):
        beside = taken[: greedy if place >= greedy else place]
        if apart == 0 or apart > 1e-6:
            assert novelty[place] == pytest.approx(new(index, beside), abs=2e-3)
            left = [other for other in order if other not in taken]
            best = max(scores[other] * new(other, beside) for other in left)
            assert scores[index] * new(index, beside) == pytest.approx(best, abs=5e-3)
        taken.append(int(index))
