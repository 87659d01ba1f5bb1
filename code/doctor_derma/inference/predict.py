"""Many pictures to rows, batch by batch, where a bad picture is a row with its error."""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

from doctor_derma.cpus import usable_cpus
from doctor_derma.decisions import Costs, Rule
from doctor_derma.errors import DermaError
from doctor_derma.images.decoding import ImageSource, UnreadableImage
from doctor_derma.inference.classifier import Classifier, ReadPicture
from doctor_derma.inference.output import (
    Format,
    check_output,
    isic_columns,
    report_rows,
    say_others,
)
from doctor_derma.inference.patient import NOBODY, Patient, check_patient
from doctor_derma.inference.prediction import Row
from doctor_derma.inference.sources import find_images

_Classified = tuple[Row, ReadPicture | None]


def run_predict(
    sources: Sequence[str],
    bundle: str | Path,
    format: Format = "table",
    output: Path | None = None,
    rule: Rule | None = None,
    costs: Costs | None = None,
    patient: Patient = NOBODY,
) -> int:
    """Classify pictures and write the rows, as ``derma predict`` does with a model at hand.

    Parameters
    ----------
    sources : files, folders and patterns, see ``find_images``
    bundle : folder with the model
    format : ``table``, ``json``, ``csv`` or ``isic``
    output : file that appears when it is whole; standard output when None
    rule, costs : of the decisions, see ``Classifier.load``
    patient : whom all the pictures show, see ``Classifier.predict``

    Returns
    -------
    number of pictures that couldn't be read; each has a row with its error

    Raises
    ------
    DermaError
        When there is no model or no picture, or the output can't be written.
    """
    check_output(format, output)
    paths, others = find_images(sources)
    classifier = Classifier.load(bundle, rule=rule, costs=costs)
    if format == "isic":
        isic_columns(classifier.info.classes)
    rows = predict_rows(classifier, paths, patient=patient)
    failed = report_rows(rows, len(paths), classifier.info.classes, format, output)
    say_others(others)
    return failed


def predict_rows(
    classifier: Classifier, paths: Iterable[Path], batch_size: int = 32, patient: Patient = NOBODY
) -> Iterator[Row]:
    """Classify picture files, one row each, in order, as ``predict_pictures`` does."""
    named = ((str(path), path) for path in paths)
    return predict_sources(classifier, named, batch_size, patient=patient)


def predict_sources(
    classifier: Classifier,
    sources: Iterable[tuple[str, ImageSource]],
    batch_size: int = 32,
    rule: Rule | None = None,
    patient: Patient = NOBODY,
) -> Iterator[Row]:
    """Do as ``predict_pictures``, with the rows alone."""
    return (row for row, _ in predict_pictures(classifier, sources, batch_size, rule, patient))


def predict_pictures(
    classifier: Classifier,
    sources: Iterable[tuple[str, ImageSource]],
    batch_size: int = 32,
    rule: Rule | None = None,
    patient: Patient = NOBODY,
) -> Iterator[_Classified]:
    """Classify pictures from anywhere, each given with the path to show in its row.

    With each row comes what the network saw of the picture, None for a bad one. At most
    ``batch_size`` pictures are in memory at a time, decoded on all processors.

    Raises a DermaError when the model does not have the rule, or can't make use of what is said of
    the patient.
    """
    classifier.rulebook.check(rule or classifier.rulebook.default)
    check_patient(patient, classifier.info)
    if batch_size < 1:
        raise DermaError(f"batch_size: {batch_size} is too few; give 1 or more")

    def read(source: tuple[str, ImageSource]) -> ReadPicture | UnreadableImage:
        try:
            return classifier.read(source[1])._replace(rule=rule, patient=patient)
        except UnreadableImage as error:
            return error

    def classified(sources: Iterator[tuple[str, ImageSource]]) -> Iterator[_Classified]:
        with ThreadPoolExecutor(usable_cpus()) as pool:
            while batch := list(islice(sources, batch_size)):
                pictures = list(pool.map(read, batch))
                good = [picture for picture in pictures if isinstance(picture, ReadPicture)]
                predictions = iter(classifier.classify(good))
                for (path, _), picture in zip(batch, pictures, strict=True):
                    if isinstance(picture, UnreadableImage):
                        yield Row(path, error=str(picture)), None
                    else:
                        yield Row(path, next(predictions)), picture

    return classified(iter(sources))
