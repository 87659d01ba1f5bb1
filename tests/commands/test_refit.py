"""A run that is trained on the validation images too ends well, and says what its export needs."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from doctor_derma.commands import runs
from doctor_derma.commands.train import train
from doctor_derma.training.runs import Run
from project import RECIPE

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
