"""run_predict: the table, JSON and CSV of ``derma predict``."""

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from doctor_derma.bundle import DiagnosisName
from doctor_derma.errors import DermaError
from doctor_derma.inference.classifier import Classifier
from doctor_derma.inference.output import report_rows
from doctor_derma.inference.predict import run_predict
from doctor_derma.inference.prediction import NOTICE, Prediction, Row
from tiny_bundle import BETWEEN


@pytest.fixture
def sources(pictures: Path) -> list[str]:
    return [str(pictures), str(pictures / "notes.txt")]


def test_csv_has_the_agreed_columns(
    sources: list[str], bundle: Path, classifier: Classifier, capsys: pytest.CaptureFixture
) -> None:
    assert run_predict(sources, bundle, "csv") == 1
    written = capsys.readouterr()
    rows = list(csv.reader(io.StringIO(written.out)))
    assert rows[0] == ["path", "label", "rule", "mel", "nv", "vasc", "error"]
    assert [row[1] for row in rows[1:]] == ["mel", "nv", "vasc", ""]
    assert [row[2] for row in rows[1:]] == ["most-probable"] * 3 + [""]
    assert rows[4] == [sources[1], "", "", "", "", "", "not a picture that can be read"]
    expected = classifier.predict(rows[1][0])[0].probabilities
    assert list(map(float, rows[1][3:6])) == pytest.approx(list(expected.values()), rel=1e-6)
    assert written.err == f"{NOTICE}\nLeft out as no pictures: 1 .txt\n"


def test_json_is_a_list_of_objects(
    sources: list[str], bundle: Path, capsys: pytest.CaptureFixture
) -> None:
    assert run_predict(sources, bundle, "json") == 1
    rows = json.loads(capsys.readouterr().out)
    assert [row["label"] for row in rows] == ["mel", "nv", "vasc", None]
    assert set(rows[3]) == {"path", "label", "rule", "probabilities", "error"}
    assert [row["rule"] for row in rows] == ["most-probable"] * 3 + [None]
    assert rows[0]["prediction_set"] == ["mel"]
    assert rows[0]["abstention"] is None
    assert rows[0]["unfamiliarity"] < 1
    assert rows[0]["warnings"] == []
    assert sum(rows[0]["probabilities"].values()) == pytest.approx(1, abs=1e-6)
    assert rows[0]["error"] is None
    assert rows[3]["probabilities"] is None
    assert rows[3]["error"] == "not a picture that can be read"


@pytest.mark.parametrize(
    ("classes", "header"),
    [
        (
            ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc"),
            ["MEL", "NV", "BCC", "AKIEC", "BKL", "DF", "VASC"],
        ),
        (
            ("ak", "bcc", "bkl", "df", "mel", "nv", "scc", "vasc"),
            ["MEL", "NV", "BCC", "AK", "BKL", "DF", "VASC", "SCC", "UNK"],
        ),
        (
            ("UNK", "akiec", "bcc", "bkl", "df", "mel", "nv", "scc", "vasc"),
            ["MEL", "NV", "BCC", "AK", "BKL", "DF", "VASC", "SCC", "UNK"],
        ),
    ],
)
def test_a_submission_to_the_isic_challenge_has_its_columns(
    classes: tuple[str, ...], header: list[str], capsys: pytest.CaptureFixture
) -> None:
    shares = [2.0**-n for n in range(1, len(classes))]
    shares.append(1 - sum(shares))
    given = dict(zip(classes, shares, strict=True))
    found = Prediction(classes[0], "balanced", given, classes[:1], 0.1, (), np.zeros((2, 2)))
    rows = [
        Row("folder/ISIC_0034524.jpg", found),
        Row("folder/bad.jpg", error="not a picture that can be read"),
        Row("ISIC_0034525.JPG", found),
    ]
    named = [DiagnosisName(name=name, full_name=name) for name in classes]
    assert report_rows(rows, 3, named, "isic", None) == 1
    written = capsys.readouterr()
    lines = list(csv.reader(io.StringIO(written.out)))
    assert lines[0] == ["image", *header]
    assert [line[0] for line in lines[1:]] == ["ISIC_0034524", "ISIC_0034525"]
    assert "folder/bad.jpg: not a picture that can be read" in written.err
    shown = dict(zip(header, lines[1][1:], strict=True))
    names = {"AK": "akiec" if "akiec" in classes else "ak", "AKIEC": "akiec"}
    for column, text in shown.items():
        # Its scoring takes a column of whole numbers for a mistake.
        assert "." in text
        name = next((n for n in classes if n.upper() == column), names.get(column, ""))
        assert float(text) == pytest.approx(given.get(name, 0.0))


def test_classes_of_no_isic_challenge_are_refused(
    sources: list[str], bundle: Path, tmp_path: Path
) -> None:
    output = tmp_path / "submission.csv"
    with pytest.raises(DermaError, match=r"format: 'isic' .* this model \(mel, nv, vasc\)"):
        run_predict(sources, bundle, "isic", output)
    assert not output.exists()


