"""The bundle: a folder with ``model.onnx`` and ``model.json``, all that serving reads."""

import hashlib
import json
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from doctor_derma.atomic import replacing_file
from doctor_derma.decisions import Costs, Rule, Rulebook
from doctor_derma.errors import DermaError, first_mistake

GRAPH_FILE = "model.onnx"
INFO_FILE = "model.json"
CARD_FILE = "README.md"
# The graph's input and outputs; the bundle format has an older word for the OOD score.
INPUT_NAME = "images"
OUTPUT_NAMES = PROBABILITIES, ACTIVATION_MAPS, OOD_SCORE = (
    "probabilities",
    "activation_maps",
    "unfamiliarity",
)
Precision = Literal["fp32", "fp16", "int8"]
SetKind = Literal["marginal", "class-conditional"]
# What is positive, where a picture is called one of two.
Question = Literal["malignant", "melanoma"]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DiagnosisName(_Strict):
    """A class of the model: the short name used in tables and the name people read."""

    name: str
    full_name: str


class InputSize(_Strict):
    """What the graph takes: uint8 RGB of shape (n, height, width, 3) under ``images``."""

    height: int = Field(gt=0)
    width: int = Field(gt=0)
    resize: Literal["stretch-bilinear"] = "stretch-bilinear"
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


class Weights(_Strict):
    """The graph file, so that a damaged or swapped one is refused."""

    file: str = GRAPH_FILE
    sha256: str
    bytes: int
    precision: Precision


class DataProvenance(_Strict):
    """What the model was trained on."""

    name: str
    fingerprint: str
    licence: str
    images: dict[str, int]


class Pretrained(_Strict):
    """The weights that training began with, of other images."""

    name: str
    sha256: str
    licence: str


class CodeProvenance(_Strict):
    """What the model was trained with."""

    version: str
    git_commit: str


class DecoderProvenance(_Strict):
    """What decoded the images that the bundle was fitted on.

    ``version`` counts the changes of our own decoding that change pixels, see
    ``images/decoding.py``.
    """

    version: int
    pillow: str
    libvips: str


class Parity(_Strict):
    """How far the graph is from what it was made from, on real images.

    An fp32 graph is made from the torch network; a quantized one from the fp32 graph, and then
    ``same_label`` is the share of images whose most probable class is the same.
    """

    reference: Literal["torch network", "fp32 graph"] = "torch network"
    max_probability_difference: float
    same_label: float | None = Field(default=None, ge=0, le=1)
    images: int


class Conformal(_Strict):
    """Which classes are in a picture's prediction set, see ``inference/conformal.py``.

    ``threshold`` is that of all images together; ``thresholds``, one a class in the model's order,
    are there where the sets are class-conditional.
    """

    method: Literal["aps"] = "aps"
    target: float = Field(gt=0, lt=1)
    threshold: float = Field(ge=0, le=1)
    thresholds: tuple[float, ...] | None = Field(default=None, exclude_if=lambda of: of is None)
    images: int

    @property
    def sets(self) -> SetKind:
        """What the sets promise: the target on average over all images, or for each class."""
        return "class-conditional" if self.thresholds else "marginal"

    @property
    def limit(self) -> float | tuple[float, ...]:
        """The threshold that decides, or that of each class."""
        return self.thresholds or self.threshold


class PatientTerm(_Strict):
    """What age, sex and site say beside a picture, see ``inference/patient.py``.

    ``weights`` has a row a column of ``encode_patients`` and in it a number a class; ``conformal``
    is of the answers with patient data; ``metrics`` are of ``picture``, without them, and of
    ``both``, on images that neither network nor term has seen.
    """

    sites: tuple[str, ...]
    weights: tuple[tuple[float, ...], ...]
    conformal: Conformal
    metrics: dict[str, dict[str, float]]


class OodThreshold(_Strict):
    """What the graph's OOD score is scaled to: this share of some images is under 1."""

    acceptance: float = Field(gt=0, lt=1)
    images: int


class QualityLimits(_Strict):
    """Beyond what all but a few training images are, see ``images/quality.py``."""

    darkest: float
    brightest: float
    blurriest: float


class Expected(_Strict):
    """A share of so many images, with the 95% interval over resampled lesions."""

    value: float = Field(ge=0, le=1)
    low: float = Field(ge=0, le=1)
    high: float = Field(ge=0, le=1)
    images: int


class MelanomaFirst(_Strict):
    """The threshold on the probability of melanoma, and what it did where it was chosen."""

    threshold: float = Field(ge=0, le=1)
    target_specificity: float = Field(gt=0, le=1)
    sensitivity: Expected
    specificity: Expected


