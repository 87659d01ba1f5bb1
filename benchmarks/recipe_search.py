"""What changes of a recipe gave, as a Markdown table out of MLflow.

Train a base run and one run a change, then
python benchmarks/recipe_search.py BASE RUN RUN ...
Scores are those of the last epoch on the validation split, whose networks are averages of their
weights, before calibration.
"""

import argparse

import mlflow
from mlflow.entities import Run

from doctor_derma.tracking.store import open_store
from doctor_derma.workspace import Workspace

SCORES = ("val_macro_auc", "val_balanced_accuracy", "val_loss", "train_loss")
# Settings that say which run it is, not what its recipe is.
_NOT_RECIPE = {"model", "devices", "accelerator", "nodes"}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("base", help="name of the run that the others are changes of")
    parser.add_argument("runs", nargs="*", help="names of the others")
    arguments = parser.parse_args()
    experiment = open_store(Workspace.find())
    base = find_run(experiment, arguments.base)
    print("| run | what differs | epochs | minutes | " + " | ".join(SCORES) + " |")
    print("| --- | --- | --- | --- |" + " --- |" * len(SCORES))
    print(table_row(base, "-"))
    for name in arguments.runs:
        run = find_run(experiment, name)
        print(table_row(run, changes(base, run)))


def find_run(experiment: str, name: str) -> Run:
    """Return the latest finished run of a name."""
    safe = name.replace("'", "''")
    found = mlflow.MlflowClient().search_runs(
        [experiment],
        f"run_name = '{safe}' and attributes.status = 'FINISHED'",
        order_by=["attributes.start_time DESC"],
        max_results=1,
    )
    if not found:
        raise SystemExit(f"{name}: no finished run of that name in MLflow")
    return found[0]


def changes(base: Run, run: Run) -> str:
    """Return the settings in which a run differs from the base."""
    ours, theirs = run.data.params, base.data.params
    names = sorted((ours.keys() | theirs.keys()) - _NOT_RECIPE)
    # A setting that is newer than one of the runs is not a difference of theirs.
    differing = [n for n in names if n in ours and n in theirs and ours[n] != theirs[n]]
    return ", ".join(f"{name} {theirs[name]} -> {ours[name]}" for name in differing) or "nothing"


def table_row(run: Run, difference: str) -> str:
    """Return one row of the table."""
    minutes = (run.info.end_time - run.info.start_time) / 60_000
    scores = [f"{run.data.metrics[score]:.3f}" for score in SCORES]
    cells = [run.info.run_name, difference, run.data.params["epochs"], f"{minutes:.0f}", *scores]
    return "| " + " | ".join(cells) + " |"


if __name__ == "__main__":
    main()
