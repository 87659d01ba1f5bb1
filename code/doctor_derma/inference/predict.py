"""What ``derma predict`` does with a model at hand."""

from collections.abc import Sequence
from pathlib import Path

from doctor_derma.decisions import Costs, Rule
from doctor_derma.inference.classifier import Classifier
from doctor_derma.inference.reporting import Format, check_output, report_rows, say_others
from doctor_derma.inference.row import Row
from doctor_derma.inference.rows import predict_rows
from doctor_derma.inference.sources import find_images

__all__ = ["Format", "Row", "find_images", "predict_rows", "run_predict"]


def run_predict(
    sources: Sequence[str],
    bundle: str | Path,
    format: Format = "table",
    output: Path | None = None,
    batch_size: int = 32,
    rule: Rule | None = None,
    costs: Costs | None = None,
) -> int:
    """Classify pictures and write the rows to a file or to standard output.

    Parameters
    ----------
    sources : files, folders and patterns, see ``find_images``
    bundle : folder with the model
    format : ``table``, ``json`` or ``csv``
    output : file that appears when it is whole; standard output when None
    batch_size : pictures in memory and in the network at a time
    rule, costs : of the decisions, see ``Classifier.load``

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
    rows = predict_rows(classifier, paths, batch_size)
    failed = report_rows(rows, len(paths), classifier.info.classes, format, output)
    say_others(others)
    return failed