class RuleFigures(_Strict):
    """What a rule did on the images that the bundle was fitted on.

    ``metrics`` are those of ``RULE_METRICS``; ``called`` is each class's share of the calls.
    """

    metrics: dict[str, float]
    called: tuple[float, ...]


class OperatingPoint(_Strict):
    """What was asked of ``derma decide``, and what it did on images that training has not seen.

    ``threshold`` is that of the rule ``operating-point``; None where the rule ``costs`` was asked
    for. ``review_rate`` is the share of all images that were called one of ``classes``.
    """

    question: Question
    classes: tuple[str, ...]
    target: str
    threshold: float | None = Field(default=None, ge=0, le=1)
    sensitivity: Expected
    specificity: Expected
    review_rate: Expected


class Decision(_Strict):
    """How probabilities become a label: the rules of a bundle, see ``decisions.py``.

    Every bundle has the rules ``balanced`` and ``most-probable``. One without this section decides
    as it always has, by the most probable class.
    """

    default: Rule = "most-probable"
    melanoma_first: MelanomaFirst | None = None
    costs: dict[str, dict[str, float]] | None = None
    operating_point: OperatingPoint | None = None
    figures: dict[Rule, RuleFigures] = Field(default_factory=dict)

    @property
    def settings(self) -> dict[str, Any]:
        """All that decides, as JSON values: without the figures of what it did."""
        return self.model_dump(mode="json", exclude={"figures"})

    @property
    def expectations(self) -> dict[Rule, str]:
        """What can be expected of rules that were chosen for it, a sentence each."""
        found: dict[Rule, str] = {}
        if sentence := self.melanoma_expectation:
            found["melanoma-first"] = sentence
        if point := self.operating_point:
            over = f" with a threshold of {point.threshold:.1%}" if point.threshold else ""
            asked = f"{point.question} ({', '.join(point.classes)})"
            told = (
                f"{name} {of.value:.0%} (95% interval {of.low:.0%} to {of.high:.0%})"
                for name, of in (
                    ("sensitivity", point.sensitivity),
                    ("specificity", point.specificity),
                    ("called so", point.review_rate),
                )
            )
            found["costs" if point.threshold is None else "operating-point"] = (
                f"Chosen for {asked} by {point.target}{over}; on "
                f"{point.review_rate.images:,} images that training has not seen: "
                f"{', '.join(told)}."
            )
        return found

    @property
    def melanoma_expectation(self) -> str | None:
        """What can be expected of ``melanoma-first``, in a sentence; None without a threshold."""
        if (chosen := self.melanoma_first) is None:
            return None
        found, spared = chosen.sensitivity, chosen.specificity
        return (
            f"The threshold is {chosen.threshold:.1%}: where it was chosen it found "
            f"{found.value:.0%} of {found.images:,} melanomas (95% interval {found.low:.0%} to "
            f"{found.high:.0%}) and spared {spared.value:.0%} of {spared.images:,} other images "
            f"({spared.low:.0%} to {spared.high:.0%})."
        )


# The keys of ``model.json`` that have an older name; either name is read.
_OLDER_KEYS = {"prior_weight": "prevalence", "tta": "views", "ood": "familiar"}


