"""A run that is trained on the validation images too ends well, and says what its export needs."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from doctor_derma.commands import runs
from doctor_derma.commands.export import export
from doctor_derma.commands.train import train
from doctor_derma.errors import DermaError
from doctor_derma.training.runs import Run, open_run
from project import RECIPE, new_run

EPOCH = {"train_loss": 1.0, "val_loss": 1.0, "learning_rate": 0.1}
SCORES = {"val_balanced_accuracy": 0.5, "val_macro_auc": 0.5}


class Tracked:
    """Takes what is tracked, in the place of MLflow."""

    def __init__(self, *_: object) -> None:
        self.tracking_id = None

    def __getattr__(self, name: str) -> Any:
        return lambda *_: CALLS.append(name)


CALLS: list[str] = []


def without_training(run: Run, *_: object) -> bool:
    pd.DataFrame([{"epoch": 0} | EPOCH | SCORES]).to_csv(run.metrics_file, index=False)
    return True


def test_a_refit_is_finished_and_names_the_export_with_a_twin(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    CALLS.clear()
    monkeypatch.setenv("DERMA_ROOT", str(root))
    monkeypatch.setattr(runs, "Tracker", Tracked)
    monkeypatch.setattr("doctor_derma.training.loop.train", without_training)
    train(name="everything", **RECIPE | {"refit": True})
    assert "Next: derma export everything --twin NAME" in capsys.readouterr().out
    assert CALLS == ["start", "log_run", "finish"]
    assert not (root / "mlflow" / "runs" / "everything" / "bundle").exists()


def test_a_twin_that_is_not_there_is_not_kept(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DERMA_ROOT", str(root))
    run = new_run(root, "everything", refit=True)
    run.best_checkpoint.write_bytes(b"weights")
    with pytest.raises(DermaError, match="mistyped: no such run"):
        export("everything", twin="mistyped")
    assert open_run(run.folder.parent, "everything").info.twin is None
