"""The recipe of a run: one typed, validated set of settings."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from doctor_derma.errors import DermaError, first_mistake
from doctor_derma.models.names import parse_name
from doctor_derma.terminal import terminal

# In the place of one source: a run for each.
ALL_SOURCES = "all"
# How many views of a picture a graph can average over, see `models/tta.py`.
TTA_COUNTS = (1, 2, 4, 8)
# So many keep the shape of a picture that is not square; the others are quarter turns.
UPRIGHT_VIEWS = 4
LEAST_SIDE = 32
# What settings were called before 0.2, and what they are called now.
OLDER_NAMES = {"prevalence": "prior_weight", "views": "tta"}


class Size(NamedTuple):
    """Height and width in pixels; written ``144x192``, or ``128`` where they are equal.

    Examples
    --------
    >>> str(Size(144, 192)), str(Size(128, 128))
    ('144x192', '128')
    >>> Size(144, 192).has_shape_of(Size(96, 128))
    True
    """

    height: int
    width: int

    def __str__(self) -> str:
        return str(self.height) if self.is_square else f"{self.height}x{self.width}"

    @property
    def is_square(self) -> bool:
        """Whether height and width are equal."""
        return self.height == self.width

    def has_shape_of(self, other: "Size") -> bool:
        """Say whether the ratio of the sides is exactly that of another size."""
        return self.height * other.width == other.height * self.width


def read_size(written: object) -> Size:
    """Read a size as a recipe or a flag has it: one number for a square, or HEIGHTxWIDTH.

    What is neither, or has a side under ``LEAST_SIDE``, raises ``ValueError``.

    Examples
    --------
    >>> read_size(128), read_size("144x192")
    (Size(height=128, width=128), Size(height=144, width=192))
    """
    if isinstance(written, Size):
        return written
    found = re.fullmatch(r"(\d+)(?:x(\d+))?", str(written), re.ASCII | re.IGNORECASE)
    if not found:
        raise ValueError("write a number of pixels, or HEIGHTxWIDTH such as 144x192")
    height = int(found[1])
    size = Size(height, int(found[2] or height))
    if min(size) < LEAST_SIDE:
        raise ValueError(f"a side is under {LEAST_SIDE} pixels; use {LEAST_SIDE} or more")
    return size


# Of a setting. A square is written as a number, so that recipes are as they always were.
PictureSize = Annotated[
    Size,
    PlainValidator(read_size),
    PlainSerializer(lambda size: size.height if size.is_square else str(size)),
]
Count = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, le=1)]
Part = Annotated[float, Field(ge=0, lt=1)]  # Never all of it.


class TrainConfig(BaseModel):
    """Settings of a training run, from a YAML file and/or flags.

    Sizes are in pixels, ``epochs`` in passes over the training split. The defaults are the
    recommended recipe for training from scratch, which needs no pretrained weights. Better in less
    time is to start from ImageNet's, as ``code/configs/finetune.yaml`` does.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str = Field(
        "eca_resnet18",
        description="Network: resnet18 (26, 34, 50), se_ or eca_ before it, timm/NAME",
    )
    pretrained: bool = Field(
        False, description="Start from ImageNet weights: a file's, a package's or the hub's"
    )
    weights: Path | None = Field(
        None, description="File of pretrained weights, .safetensors or .pth, for --pretrained"
    )
    freeze: Count = Field(
        0, description="Stages after the stem that stay as the start has them, 0 for none"
    )
    colour_constancy: bool = Field(False, description="Take the light's colour out of pictures")
    initial: str | None = Field(
        None, description="Run or bundle whose weights to start from; the average of a,b,c"
    )
    seed: Count = Field(0, description="Seed of weights, order, augmentation and folds")
    folds: Count = Field(
        0, description="Folds over the lesions of training and validation, 0 for none"
    )
    fold: Count | None = Field(
        None, description="Fold to validate with, all of them in turn unless given"
    )
    refit: bool = Field(
        False,
        description="Train on the validation images too; its export needs a twin without a fold",
    )
    leave_source_out: str | None = Field(
        None, description="Source to judge by and not to train on, 'all' for each in turn"
    )
    epochs: Positive = Field(48, description="Passes over the training images")
    patience: Positive = Field(48, description="Epochs without a better validation score")
    validate_every: Positive = Field(1, description="Epochs from one validation to the next")
    batch_size: int = Field(32, ge=2, description="Images a step and device")
    image_size: PictureSize = Field(
        Size(128, 128), description="Side of the input when predicting, or HEIGHTxWIDTH"
    )
    train_size: PictureSize = Field(
        Size(112, 112), validate_default=True, description="The same when training"
    )
    start_size: PictureSize = Field(
        Size(48, 48),
        validate_default=True,
        description="The same in the first epochs, growing to train_size",
    )
    growth: float = Field(0.85, gt=0, lt=1, description="Share of epochs in which images grow")
    learning_rate: float = Field(
        2e-3, gt=0, description="Peak of the schedule: a linear warm-up, then a cosine"
    )
    weight_decay: float = Field(0.05, ge=0, description="AdamW's decoupled weight decay")
    warmup: Part = Field(0.1, description="Share of steps before the peak")
    ema_decay: Part = Field(0.998, description="Averaging of the weights a step")
    label_smoothing: Part = Field(0.0, description="Mass moved off the true class")
    mixup: float = Field(0.0, ge=0, description="Alpha of mixup, 0 for none")
    cutmix: float = Field(0.0, ge=0, description="Alpha of cutmix, in turns with mixup if both")
    dropout: Part = Field(0.1, description="Dropped share of pooled features")
    drop_path: Part = Field(0.0, description="Dropped share of residual branches")
    imbalance: Literal["none", "weighted", "logit_adjusted"] = Field(
        "logit_adjusted", description="How the loss treats rare classes"
    )
    class_cap: Count = Field(
        0, description="Images of a class that an epoch shows at most, 0 for all"
    )
    prior_weight: Share = Field(
        0.5, description="Weight of the classes' shares in exported probabilities"
    )
    tta: int = Field(
        1, description="Test-time augmentation: views the exported graph averages, 1, 2, 4 or 8"
    )
    rotation: float = Field(180.0, ge=0, le=180, description="Largest rotation in degrees")
    zoom: float = Field(1.5, ge=1, description="Largest zoom into the picture")
    zoom_out: float = Field(
        1.0, gt=0, le=1, description="Smallest zoom: under 1 mirrored skin surrounds the picture"
    )
    aspect: float = Field(1.2, ge=1, description="Largest stretch of the aspect ratio")
    colour: Share = Field(0.2, description="Strength of the colour changes")
    cutout: Share = Field(0.3, description="Share of images with a patch cut out")
    cast: Share | None = Field(
        None,
        description="Strength of coloured light and mixed channels; a quarter of colour's if unset",
    )
    gamma: float = Field(1.0, ge=1, description="Largest power of the grey levels, or its inverse")
    vignette: Share = Field(0.0, description="Share of images with dark borders")
    hair: Share = Field(0.0, description="Share of images with hairs drawn over them")
    ruler: Share = Field(0.0, description="Share of images with a ruler's marks")
    bubbles: Share = Field(0.0, description="Share of images with bubbles of gel")
    blur: Share = Field(0.0, description="Share of images that are blurred")
    noise: Share = Field(0.0, description="Share of images with sensor noise added")
    jpeg: Share = Field(0.0, description="Share of images compressed as JPEG does")
    precision: Literal["auto", "fp32", "bf16"] = Field(
        "auto", description="auto takes bf16 where the processor computes in it"
    )
    accelerator: str = Field("auto", description="Lightning's: auto, cpu, gpu, ...")
    devices: int | Literal["auto"] = Field("auto", description="Lightning's: number of devices")
    nodes: Positive = Field(1, description="Machines training together")

    @property
    def balanced(self) -> bool:
        """Whether the loss makes up for the classes' shares, so that the logits leave them out."""
        return self.imbalance != "none"

    @property
    def judges_a_part(self) -> bool:
        """Whether runs of it are there to predict a fold or a source that they leave out."""
        return self.folds > 0 or self.leave_source_out is not None

    @property
    def runs_in_turn(self) -> bool:
        """Whether it stands for several runs: one a fold, or one a source."""
        return (self.folds > 0 and self.fold is None) or self.leave_source_out == ALL_SOURCES

    @model_validator(mode="before")
    @classmethod
    def _in_new_names(cls, values: Any) -> Any:
        return in_new_names(values) if isinstance(values, dict) else values

    @field_validator(
        *("model", "weights", "folds", "fold", "refit", "leave_source_out", "validate_every"),
        *("train_size", "start_size", "tta"),
    )
    @classmethod
    def _fits(cls, value: Any, info: ValidationInfo) -> Any:
        """Refuse what can't be, or does not go with a setting above."""
        others = info.data
        folds = others.get("folds", 0)
        match info.field_name:
            case "model":
                try:
                    parse_name(value)
                except DermaError as error:
                    raise ValueError(str(error).removeprefix("model: ")) from error
            case "weights" if value is not None and not others.get("pretrained", True):
                raise ValueError(
                    "nothing reads it without pretrained; set that, too, or leave it out"
                )
            case "folds" if value == 1:
                raise ValueError(
                    "one fold leaves nothing to train on; use two or more, or 0 for none"
                )
            case "fold" if value is not None and value >= folds:
                known = f"use 0 to {folds - 1}" if folds else "say how many there are with folds"
                raise ValueError(f"no such fold; {known}")
            case "refit" if value and folds:
                raise ValueError("a refit leaves out no fold; leave one of refit and folds")
            case "leave_source_out" if value is not None and (folds or others.get("refit")):
                reason = "a refit leaves out no source"
                if folds:
                    reason = "a run leaves out a fold or a source"
                raise ValueError(f"{reason}; leave one of the two settings")
            case "validate_every" if (epochs := others.get("epochs", value)) % value:
                raise ValueError(
                    f"the last of {epochs} epochs would not be validated; use a divisor"
                )
            case "train_size" | "start_size":
                if not value.has_shape_of(image_size := others.get("image_size", value)):
                    raise ValueError(
                        f"not the shape of image_size, {image_size}; all three sizes need the "
                        "same ratio of height to width"
                    )
            case "tta":
                check_tta(value, others.get("image_size", Size(1, 1)))
        return value


