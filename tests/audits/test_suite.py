"""Audits by name, from the command to their folders."""

from pathlib import Path

import pandas as pd
import pytest

from doctor_derma.audits.suite import ALIASES, AUDITS, Audit, write_audit
from doctor_derma.commands.audit import audit_model
from doctor_derma.errors import DermaError
from doctor_derma.workspace import Workspace
from project import Project


def test_an_audit_has_the_fields_word_beside_its_folders(
    tiny_run: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Workspace, "evaluation_images", property(lambda self: tmp_path))
    monkeypatch.setitem(AUDITS, "unfamiliar", lambda of: Audit([]))
    for name in ("out-of-distribution", "unfamiliar"):
        [(found, _, folder)] = audit_model(tiny_run.workspace, "tiny", [name], "val", None)
        assert found == "unfamiliar"
        assert folder == tmp_path / "audits" / "tiny" / "unfamiliar"
        assert {path.name for path in folder.iterdir()} == {"provenance.json", "tables.txt"}
    assert set(ALIASES.values()) <= set(AUDITS)
    with pytest.raises(DermaError, match="audit 'luck': unknown; use calibration, coverage"):
        next(audit_model(tiny_run.workspace, "tiny", ["luck"], "val", None))


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "thesis.txt").write_text("months of work")
    with pytest.raises(DermaError, match="mine"):
        write_audit(Audit([], {"numbers": pd.DataFrame({"a": [1]})}), {}, folder)
    assert [path.name for path in folder.iterdir()] == ["thesis.txt"]
