"""The best trial's recipe, as a file that ``derma train --config`` takes."""

import yaml

from doctor_derma.atomic import replacing_file
from doctor_derma.distributed.tuning.folder import SweepFolder
from doctor_derma.distributed.tuning.records import TrialRecord
from doctor_derma.training.config import TrainConfig


def write_best(made: SweepFolder, best: TrialRecord, epoch: int, score: float) -> None:
    """Write the recipe of the best trial, with where it comes from in a comment."""
    sweep = made.sweep
    comment = (
        f"# The best of {sweep.trials} trials of sweep {made.name}: {best.name},\n"
        f"# {sweep.metric} {score:.6f} after epoch {epoch}, on {made.info.data_name}.\n"
        f"# Drawn for it: {', '.join(sweep.space)}.\n"
    )
    if sweep.scheduler == "pbt":
        comment += "# Under PBT these are its last settings; earlier epochs may have had others.\n"
    recipe = TrainConfig.model_validate(sweep.base | best.settings)
    with replacing_file(made.best_file) as scratch:
        scratch.write_text(comment + yaml.safe_dump(recipe.model_dump(), sort_keys=False))
