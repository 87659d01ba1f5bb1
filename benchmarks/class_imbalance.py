"""Validation scores of runs by the weight of the class priors in the probabilities.

Shows what a loss for rare classes gives and costs: train one run per loss, then
python benchmarks/class_imbalance.py RUN RUN ...
"""

import argparse

from rich.console import Console
from rich.table import Table

from doctor_derma.evaluation.metrics import classification_metrics
from doctor_derma.export.calibration import calibrate
from doctor_derma.training.runs import open_run
from doctor_derma.workspace import Workspace
from validation import Validation

PRIOR_WEIGHTS = (0.0, 0.25, 0.5, 0.75, 1.0)
METRICS = ("macro_auc", "balanced_accuracy", "accuracy", "ece")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("runs", nargs="+", help="names of runs")
    workspace = Workspace.find()
    validation = Validation.read(workspace)
    labels, classes = validation.labels, validation.dataset.classes
    table = Table(title=f"Validation split, {len(labels)} images")
    for heading in ("run", "loss", "prior weight", *METRICS):
        table.add_column(heading)
    for name in parser.parse_args().runs:
        run = open_run(workspace.runs, name)
        logits = validation.logits(run)
        for prior_weight in PRIOR_WEIGHTS:
            calibration = calibrate(
                logits,
                labels,
                validation.class_counts,
                balanced=run.config.balanced,
                prior_weight=prior_weight,
            )
            probabilities = calibration.probabilities(logits)
            found = classification_metrics(labels, probabilities, classes)
            scores = [f"{found[metric]:.3f}" for metric in METRICS]
            table.add_row(run.name, run.config.imbalance, f"{prior_weight:g}", *scores)
    Console().print(table)


if __name__ == "__main__":
    main()
