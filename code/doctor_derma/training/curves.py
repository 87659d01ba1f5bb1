"""The course of a run as one picture."""

from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from doctor_derma.atomic import replacing_file

CURVES_FILE = "curves.png"
_PANELS = (
    ("Loss", "cross entropy (nats)", {"train_loss": "training", "val_loss": "validation"}),
    (
        "Validation scores",
        "score (0 to 1)",
        {"val_balanced_accuracy": "balanced accuracy", "val_macro_auc": "macro ROC AUC"},
    ),
    ("Learning rate", "AdamW step size", {"learning_rate": "learning rate"}),
)


def plot_curves(metrics_file: Path, path: Path, title: str) -> None:
    """Plot loss, validation scores and learning rate by epoch from a run's ``metrics.csv``."""
    metrics = pd.read_csv(metrics_file)
    figure = Figure(figsize=(12, 3.6), layout="constrained", dpi=110)
    figure.suptitle(title)
    for axes, (panel, unit, series) in zip(figure.subplots(1, 3), _PANELS, strict=True):
        for column, label in series.items():
            measured = metrics[["epoch", column]].dropna()  # Not every epoch is validated.
            axes.plot(measured["epoch"] + 1, measured[column], marker=".", label=label)
        axes.set(title=panel, xlabel="epoch", ylabel=unit)
        axes.grid(alpha=0.3)
        axes.legend(frameon=False)
    with replacing_file(path) as scratch:
        figure.savefig(scratch)
