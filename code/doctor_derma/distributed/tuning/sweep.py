"""What a sweep tries: its YAML file, read and typed."""

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator

from doctor_derma.distributed.tuning.checks import check_sweep
from doctor_derma.distributed.tuning.dimension import Dimension
from doctor_derma.errors import DermaError
from doctor_derma.training.config import load_config, read_yaml

Mode = Literal["max", "min"]


class Sweep(BaseModel):
    """Settings of a sweep.

    ``base`` holds what all trials share, ``space`` what they differ in. Rates, sizes and
    epochs are those of ``TrainConfig``.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    base: dict[str, Any] = Field(default_factory=dict, description="Settings of every trial")
    space: dict[str, Dimension] = Field(min_length=1, description="Values to try, by setting")
    trials: int = Field(ge=1, description="Runs to train, with PBT the population")
    scheduler: Literal["asha", "pbt", "none"] = Field("asha", description="What stops trials")
    search: Literal["random", "optuna"] = Field("random", description="What draws settings")
    metric: Literal["val_macro_auc", "val_balanced_accuracy", "val_loss"] = Field(
        "val_macro_auc", description="Validation score that ranks trials"
    )
    mode: Mode | None = Field(None, validate_default=True, description="Which end is better")
    grace_epochs: int = Field(
        1, ge=1, description="Epochs before ASHA may stop a trial, or between exchanges of PBT"
    )
    reduction: float = Field(3, gt=1, description="ASHA keeps one in so many at each step")
    cpus_per_trial: int = Field(1, ge=1, description="Processor cores and threads of a trial")
    gpus_per_trial: float = Field(0, ge=0, le=1, description="GPUs of a trial, or a share of one")
    seed: int = Field(0, ge=0, description="Seed of the search")
    parallel: int | None = Field(None, ge=1, description="Trials at a time, unset for all cores")

    @field_validator("mode")
    @classmethod
    def _mode_of_metric(cls, mode: Mode | None, info: ValidationInfo) -> Mode:
        better: Mode = "min" if info.data.get("metric") == "val_loss" else "max"
        if mode not in (None, better):
            raise ValueError(f"{info.data.get('metric')} is better at its '{better}'; use that")
        return better

    def written(self) -> dict[str, Any]:
        """Return the sweep as a YAML file holds it."""
        values = self.model_dump()
        values["space"] = {name: values.written() for name, values in self.space.items()}
        return values


def read_sweep(path: Path) -> Sweep:
    """Read the YAML file of a sweep and check every setting that it may draw.

    Where ``base`` is the path of a recipe, it is taken from the folder of the file.

    Raises
    ------
    DermaError
        When the file is missing or no YAML mapping, a key is unknown, or a value is bad or
        would make a recipe that can't be trained.
    """
    values = _read(path)
    if isinstance(base := values.get("base"), str):
        recipe = load_config(path.parent / base, {})
        values["base"] = recipe.model_dump(exclude_unset=True)
    try:
        sweep = Sweep.model_validate(values)
    except ValidationError as error:
        raise _refusal(path, error) from error
    check_sweep(path, sweep)
    return sweep


def _refusal(path: Path, error: ValidationError) -> DermaError:
    first = error.errors()[0]
    where = f"{path}: {'.'.join(map(str, first['loc']))}"
    if first["type"] == "extra_forbidden":
        known = ", ".join(Sweep.model_fields)
        return DermaError(f"{where}: no such key of a sweep; the keys are {known}")
    if first["type"] == "missing":
        return DermaError(f"{where}: missing; a sweep needs space and trials")
    message = first["msg"].removeprefix("Value error, ")
    return DermaError(f"{where}: {first['input']!r}: {message}")


def _read(path: Path) -> dict[str, Any]:
    values = read_yaml(path)
    if not isinstance(values, dict):
        raise DermaError(f"{path}: not a sweep; write at least the keys space and trials")
    return {str(key): value for key, value in values.items()}
