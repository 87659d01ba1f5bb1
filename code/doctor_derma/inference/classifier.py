"""Pictures to probabilities with an exported bundle; needs neither torch nor a GPU."""

import functools
import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnxruntime as ort

from doctor_derma.bundle import INPUT_NAME, OUTPUT_NAMES, BundleInfo, read_info
from doctor_derma.decisions import Costs, Rule, Rulebook
from doctor_derma.errors import DermaError
from doctor_derma.hub import bundle_folder
from doctor_derma.images.decoding import (
    DECODER,
    Decoded,
    ImageSource,
    UnreadableImage,
    decode,
    is_one_picture,
)
from doctor_derma.images.quality import QualityWarning, quality_warnings
from doctor_derma.inference.alignment import align_maps
from doctor_derma.inference.conformal import prediction_sets
from doctor_derma.inference.patient import NOBODY, Patient, add_patients, check_patient
from doctor_derma.inference.prediction import Prediction
from doctor_derma.inference.providers import providers_of_environment
from doctor_derma.inference.session import open_graph

_log = logging.getLogger(__name__)


class ReadPicture(NamedTuple):
    """A decoded picture at the network's size, uint8 (height, width, 3), and its warnings.

    ``rule`` is the one by which it is to be called, the classifier's own when None, and
    ``patient`` what is known of the person it shows.
    """

    pixels: np.ndarray
    warnings: tuple[QualityWarning, ...]
    rule: Rule | None = None
    patient: Patient = NOBODY


class Outputs(NamedTuple):
    """What the graph gives for n pictures.

    Attributes
    ----------
    probabilities : float32 of shape (n, classes)
    activation_maps : float32 of shape (n, classes, h, w), moved to where their evidence lies
    unfamiliarity : float32 of shape (n,), over 1 for a picture unlike the training images
    """

    probabilities: np.ndarray
    activation_maps: np.ndarray
    unfamiliarity: np.ndarray


