"""The folders that an evaluation and a comparison leave behind."""

import csv
import io
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from doctor_derma.decisions import RULES
from doctor_derma.errors import DermaError
from doctor_derma.evaluation import gallery
from doctor_derma.evaluation.bootstrap import bootstrap_metrics, bootstrap_rules
from doctor_derma.evaluation.comparison import compare
from doctor_derma.evaluation.predictions import Predictions
from doctor_derma.evaluation.report import write_comparison, write_evaluation
from doctor_derma.evaluation.tables import comparison_tables, evaluation_tables, format_p
from evaluation.fake_predictions import fake_predictions, rulebook, write_pictures

THRESHOLD = 0.05
INFO = {"split": "test", "dataset_fingerprint": "9f" * 32, "weights_sha256": "ab" * 32}


class Links(HTMLParser):
    """Every address that a page would load or lead to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.tags: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href")]


@pytest.fixture(scope="module")
def fake(tmp_path_factory: pytest.TempPathFactory) -> Predictions:
    paths = write_pictures(tmp_path_factory.mktemp("pictures"), 120)
    fake = replace(fake_predictions(120), paths=np.array([str(path) for path in paths]))
    return replace(fake, rulebook=rulebook("balanced", THRESHOLD))


@pytest.fixture(scope="module")
def evaluated(fake: Predictions, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("evaluation_images") / "eca_resnet18"
    with pytest.MonkeyPatch.context() as patch:
        # Cards take longest to draw, and a few show as much as all.
        for name in ("confident_right", "confident_wrong"):
            choose = getattr(gallery, name)
            patch.setattr(gallery, name, lambda found, choose=choose: choose(found)[:4])
        write_evaluation(fake, INFO, folder, resamples=50)
    return folder


def test_evaluation_leaves_every_file(evaluated: Path) -> None:
    names = {path.name for path in evaluated.iterdir()}
    assert names == {
        "predictions.csv",
        "metrics.json",
        "report.html",
        "by_class.png",
        "confusion_counts.png",
        "confusion_shares.png",
        "roc.png",
        "pr.png",
        "reliability.png",
        "gallery_right.jpg",
        "gallery_wrong.jpg",
    }
    assert [path.name for path in evaluated.parent.iterdir()] == ["eca_resnet18"]


def test_metrics_file_tells_what_was_measured(evaluated: Path, fake: Predictions) -> None:
    summary = json.loads((evaluated / "metrics.json").read_text())
    assert {key: summary[key] for key in INFO} == INFO
    assert summary["model"] == "eca_resnet18"
    assert summary["images"] == 120
    assert summary["lesions"] == len(set(fake.lesions))
    assert summary["classes"]["nv"]["images"] == int((fake.labels == 5).sum())
    assert summary["bootstrap"]["resamples"] == 50
    accuracy = summary["metrics"]["accuracy"]
    assert accuracy["value"] == pytest.approx(fake.correct.mean())
    assert accuracy["low"] < accuracy["value"] < accuracy["high"]
    assert summary["rule"] == "balanced"
    assert list(summary["rules"]) == ["balanced", "most-probable", "melanoma-first"]
    for metric, interval in summary["rules"]["balanced"].items():
        assert interval == summary["metrics"][metric], metric
    plain = summary["rules"]["most-probable"]["accuracy"]["value"]
    most_probable = fake.probabilities.argmax(axis=1)
    assert plain == pytest.approx((most_probable == fake.labels).mean())
    melanoma = summary["rules"]["melanoma-first"]["sensitivity_mel"]["value"]
    called = fake.predicted == 4
    over = fake.probabilities[:, 4] > THRESHOLD
    assert melanoma == pytest.approx(over[fake.labels == 4].mean())
    assert melanoma > called[fake.labels == 4].mean()


@pytest.mark.slow
def test_undefined_metrics_are_null(tmp_path: Path) -> None:
    fake = fake_predictions(60)
    absent = replace(fake, labels=np.where(fake.labels == 3, 5, fake.labels))
    write_evaluation(absent, INFO, tmp_path / "model", resamples=10)
    text = (tmp_path / "model" / "metrics.json").read_text()
    assert "NaN" not in text
    assert json.loads(text)["metrics"]["auc_df"] == {"value": None, "low": None, "high": None}
    # Without picture paths there is no gallery, and all else is there.
    assert not list((tmp_path / "model").glob("gallery*"))
    assert (tmp_path / "model" / "report.html").is_file()


def test_report_is_self_contained_and_small(evaluated: Path) -> None:
    path = evaluated / "report.html"
    text = path.read_text()
    links = Links(text)
    assert len(links.addresses) > 20
    assert all(address.startswith("data:") for address in links.addresses)
    assert "script" not in links.tags
    assert not re.search(r"url\(|@import|https?://", text)
    assert path.stat().st_size < 300_000
    assert "Not a medical device" in text
    assert "prefers-color-scheme: dark" in text
    assert text.index("<table>") < text.index("<img")


@pytest.mark.slow
def test_report_escapes_names(tmp_path: Path) -> None:
    fake = fake_predictions(40, name="<script>alert(1)</script>")
    write_evaluation(fake, {**INFO, "note": "<b>bold</b>"}, tmp_path / "model", resamples=10)
    links = Links((tmp_path / "model" / "report.html").read_text())
    assert "script" not in links.tags
    assert "b" not in links.tags


@pytest.mark.slow
def test_a_second_evaluation_replaces_the_first(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    write_evaluation(fake_predictions(40), INFO, folder, resamples=5)
    (folder / "stale.png").write_bytes(b"old")
    write_evaluation(fake_predictions(50), INFO, folder, resamples=5)
    assert not (folder / "stale.png").exists()
    assert json.loads((folder / "metrics.json").read_text())["images"] == 50


def test_other_peoples_files_are_not_replaced(tmp_path: Path) -> None:
    folder = tmp_path / "thesis"
    folder.mkdir()
    (folder / "chapter.tex").write_text("precious")
    with pytest.raises(DermaError, match="thesis"):
        write_evaluation(fake_predictions(40), INFO, folder, resamples=5)
    assert (folder / "chapter.tex").read_text() == "precious"


@pytest.mark.slow
def test_a_failure_leaves_the_earlier_results(tmp_path: Path, fake: Predictions) -> None:
    folder = tmp_path / "model"
    write_evaluation(fake_predictions(40), INFO, folder, resamples=5)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    damaged = tmp_path / "damaged.jpg"
    damaged.write_bytes(b"not a picture")
    broken = replace(fake, paths=np.full(120, str(damaged)))
    with pytest.raises(DermaError, match=r"damaged\.jpg"):
        write_evaluation(broken, INFO, folder, resamples=5)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["damaged.jpg", "model"]


@pytest.mark.slow
def test_comparison_leaves_every_file(fake: Predictions, tmp_path: Path) -> None:
    other = replace(fake_predictions(120, name="se_resnet18", model_seed=6), paths=fake.paths)
    folder = tmp_path / "comparison"
    comparison = write_comparison([fake, other], [INFO, INFO], folder, resamples=50)
    assert {path.name for path in folder.iterdir()} == {
        "predictions.csv",
        "metrics.json",
        "report.html",
        "model_metrics.png",
        "differences.png",
        "macro_roc.png",
        "gallery_disagreements.jpg",
    }
    summary = json.loads((folder / "metrics.json").read_text())
    assert list(summary["models"]) == ["eca_resnet18", "se_resnet18"]
    assert len(summary["differences"]) == 5
    assert summary["differences"][0]["p_value"] == comparison.differences[0].p_value
    rows = list(csv.DictReader((folder / "predictions.csv").read_text().splitlines()))
    assert len(rows) == 120
    assert rows[0]["se_resnet18.label"] == other.classes[other.predicted[0]]
    links = Links((folder / "report.html").read_text())
    assert all(address.startswith("data:") for address in links.addresses)


def test_tables_fit_a_terminal_of_80_columns(fake: Predictions) -> None:
    intervals = bootstrap_metrics(fake, resamples=10)
    costly = rulebook("costs", THRESHOLD, {"mel": {"nv": 20}})
    costly = replace(costly, positive=("bcc", "mel"), positive_threshold=0.2)
    rules = bootstrap_rules(replace(fake, rulebook=costly), resamples=10)
    assert list(rules) == list(RULES)
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(*evaluation_tables(fake, intervals, rules))
    text = console.export_text()
    assert f"{rules['costs']['specificity_mel'].value:.3f}" in text
    assert f"{intervals['sensitivity_mel'].value:.3f}" in text
    assert "Melanoma" in text
    assert "…" not in text


def test_comparison_tables_tell_differences_and_p() -> None:
    models = [fake_predictions(80), fake_predictions(80, name="se_resnet18", model_seed=6)]
    comparison = compare(models, resamples=50)
    metrics, differences, mcnemar = comparison_tables(comparison)
    assert metrics.header == ("Metric", "eca_resnet18", "se_resnet18")
    assert differences.title == "se_resnet18 minus eca_resnet18"
    first = comparison.differences[0]
    assert differences.rows[0][1:] == (
        first.interval.signed,
        format_p(first.p_value),
        format_p(first.p_holm),
    )
    assert mcnemar.rows[0][1] == str(comparison.mcnemar[0].only_first_right)
    assert format_p(0.0004) == "<0.001"