class BundleInfo(_Strict):
    """Everything in ``model.json``.

    Attributes
    ----------
    prior_weight : how much the class priors count in the probabilities, from 0 to 1
    tta : views of a picture that the graph averages (test-time augmentation)
    patient : of a model that takes age, sex and site beside the picture
    twin : the run whose outputs were fitted, where this one has seen all images of training and
        validation: one of the same recipe without a fold, or the runs of all folds
    """

    model_config = ConfigDict(
        alias_generator=lambda name: _OLDER_KEYS.get(name, name), populate_by_name=True
    )

    format: Literal[2] = 2
    name: str
    run: str
    created: str
    architecture: str
    classes: tuple[DiagnosisName, ...] = Field(min_length=2)
    input: InputSize
    temperature: float = Field(gt=0)
    prior_weight: float = Field(1.0, ge=0, le=1)
    tta: int = Field(1, ge=1)
    class_shares: tuple[float, ...]
    map_shift: tuple[float, float]
    map_scale: tuple[float, float] = (1.0, 1.0)
    conformal: Conformal
    ood: OodThreshold
    quality: QualityLimits
    patient: PatientTerm | None = Field(default=None, exclude_if=lambda of: of is None)
    decision: Decision = Decision()
    metrics: dict[str, dict[str, float]]
    data: DataProvenance
    code: CodeProvenance
    # Not in bundles of before November 2026.
    decoder: DecoderProvenance | None = None
    pretrained: Pretrained | None = None
    twin: str | tuple[str, ...] | None = None
    recipe: dict[str, Any]
    weights: Weights
    parity: Parity

    @property
    def twins(self) -> tuple[str, ...]:
        """The runs of ``twin``, none where it is None."""
        return (self.twin,) if isinstance(self.twin, str) else self.twin or ()

    @model_validator(mode="after")
    def _a_number_for_each_class(self) -> "BundleInfo":
        classes, term = len(self.classes), self.patient
        listed = {
            "class_shares": self.class_shares,
            "conformal.thresholds": self.conformal.thresholds,
            "patient.conformal.thresholds": term.conformal.thresholds if term else None,
        }
        for rule, figures in self.decision.figures.items():
            listed[f"decision.figures.{rule}.called"] = figures.called
        for place, numbers in listed.items():
            if numbers is not None and len(numbers) != classes:
                raise ValueError(f"{place}: {len(numbers)} numbers for {classes} classes")
        if term and [len(row) for row in term.weights] != [classes] * (4 + len(term.sites)):
            raise ValueError(
                f"patient: weights for {classes} classes and {len(term.sites)} sites are "
                f"{4 + len(term.sites)} rows of {classes}"
            )
        return self

    @property
    def class_names(self) -> tuple[str, ...]:
        """The K short class names, in the order of the probabilities."""
        return tuple(diagnosis.name for diagnosis in self.classes)

    @property
    def rulebook(self) -> Rulebook:
        """What decides between the classes.

        Raises a DermaError when ``decision`` names a rule, or costs of classes, that this model
        does not have.
        """
        chosen, point = self.decision.melanoma_first, self.decision.operating_point
        return Rulebook(
            self.class_names,
            self.class_shares,
            self.prior_weight,
            self.temperature,
            self.decision.default,
            chosen.threshold if chosen else None,
            self.decision.costs,
            point.classes if point else (),
            point.threshold if point else None,
        )

    def deciding(self, rule: Rule | None, costs: Costs | None = None) -> "BundleInfo":
        """Return the same with another default rule or other costs, where they are given.

        Costs that are given alone are decided by.

        Raises a DermaError when this model does not have the rule, or the costs are wrong.
        """
        changes: dict[str, Any] = {}
        if costs is not None:
            costs = {true: dict(called) for true, called in costs.items()}
            changes = {"costs": costs, "default": "costs"}
        if rule is not None:
            changes["default"] = rule
        changed = self.model_copy(update={"decision": self.decision.model_copy(update=changes)})
        changed.rulebook.check(changed.decision.default)
        return changed


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file as 64 hexadecimal digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def read_info(bundle: Path) -> BundleInfo:
    """Read and validate ``model.json``, and check the graph's hash.

    Raises
    ------
    DermaError
        When the folder, a file or a field is missing or wrong, or the hash differs.

    Examples
    --------
    >>> from pathlib import Path
    >>> info = read_info(Path("deployment/models/champion"))
    >>> info.class_names
    ('akiec', 'bcc', 'bkl', 'df', 'mel', 'nv', 'vasc')
    >>> info.weights.file
    'model.onnx'
    """
    info_path = bundle / INFO_FILE
    if not info_path.is_file():
        raise DermaError(
            f"{bundle}: no model bundle here ({INFO_FILE} is missing); "
            "make one with 'derma export RUN' or 'derma promote'"
        )
    try:
        info = BundleInfo.model_validate_json(info_path.read_bytes())
    except ValidationError as error:
        wrong = first_mistake(error)
        raise DermaError(
            f"{info_path}: {wrong.place or 'the file'}: {wrong.reason}; export the run again"
        ) from error
    try:
        info.rulebook.check(info.decision.default)
    except DermaError as error:
        raise DermaError(f"{info_path}: decision: {error}") from error
    graph = bundle / info.weights.file
    if not graph.is_file():
        raise DermaError(f"{graph}: missing; export the run again")
    if file_sha256(graph) != info.weights.sha256:
        raise DermaError(
            f"{graph}: its SHA-256 is not the one in {INFO_FILE}; "
            "the file is damaged or not this model's, export the run again"
        )
    return info


def read_card(bundle: Path) -> str:
    """Return the model card of a bundle, Markdown with a YAML head.

    Raises a DermaError when the bundle has none or it can't be read.
    """
    path = bundle / CARD_FILE
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise DermaError(f"{path}: missing; write the model card with 'derma card'") from error
    except (OSError, UnicodeDecodeError) as error:
        raise DermaError(f"{path}: can't be read; write it again with 'derma card'") from error


def write_info(bundle: Path, info: BundleInfo) -> None:
    """Write ``model.json`` into a bundle, atomically."""
    with replacing_file(bundle / INFO_FILE) as scratch:
        scratch.write_text(json.dumps(info.model_dump(mode="json", by_alias=True), indent=2) + "\n")
