"""What makes a sweep impossible, found before a trial costs anything."""

from itertools import combinations, product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from doctor_derma.errors import DermaError
from doctor_derma.training.config import TrainConfig, as_written

if TYPE_CHECKING:
    from doctor_derma.distributed.tuning.sweep import Sweep

# Where a trial trains is Ray's choice.
_PLACES = ("accelerator", "devices", "nodes")
# What a run may change between two epochs: neither its weights nor its number of steps.
CHANGEABLE = (
    *("learning_rate", "weight_decay", "ema_decay", "label_smoothing", "mixup", "cutmix"),
    *("dropout", "drop_path"),
    *("rotation", "zoom", "aspect", "colour", "cutout", "noise"),
)


def check_sweep(path: Path, sweep: "Sweep") -> None:
    """Refuse a sweep that could draw a recipe that can't be trained.

    Raises
    ------
    DermaError
        With the file, the setting and what to do.
    """
    for name in (*sweep.base, *sweep.space):
        where = "space" if name in sweep.space else "base"
        if name not in TrainConfig.model_fields:
            known = ", ".join(TrainConfig.model_fields)
            raise DermaError(f"{path}: {where}.{name}: no such setting; the settings are {known}")
    for name in _PLACES:
        if name in sweep.space:
            raise DermaError(
                f"{path}: space.{name}: where a trial trains can't be tried; "
                "use cpus_per_trial and gpus_per_trial"
            )
    _check_recipes(path, sweep)
    _check_one_process(path, sweep)
    if sweep.scheduler == "pbt":
        _check_pbt(path, sweep)
    _check_grace(path, sweep)


def _check_recipes(path: Path, sweep: "Sweep") -> None:
    """Try every value beside every value of every other setting, as some only fail together."""
    tried = {name: dimension.tried() for name, dimension in sweep.space.items()}
    first = {name: values[0] for name, values in tried.items()}
    _build(path, sweep, first, *sweep.base)
    for name, values in tried.items():
        for value in values:
            _build(path, sweep, first | {name: value}, name)
    for one, other in combinations(tried, 2):
        for pair in product(tried[one], tried[other]):
            _build(path, sweep, first | dict(zip((one, other), pair, strict=True)), one, other)


def _build(path: Path, sweep: "Sweep", drawn: dict[str, Any], *suspects: str) -> None:
    try:
        recipe = TrainConfig.model_validate(sweep.base | drawn)
    except ValidationError as error:
        first = error.errors()[0]
        key = str(first["loc"][0])
        where = "space" if key in sweep.space else "base"
        message = first["msg"].removeprefix("Value error, ")
        others = [name for name in suspects if name != key and name in sweep.space]
        beside = "".join(f" beside {name} {drawn[name]!r}" for name in others)
        written = as_written(first["input"])
        raise DermaError(f"{path}: {where}.{key}: {written}{beside}: {message}") from error
    if recipe.runs_in_turn:
        raise DermaError(
            f"{path}: base: folds, leave_source_out: a trial is one run; name its fold, or the "
            "source that it leaves out"
        )


def _check_one_process(path: Path, sweep: "Sweep") -> None:
    for name, alone in (("devices", (1, "auto")), ("nodes", (1,))):
        if sweep.base.get(name, 1) not in alone:
            raise DermaError(
                f"{path}: base.{name}: {sweep.base[name]!r}: a trial trains in one process; "
                f"leave {name} out"
            )


def _check_pbt(path: Path, sweep: "Sweep") -> None:
    for name in sweep.space:
        if name not in CHANGEABLE:
            raise DermaError(
                f"{path}: space.{name}: can't change in the middle of a run, as pbt does; "
                f"use scheduler: asha, or only {', '.join(CHANGEABLE)}"
            )
    if sweep.search != "random":
        raise DermaError(f"{path}: search: {sweep.search}: pbt does its own; use search: random")
    if sweep.trials < 2:
        raise DermaError(f"{path}: trials: {sweep.trials}: pbt needs two at least, to exchange")
    if sweep.parallel is not None:
        raise DermaError(
            f"{path}: parallel: {sweep.parallel}: with pbt all trials take turns on the cores "
            "there are; leave parallel out"
        )


def _check_grace(path: Path, sweep: "Sweep") -> None:
    if sweep.scheduler != "none" and sweep.grace_epochs > fewest_epochs(sweep):
        raise DermaError(
            f"{path}: grace_epochs: {sweep.grace_epochs}: more than the {fewest_epochs(sweep)} "
            f"epochs of a trial; use fewer, or scheduler: none"
        )


def fewest_epochs(sweep: "Sweep") -> int:
    """Return the epochs of the shortest recipe that a sweep may draw."""
    return min(_epochs(sweep))


def most_epochs(sweep: "Sweep") -> int:
    """Return the epochs of the longest recipe that a sweep may draw."""
    return max(_epochs(sweep))


def _epochs(sweep: "Sweep") -> list[int]:
    if dimension := sweep.space.get("epochs"):
        return [int(value) for value in dimension.values]
    # Not the whole base, which need not be a recipe without a value of the space.
    given = {name: value for name, value in sweep.base.items() if name == "epochs"}
    return [TrainConfig.model_validate(given).epochs]