def check_tta(count: int, size: Size) -> None:
    """Raise ``ValueError`` for a number of views that there isn't, or that needs a square."""
    if count not in TTA_COUNTS:
        raise ValueError(f"use one of {', '.join(map(str, TTA_COUNTS))}")
    if count > UPRIGHT_VIEWS and not size.is_square:
        raise ValueError(
            f"some of them are quarter turns, which need a square and not {size}; "
            f"use {UPRIGHT_VIEWS} or fewer"
        )


def in_new_names(values: dict[str, Any]) -> dict[str, Any]:
    """Return settings under the names of today."""
    return {OLDER_NAMES.get(name, name): value for name, value in values.items()}


def warn_of_older_names(names: Iterable[str], file: Path | None = None) -> None:
    """Say once, on standard error, which of these names of settings will not be read for long.

    They are of a file, or of flags where there is none. A setting that is there under both its
    names raises `DermaError`.
    """
    given = set(names)
    place = f"{file}: " if file else ""
    renamed = []
    for name in (name for name in OLDER_NAMES if name in given):
        older, newer = _shown(name, file), _shown(OLDER_NAMES[name], file)
        if OLDER_NAMES[name] in given:
            raise DermaError(
                f"{place}{older} and {newer} are one setting; leave the first of them out"
            )
        renamed.append(f"{older} is now {newer}")
    if renamed:
        terminal(error=True, soft_wrap=True).print(
            f"{place}{', '.join(renamed)}; the older name is read for one more release",
            style="yellow",
        )


