"""The recipe of a run: one typed, validated set of settings."""

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator

from doctor_derma.errors import DermaError
from doctor_derma.models.names import parse_name

# How many times a graph can look at a picture, see `models/views.py`.
VIEW_COUNTS = (1, 2, 4, 8)


class TrainConfig(BaseModel):
    """Settings of a training run, from a YAML file and/or flags.

    Sizes are in pixels, rates in their usual units, ``epochs`` in passes over the training
    split. The defaults are the recipe measured in ``benchmarks/README.md``.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str = Field(
        "eca_resnet18",
        description="Network: resnet18 (26, 34, 50), se_ or eca_ before it, timm/NAME",
    )
    pretrained: bool = Field(False, description="Start from timm's weights, if a hub is reached")
    colour_constancy: bool = Field(False, description="Take the light's colour out of pictures")
    initial: str | None = Field(
        None, description="Run or bundle whose weights to start from; the average of a,b,c"
    )
    seed: int = Field(0, ge=0, description="Seed of weights, order and augmentation")
    epochs: int = Field(30, ge=1, description="Passes over the training images")
    patience: int = Field(10, ge=1, description="Epochs without a better validation score")
    validate_every: int = Field(1, ge=1, description="Epochs from one validation to the next")
    batch_size: int = Field(64, ge=2, description="Images a step and device")
    image_size: int = Field(128, ge=32, description="Side of the square input when predicting")
    train_size: int = Field(112, ge=32, description="Side of the input when training")
    start_size: int = Field(
        64, ge=32, description="Side in the first epochs, growing to train_size"
    )
    growth: float = Field(0.5, gt=0, lt=1, description="Share of epochs in which images grow")
    learning_rate: float = Field(2e-3, gt=0, description="Peak of the one-cycle schedule")
    weight_decay: float = Field(0.05, ge=0, description="AdamW's decoupled weight decay")
    warmup: float = Field(0.2, ge=0, lt=1, description="Share of steps before the peak")
    ema_decay: float = Field(0.995, ge=0, lt=1, description="Averaging of the weights a step")
    label_smoothing: float = Field(0.0, ge=0, lt=1, description="Mass moved off the true class")
    mixup: float = Field(0.0, ge=0, description="Alpha of mixup, 0 for none")
    cutmix: float = Field(0.0, ge=0, description="Alpha of cutmix, in turns with mixup if both")
    dropout: float = Field(0.1, ge=0, lt=1, description="Dropped share of pooled features")
    drop_path: float = Field(0.0, ge=0, lt=1, description="Dropped share of residual branches")
    imbalance: Literal["none", "weighted", "logit_adjusted"] = Field(
        "logit_adjusted", description="How the loss treats rare classes"
    )
    class_cap: int = Field(
        0, ge=0, description="Images of a class that an epoch shows at most, 0 for all"
    )
    prevalence: float = Field(
        0.5, ge=0, le=1, description="Weight of the classes' shares in exported probabilities"
    )
    views: int = Field(
        1, description="Views of a picture that the exported graph averages over: 1, 2, 4 or 8"
    )
    rotation: float = Field(180.0, ge=0, le=180, description="Largest rotation in degrees")
    zoom: float = Field(1.5, ge=1, description="Largest zoom into the picture")
    aspect: float = Field(1.2, ge=1, description="Largest stretch of the aspect ratio")
    colour: float = Field(0.2, ge=0, le=1, description="Strength of the colour changes")
    cutout: float = Field(0.3, ge=0, le=1, description="Share of images with a patch cut out")
    noise: float = Field(0.0, ge=0, le=1, description="Share of images with sensor noise added")
    precision: Literal["auto", "fp32", "bf16"] = Field(
        "auto", description="auto takes bf16 where the processor computes in it"
    )
    accelerator: str = Field("auto", description="Lightning's: auto, cpu, gpu, ...")
    devices: int | Literal["auto"] = Field("auto", description="Lightning's: number of devices")
    nodes: int = Field(1, ge=1, description="Machines training together")

    @property
    def balanced(self) -> bool:
        """Whether the loss makes up for the classes' shares, so that the logits leave them out."""
        return self.imbalance != "none"

    @field_validator("validate_every")
    @classmethod
    def _ends_validated(cls, every: int, info: ValidationInfo) -> int:
        epochs = info.data.get("epochs", every)
        if epochs % every:
            raise ValueError(f"the last of {epochs} epochs would not be validated; use a divisor")
        return every

    @field_validator("views")
    @classmethod
    def _known_views(cls, count: int) -> int:
        if count not in VIEW_COUNTS:
            raise ValueError(f"use one of {', '.join(map(str, VIEW_COUNTS))}")
        return count

    @field_validator("model")
    @classmethod
    def _known_model(cls, name: str) -> str:
        try:
            parse_name(name)
        except DermaError as error:
            raise ValueError(str(error).removeprefix("model: ")) from error
        return name


def load_config(path: Path | None, flags: dict[str, Any]) -> TrainConfig:
    """Build the settings from a YAML file, flags over it, and defaults under it.

    Raises
    ------
    DermaError
        When the file is missing or no YAML mapping, a key is unknown or a value is bad.
    """
    values = _read_settings(path) if path else {}
    origin = {key: f"--{key.replace('_', '-')}" for key in flags} | {"": str(path or "flags")}
    try:
        return TrainConfig.model_validate(values | flags)
    except ValidationError as error:
        first = error.errors()[0]
        key = str(first["loc"][0])
        where = origin.get(key, f"{path}: {key}")
        if first["type"] == "extra_forbidden":
            known = ", ".join(TrainConfig.model_fields)
            raise DermaError(f"{where}: no such setting; the settings are {known}") from error
        message = first["msg"].removeprefix("Value error, ")
        raise DermaError(f"{where}: {first['input']!r}: {message}") from error


def read_yaml(path: Path) -> Any:
    """Return what a YAML file that ``--config`` names holds.

    Raises
    ------
    DermaError
        When the file is missing or not YAML.
    """
    import yaml  # here, as the command line reads the settings' names without it

    try:
        return yaml.safe_load(path.read_text())
    except OSError as error:
        raise DermaError(f"{path}: can't be read ({error.strerror}); check --config") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        line = getattr(getattr(error, "problem_mark", None), "line", None)
        place = "" if line is None else f" (line {line + 1})"
        raise DermaError(f"{path}: not valid YAML{place}; write one 'key: value' a line") from error


def _read_settings(path: Path) -> dict[str, Any]:
    values = read_yaml(path)
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise DermaError(f"{path}: not a mapping of settings; write one 'key: value' a line")
    return {str(key): value for key, value in values.items()}
