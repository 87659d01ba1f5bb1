"""What a sweep tries: its YAML file, read, typed, and checked before a trial costs anything."""

import math
from itertools import combinations, product
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from doctor_derma.errors import DermaError, first_mistake
from doctor_derma.training.config import (
    TrainConfig,
    as_written,
    in_new_names,
    load_config,
    read_yaml,
    warn_of_older_names,
)

Mode = Literal["max", "min"]
Kind = Literal["choice", "uniform", "loguniform", "randint"]
# Whole numbers up to so many are all tried when a sweep is checked, of more only both ends.
_MOST_TRIED = 64
_GOLDEN = (3 - math.sqrt(5)) / 2
# Where a trial trains is Ray's choice.
_RESOURCES = ("accelerator", "devices", "nodes")
# What a run may change between two epochs: neither its weights nor its number of steps.
CHANGEABLE = (
    *("learning_rate", "weight_decay", "ema_decay", "label_smoothing", "mixup", "cutmix"),
    *("dropout", "drop_path"),
    *("rotation", "zoom", "aspect", "colour", "cutout", "noise"),
)


class Dimension(BaseModel):
    """A list of values to choose from, or a range with both ends in it.

    ``values`` are all the values of a choice, or the two ends of ``uniform``, ``loguniform``
    (uniform in the logarithm) and ``randint`` (whole numbers).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Kind
    values: tuple[Any, ...]

    @model_validator(mode="before")
    @classmethod
    def _as_written(cls, written: Any) -> Any:
        if isinstance(written, list):
            written = {"choice": written}
        kinds = list(written) if isinstance(written, dict) else []
        if len(kinds) != 1 or kinds[0] not in get_args(Kind):
            raise ValueError(
                "write a list of values, or one of choice: [...], uniform: [low, high], "
                "loguniform: [low, high] and randint: [low, high]"
            )
        ((kind, values),) = written.items()
        if not isinstance(values, list):
            raise ValueError(f"{kind} takes a list, such as {kind}: [1, 2]")
        return {"kind": kind, "values": _checked(kind, values)}

    def written(self) -> dict[str, list[Any]]:
        """Return it as a YAML file holds it."""
        return {self.kind: list(self.values)}

    def tried(self) -> list[Any]:
        """Return values that stand for all of them when a sweep is checked.

        A range of fractions is tried at both ends and between, so that a setting that is a
        whole number is not taken for one that may be any.
        """
        if self.kind == "choice":
            return list(self.values)
        low, high = self.values
        if self.kind == "randint":
            return list(range(low, high + 1)) if high - low < _MOST_TRIED else [low, high]
        return [low, low + (high - low) * _GOLDEN, high]

    def nearest(self, value: Any) -> Any:
        """Return a value, or the end of the range that it lies beyond."""
        if self.kind == "choice":
            return value
        low, high = self.values
        return min(max(value, low), high)


def _checked(kind: Kind, values: list[Any]) -> list[Any]:
    """Return the values of a choice, or the ends of a range as numbers."""
    if kind == "choice":
        if not values:
            raise ValueError("choice has no values; write at least one")
        return values
    try:
        low, high = (float(value) for value in values)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{values}: not two numbers; write [low, high]") from error
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ValueError(f"[{low:g}, {high:g}]: low must be below high")
    if kind == "loguniform" and low <= 0:
        raise ValueError(f"{values}: loguniform takes numbers above 0; use uniform, or raise low")
    if kind != "randint":
        return [low, high]
    if not (low.is_integer() and high.is_integer()):
        raise ValueError(f"{values}: randint takes whole numbers; use uniform for fractions")
    return [int(low), int(high)]


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

    def epochs(self) -> list[int]:
        """Return epochs of the recipes that it may draw, the least and the most among them."""
        if dimension := self.space.get("epochs"):
            return [int(value) for value in dimension.values]
        # Not the whole base, which need not be a recipe without a value of the space.
        given = {name: value for name, value in self.base.items() if name == "epochs"}
        return [TrainConfig.model_validate(given).epochs]


def read_sweep(path: Path) -> Sweep:
    """Read the YAML file of a sweep and check every setting that it may draw.

    Where ``base`` is the path of a recipe, it is taken from the folder of the file.

    Raises
    ------
    DermaError
        When the file is missing or no YAML mapping, a key is unknown, or a value is bad or
        would make a recipe that can't be trained.
    """
    values = read_yaml(path)
    if not isinstance(values, dict):
        raise DermaError(f"{path}: not a sweep; write at least the keys space and trials")
    values = {str(key): value for key, value in values.items()}
    if isinstance(base := values.get("base"), str):
        recipe = load_config(path.parent / base, {})
        values["base"] = recipe.model_dump(mode="json", exclude_unset=True)
    parts = [part for part in ("base", "space") if isinstance(values.get(part), dict)]
    warn_of_older_names((name for part in parts for name in values[part]), path)
    values |= {part: in_new_names(values[part]) for part in parts}
    try:
        sweep = Sweep.model_validate(values)
    except ValidationError as error:
        raise _refusal(path, error) from error
    if reason := _what_is_wrong(sweep):
        raise DermaError(f"{path}: {reason}")
    return sweep


def _refusal(path: Path, error: ValidationError) -> DermaError:
    wrong = first_mistake(error)
    where = f"{path}: {wrong.place}"
    if wrong.type == "extra_forbidden":
        known = ", ".join(Sweep.model_fields)
        return DermaError(f"{where}: no such key of a sweep; the keys are {known}")
    if wrong.type == "missing":
        return DermaError(f"{where}: missing; a sweep needs space and trials")
    return DermaError(f"{where}: {wrong.given!r}: {wrong.reason}")


def _what_is_wrong(sweep: Sweep) -> str | None:
    """Say why a sweep could draw a recipe that can't be trained, and what to do; None if not."""
    for name in (*sweep.base, *sweep.space):
        where = "space" if name in sweep.space else "base"
        if name not in TrainConfig.model_fields:
            known = ", ".join(TrainConfig.model_fields)
            return f"{where}.{name}: no such setting; the settings are {known}"
    for name in _RESOURCES:
        if name in sweep.space:
            remedy = "use cpus_per_trial and gpus_per_trial"
            return f"space.{name}: where a trial trains can't be tried; {remedy}"
    for name, alone in (("devices", (1, "auto")), ("nodes", (1,))):
        if (value := sweep.base.get(name, 1)) not in alone:
            return f"base.{name}: {value!r}: a trial trains in one process; leave {name} out"
    if reason := _wrong_recipe(sweep):
        return reason
    if sweep.scheduler == "pbt" and (reason := _wrong_for_pbt(sweep)):
        return reason
    least = min(sweep.epochs())
    if sweep.scheduler != "none" and sweep.grace_epochs > least:
        reason = f"more than the {least} epochs of a trial"
        return f"grace_epochs: {sweep.grace_epochs}: {reason}; use fewer, or scheduler: none"
    return None