def test_table_names_the_diagnosis_and_says_what_it_is_not(
    sources: list[str], bundle: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert run_predict(sources, bundle) == 1
    written = capsys.readouterr().out
    for text in ("a_red.png", "Melanocytic nevus", "90.9%", "not a picture that can be", NOTICE):
        assert text in written


def test_a_rule_and_costs_may_be_given(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    path = tmp_path / "between.png"
    Image.new("RGB", (20, 20), BETWEEN).save(path)
    for given, label, rule in (
        ({}, "nv", "most-probable"),
        ({"rule": "balanced"}, "mel", "balanced"),
        ({"costs": {"vasc": {"nv": 90, "mel": 90}}}, "vasc", "costs"),
    ):
        assert run_predict([str(path)], bundle, "json", **given) == 0  # type: ignore[arg-type]
        [row] = json.loads(capsys.readouterr().out)
        assert (row["label"], row["rule"]) == (label, rule)
    assert run_predict([str(path)], bundle, rule="balanced") == 0
    written = capsys.readouterr().out
    # Of the label, though another class is more probable: that is the next one.
    assert " 37.1% " in written
    assert "nv 59.4%" in written
    assert "Labels by the rule 'balanced'." in written
    with pytest.raises(DermaError, match="no threshold for melanoma; use balanced, most-prob"):
        run_predict([str(path)], bundle, rule="melanoma-first")
    with pytest.raises(DermaError, match="class 'bcc' is unknown; this model has mel, nv, vasc"):
        run_predict([str(path)], bundle, costs={"bcc": {"nv": 2}})


def test_output_file_appears_whole_and_nothing_else(
    sources: list[str], bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    output = tmp_path / "new" / "rows.csv"
    assert run_predict(sources[:1], bundle, "csv", output) == 0
    assert len(output.read_text().splitlines()) == 4
    assert list(output.parent.iterdir()) == [output]
    assert capsys.readouterr().out == ""


def test_a_failed_run_keeps_the_old_output(
    sources: list[str], bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "rows.json"
    output.write_text("old")

    def full(*args: object) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("doctor_derma.inference.output.json.dumps", full)
    with pytest.raises(DermaError, match=r"rows\.json: can't be written \(No space left"):
        run_predict(sources, bundle, "json", output)
    assert output.read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pictures", "rows.json"]


def test_mistakes_are_one_sentence(sources: list[str], bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(DermaError, match="a folder; name a file"):
        run_predict(sources, bundle, "csv", tmp_path)
    with pytest.raises(DermaError, match="format: 'xml' is unknown"):
        run_predict(sources, bundle, "xml")  # type: ignore[arg-type]
    with pytest.raises(DermaError, match="no model bundle here"):
        run_predict(sources, tmp_path, "csv")
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(DermaError, match="can't be written"):
        run_predict(sources, bundle, "csv", blocked / "rows.csv")


@pytest.mark.slow
def test_only_rows_reach_standard_output_and_odd_names_stay_as_they_are(
    bundle: Path, pictures: Path
) -> None:
    odd = os.fsencode(pictures) + b'/gr\xfcn, "1"\n.png'
    os.rename(os.fsencode(pictures / "b_green.JPG"), odd)  # noqa: PTH104
    code = (
        "import sys; from doctor_derma.inference.predict import run_predict\n"
        "sys.exit(run_predict(sys.argv[1:2], sys.argv[2], sys.argv[3]))"
    )

    def run(form: str) -> subprocess.CompletedProcess[bytes]:
        command = [sys.executable, "-c", code, str(pictures), str(bundle), form]
        screen = {"TTY_COMPATIBLE": "1", "COLUMNS": "300"}
        return subprocess.run(
            command, capture_output=True, check=True, env={**os.environ, **screen}
        )

    written = run("csv")
    text = written.stdout.decode(errors="surrogateescape")
    rows = list(csv.reader(io.StringIO(text, newline="")))
    assert [row[1] for row in rows] == ["label", "mel", "vasc", "nv"]
    assert os.fsencode(rows[3][0]) == odd
    # Even a screen on standard error takes nothing from standard output.
    assert b"Predicting" in written.stderr
    assert "gr\ufffdn" in run("table").stdout.decode()


def test_every_file_of_a_folder_has_a_row_or_is_counted(
    bundle: Path, pictures: Path, capsys: pytest.CaptureFixture
) -> None:
    (pictures / "camera.cr3").write_bytes(b"\0\0\0\x18ftypcrx " + bytes(600))
    (pictures / "photo.jfif").write_bytes((pictures / "b_green.JPG").read_bytes())
    assert run_predict([str(pictures)], bundle, "csv") == 1
    written = capsys.readouterr()
    rows = {Path(row["path"]).name: row for row in csv.DictReader(io.StringIO(written.out))}
    assert set(rows) == {"a_red.png", "b_green.JPG", "c_blue.png", "camera.cr3", "photo.jfif"}
    assert rows["photo.jfif"]["label"] == "nv"
    assert rows["camera.cr3"]["error"] == "a RAW photograph: export it as JPEG"
    assert "Left out as no pictures: 1 .txt\n" in written.err