class Classifier:
    """A loaded bundle. Safe to use from several threads.

    Examples
    --------
    >>> import numpy as np
    >>> from doctor_derma.inference.classifier import Classifier
    >>> classifier = Classifier.load("deployment/models/champion", threads=1)
    >>> [prediction] = classifier.predict(np.zeros((450, 600, 3), np.uint8))
    >>> prediction.label in prediction.prediction_set
    True
    >>> round(sum(prediction.probabilities.values()), 3)
    1.0
    >>> prediction.warnings
    ('dark', 'blurred')
    """

    def __init__(self, info: BundleInfo, session: ort.InferenceSession) -> None:
        self.info = info
        self.rulebook: Rulebook = info.rulebook
        self._session = session

    @classmethod
    def load(
        cls,
        bundle: str | Path,
        threads: int | None = None,
        rule: Rule | None = None,
        costs: Costs | None = None,
        providers: Sequence[str] | None = None,
    ) -> "Classifier":
        """Load the bundle in a folder.

        Parameters
        ----------
        bundle : folder with ``model.onnx`` and ``model.json``, or an address ``hf://USER/NAME``
        threads : threads of one inference; as many as there are processors when None
        rule : that decides where none is asked for; ``costs`` where these are given, else the
            bundle's own when None
        costs : true class -> called class -> cost, for the rule ``costs``; the bundle's when None
        providers : execution providers of ONNX Runtime, the first that can computes; those of
            ``$DERMA_PROVIDERS`` when None

        Raises
        ------
        DermaError
            When a file is missing or damaged, graph and ``model.json`` don't fit, the model
            does not have the rule, or a provider is not there.
        """
        if threads is not None and threads < 1:
            raise DermaError(f"threads: {threads} is too few; give 1 or more")
        folder = bundle_folder(bundle)
        info = read_info(folder).deciding(rule, costs)
        if info.decoder and info.decoder.version != DECODER:
            _warn_of_decoder(folder, info.decoder.version)
        chosen = providers_of_environment() if providers is None else providers
        return cls(info, open_graph(folder / info.weights.file, info, threads, chosen))

    @property
    def name(self) -> str:
        """The model's name."""
        return self.info.name

    @property
    def class_names(self) -> tuple[str, ...]:
        """Short class names; probability i is that of ``class_names[i]``."""
        return self.info.class_names

    @property
    def providers(self) -> tuple[str, ...]:
        """The execution providers of ONNX Runtime that compute it; the processor's comes last."""
        return tuple(self._session.get_providers())

    @property
    def height(self) -> int:
        """Rows of the pictures that the network sees."""
        return self.info.input.height

    @property
    def width(self) -> int:
        """Columns of the pictures that the network sees."""
        return self.info.input.width

    def predict(
        self,
        images: ImageSource | Iterable[ImageSource],
        batch_size: int = 32,
        rule: Rule | None = None,
        patient: Patient = NOBODY,
    ) -> list[Prediction]:
        """Classify pictures of any size.

        Parameters
        ----------
        images : one picture or several, each a path, the bytes of an encoded file, a PIL
            image or a uint8 RGB array of shape (height, width, 3)
        batch_size : pictures in memory and in the network at a time
        rule : by which they are called; the classifier's own when None
        patient : whom all the pictures show, where that is known and the model takes it

        Returns
        -------
        list of Prediction, one a picture, in order

        Raises
        ------
        UnreadableImage
            When a picture can't be decoded; the message names it.
        DermaError
            When the model does not have the rule, or can't make use of what is said of the patient.
        """
        self.rulebook.check(rule or self.rulebook.default)
        check_patient(patient, self.info)
        if batch_size < 1:
            raise DermaError(f"batch_size: {batch_size} is too few; give 1 or more")
        predictions: list[Prediction] = []
        batch: list[ReadPicture] = []
        for index, source in enumerate(_as_sources(images)):
            batch.append(self._read_named(source, index)._replace(rule=rule, patient=patient))
            if len(batch) == batch_size:
                predictions += self.classify(batch)
                batch.clear()
        return predictions + self.classify(batch)

    def read(self, source: ImageSource | Decoded) -> ReadPicture:
        """Return what the network sees of a picture.

        Raises an UnreadableImage when the picture can't be decoded.
        """
        return read_picture(source, self.info)

    def classify(self, pictures: Sequence[ReadPicture]) -> list[Prediction]:
        """Classify pictures that were read, all at once."""
        if not pictures:
            return []
        outputs = self.outputs(np.stack([picture.pixels for picture in pictures]))
        return [self._predict(*of_one) for of_one in zip(*outputs, pictures, strict=True)]

    def predict_pixels(self, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the first two ``outputs``: float32 of (n, classes) and (n, classes, h, w)."""
        return self.outputs(pixels)[:2]

    def unfamiliarity(self, pixels: np.ndarray) -> np.ndarray:
        """Return the out-of-distribution score of pictures: float32 (n,), over 1 for unfamiliar."""
        return self.outputs(pixels).unfamiliarity

    def outputs(self, pixels: np.ndarray) -> Outputs:
        """Run the network on pictures of its size, uint8 RGB of shape (n, height, width, 3).

        Returns probabilities, activation maps and the out-of-distribution score, see ``Outputs``.
        """
        expected = (self.height, self.width, 3)
        if pixels.dtype != np.uint8 or pixels.ndim != 4 or pixels.shape[1:] != expected:
            raise DermaError(
                f"pixels: {pixels.dtype} of shape {pixels.shape}; "
                f"{self.name} takes uint8 of shape (n, {self.height}, {self.width}, 3)"
            )
        probabilities, maps, unfamiliarity = self._session.run(
            list(OUTPUT_NAMES), {INPUT_NAME: pixels}
        )
        aligned = align_maps(maps, self.info.map_shift, self.info.map_scale)
        return Outputs(probabilities, aligned, unfamiliarity)

    def _predict(
        self,
        probabilities: np.ndarray,
        maps: np.ndarray,
        unfamiliarity: np.float32,
        picture: ReadPicture,
    ) -> Prediction:
        rule, conformal = picture.rule or self.rulebook.default, self.info.conformal
        used = picture.patient.known if (term := self.info.patient) else ()
        if term and used:
            [probabilities] = add_patients(probabilities[None], [picture.patient], term)
            conformal = term.conformal
        called = self.rulebook.decide(probabilities[None], rule)
        [inside] = prediction_sets(probabilities[None], conformal.limit, called)
        ranked = np.argsort(-probabilities, kind="stable")
        names = self.class_names
        return Prediction(
            label=names[called[0]],
            rule=rule,
            probabilities={name: float(p) for name, p in zip(names, probabilities, strict=True)},
            prediction_set=tuple(names[index] for index in ranked if inside[index]),
            unfamiliarity=float(unfamiliarity),
            warnings=picture.warnings,
            activation_map=maps[called[0]],
            patient_data=used,
        )

    def _read_named(self, source: ImageSource, index: int) -> ReadPicture:
        try:
            return self.read(source)
        except UnreadableImage as error:
            name = source if isinstance(source, str | Path) else f"image {index}"
            raise UnreadableImage(f"{name}: {error}") from error


def read_picture(source: ImageSource | Decoded, info: BundleInfo) -> ReadPicture:
    """Return what the network of a bundle, which need not be loaded, sees of a picture.

    Raises an UnreadableImage when the picture can't be decoded.
    """
    if not isinstance(source, Decoded):
        source = decode(source, info.input.height, info.input.width)
    return ReadPicture(source.pixels, quality_warnings(source.pixels, source.size, info))


@functools.cache
def _warn_of_decoder(bundle: Path, version: int) -> None:
    """Say once that pictures are not decoded as those were that a bundle was fitted on."""
    _log.warning(
        "%s: fitted on images that were decoded in version %d, which is %d here: "
        "probabilities may be a little different; export the run again",
        *(bundle, version, DECODER),
    )


def _as_sources(images: ImageSource | Iterable[ImageSource]) -> Iterable[ImageSource]:
    return [images] if is_one_picture(images) else images  # type: ignore[return-value]