def _wrong_recipe(sweep: Sweep) -> str | None:
    """Try every value beside every value of every other setting, as some only fail together."""
    tried = {name: dimension.tried() for name, dimension in sweep.space.items()}
    first = {name: values[0] for name, values in tried.items()}
    drawn = [(first, (*sweep.base,))]
    drawn += [(first | {name: value}, (name,)) for name in tried for value in tried[name]]
    for pair in combinations(tried, 2):
        values = product(*(tried[name] for name in pair))
        drawn += [(first | dict(zip(pair, both, strict=True)), pair) for both in values]
    reasons = (_wrong_settings(sweep, settings, suspects) for settings, suspects in drawn)
    return next(filter(None, reasons), None)


def _wrong_settings(sweep: Sweep, drawn: dict[str, Any], suspects: tuple[str, ...]) -> str | None:
    try:
        recipe = TrainConfig.model_validate(sweep.base | drawn)
    except ValidationError as error:
        wrong = first_mistake(error)
        key = wrong.keys[0]
        where = "space" if key in sweep.space else "base"
        others = [name for name in suspects if name != key and name in sweep.space]
        beside = "".join(f" beside {name} {drawn[name]!r}" for name in others)
        return f"{where}.{key}: {as_written(wrong.given)}{beside}: {wrong.reason}"
    if recipe.runs_in_turn:
        remedy = "name its fold, or the source that it leaves out"
        return f"base: folds, leave_source_out: a trial is one run; {remedy}"
    return None


def _wrong_for_pbt(sweep: Sweep) -> str | None:
    for name in sweep.space:
        if name not in CHANGEABLE:
            remedy = f"use scheduler: asha, or only {', '.join(CHANGEABLE)}"
            return f"space.{name}: can't change in the middle of a run, as pbt does; {remedy}"
    if sweep.search != "random":
        return f"search: {sweep.search}: pbt does its own; use search: random"
    if sweep.trials < 2:
        return f"trials: {sweep.trials}: pbt needs two at least, to exchange"
    if sweep.parallel is not None:
        reason = "with pbt all trials take turns on the cores there are"
        return f"parallel: {sweep.parallel}: {reason}; leave parallel out"
    return None
