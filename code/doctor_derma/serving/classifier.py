"""Pictures to probabilities with an exported bundle; needs neither torch nor a GPU."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime as ort
from PIL import Image

from doctor_derma.data.decoding import ImageSource, UnreadableImage, fit_pixels, open_image
from doctor_derma.errors import DermaError
from doctor_derma.export.bundle import BundleInfo, read_info
from doctor_derma.serving.graph import INPUT, OUTPUTS, open_graph


@dataclass(frozen=True, eq=False)
class Prediction:
    """What the model says about one picture. Not a diagnosis.

    Attributes
    ----------
    label : short name of the most probable class
    probabilities : short class name to probability, in the model's class order; sums to 1
    activation_map : float32 of shape (h, w), the evidence for ``label`` at each place of
        the picture (class activation mapping, Zhou et al., CVPR 2016); the mean over the
        map plus a constant is the logit of ``label``
    """

    label: str
    probabilities: dict[str, float]
    activation_map: np.ndarray


class Classifier:
    """A loaded bundle. Safe to use from several threads."""

    def __init__(self, info: BundleInfo, session: ort.InferenceSession) -> None:
        self.info = info
        self._session = session

    @classmethod
    def load(cls, bundle: str | Path, threads: int | None = None) -> "Classifier":
        """Load the bundle in a folder.

        Parameters
        ----------
        bundle : folder with ``model.onnx`` and ``model.json``
        threads : threads of one inference; as many as there are processors when None

        Raises
        ------
        DermaError
            When a file is missing or damaged, or graph and ``model.json`` don't fit.
        """
        if threads is not None and threads < 1:
            raise DermaError(f"threads: {threads} is too few; give 1 or more")
        folder = Path(bundle).expanduser()
        info = read_info(folder)
        return cls(info, open_graph(folder / info.weights.file, info, threads))

    @property
    def name(self) -> str:
        """The model's name."""
        return self.info.name

    @property
    def class_names(self) -> tuple[str, ...]:
        """Short class names; probability i is that of ``class_names[i]``."""
        return self.info.class_names

    @property
    def height(self) -> int:
        """Rows of the pictures that the network sees."""
        return self.info.input.height

    @property
    def width(self) -> int:
        """Columns of the pictures that the network sees."""
        return self.info.input.width

    def predict(
        self, images: ImageSource | Iterable[ImageSource], batch_size: int = 32
    ) -> list[Prediction]:
        """Classify pictures of any size.

        Parameters
        ----------
        images : one picture or several, each a path, the bytes of an encoded file, a PIL
            image or a uint8 RGB array of shape (height, width, 3)
        batch_size : pictures in memory and in the network at a time

        Returns
        -------
        list of Prediction, one a picture, in order

        Raises
        ------
        UnreadableImage
            When a picture can't be decoded; the message names it.
        """
        if batch_size < 1:
            raise DermaError(f"batch_size: {batch_size} is too few; give 1 or more")
        predictions: list[Prediction] = []
        batch: list[np.ndarray] = []
        for index, source in enumerate(_as_sources(images)):
            batch.append(self._named_pixels(source, index))
            if len(batch) == batch_size:
                predictions += self.describe(*self.predict_pixels(np.stack(batch)))
                batch.clear()
        if batch:
            predictions += self.describe(*self.predict_pixels(np.stack(batch)))
        return predictions

    def pixels(self, source: ImageSource) -> np.ndarray:
        """Decode one picture to what the network sees: uint8 of shape (height, width, 3).

        Raises
        ------
        UnreadableImage
            When the picture can't be decoded.
        """
        return fit_pixels(open_image(source), self.height, self.width)

    def predict_pixels(self, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Run the network on pictures that already have its size.

        Parameters
        ----------
        pixels : uint8 RGB of shape (n, height, width, 3)

        Returns
        -------
        probabilities : float32 of shape (n, classes)
        activation_maps : float32 of shape (n, classes, h, w)
        """
        expected = (self.height, self.width, 3)
        if pixels.dtype != np.uint8 or pixels.ndim != 4 or pixels.shape[1:] != expected:
            raise DermaError(
                f"pixels: {pixels.dtype} of shape {pixels.shape}; "
                f"{self.name} takes uint8 of shape (n, {self.height}, {self.width}, 3)"
            )
        probabilities, maps = self._session.run(list(OUTPUTS), {INPUT: pixels})
        return probabilities, maps

    def describe(self, probabilities: np.ndarray, activation_maps: np.ndarray) -> list[Prediction]:
        """Name the outputs of ``predict_pixels``, one prediction a picture."""
        predictions = []
        for row, maps in zip(probabilities, activation_maps, strict=True):
            best = int(row.argmax())
            named = {name: float(p) for name, p in zip(self.class_names, row, strict=True)}
            predictions.append(Prediction(self.class_names[best], named, maps[best]))
        return predictions

    def _named_pixels(self, source: ImageSource, index: int) -> np.ndarray:
        try:
            return self.pixels(source)
        except UnreadableImage as error:
            name = source if isinstance(source, str | Path) else f"image {index}"
            raise UnreadableImage(f"{name}: {error}") from error


def _as_sources(images: ImageSource | Iterable[ImageSource]) -> Iterable[ImageSource]:
    if isinstance(images, np.ndarray):
        return images if images.ndim == 4 else [images]
    if isinstance(images, str | Path | bytes | Image.Image):
        return [images]
    return images