def _shown(name: str, file: Path | None) -> str:
    return name if file else f"--{name.replace('_', '-')}"


def load_config(path: Path | None, flags: dict[str, Any], *, warn: bool = True) -> TrainConfig:
    """Build the settings from a YAML file, flags over it, and defaults under it.

    With ``warn`` it says where settings have older names, as for recipes, but not for a run's own.

    Raises
    ------
    DermaError
        When the file is missing or no YAML mapping, a key is unknown or a value is bad.
    """
    values = read_yaml(path) if path else None
    if not isinstance(values, dict | None):
        raise DermaError(f"{path}: not a mapping of settings; write one 'key: value' a line")
    values = {str(key): value for key, value in (values or {}).items()}
    if warn:
        warn_of_older_names(values, path)
        warn_of_older_names(flags)
    values, flags = in_new_names(values), in_new_names(flags)
    origin = {key: _shown(key, None) for key in flags} | {"": str(path or "flags")}
    try:
        return TrainConfig.model_validate(values | flags)
    except ValidationError as error:
        wrong = first_mistake(error)
        key = wrong.keys[0]
        where = origin.get(key, f"{path}: {key}" if path else _shown(key, None))
        if wrong.type == "extra_forbidden":
            known = ", ".join(TrainConfig.model_fields)
            raise DermaError(f"{where}: no such setting; the settings are {known}") from error
        raise DermaError(f"{where}: {as_written(wrong.given)}: {wrong.reason}") from error


def as_written(value: object) -> str:
    """Return a setting's wrong value as a message quotes it."""
    return str(value) if isinstance(value, Size) else repr(value)


def read_yaml(path: Path) -> Any:
    """Return what a file of ``--config`` holds; one missing or not YAML raises `DermaError`."""
    import yaml  # here, as the command line reads the settings' names without it

    try:
        return yaml.safe_load(path.read_text())
    except OSError as error:
        raise DermaError(f"{path}: can't be read ({error.strerror}); check --config") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        line = getattr(getattr(error, "problem_mark", None), "line", None)
        place = "" if line is None else f" (line {line + 1})"
        raise DermaError(f"{path}: not valid YAML{place}; write one 'key: value' a line") from error
