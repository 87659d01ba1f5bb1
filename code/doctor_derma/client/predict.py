"""What ``derma predict --url`` does: the same as without, but a server has the model."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.text import Text

from doctor_derma.client.answers import ProblemError
from doctor_derma.client.clients import Client
from doctor_derma.client.exchange import Outcome
from doctor_derma.decisions import Rule
from doctor_derma.inference.output import Format, check_output, report_rows, say_others
from doctor_derma.inference.patient import NOBODY, Patient
from doctor_derma.inference.prediction import Prediction, Row
from doctor_derma.inference.sources import find_images
from doctor_derma.terminal import terminal


def run_remote_predict(
    sources: Sequence[str],
    url: str,
    api_key: str | None = None,
    format: Format = "table",
    output: Path | None = None,
    rule: Rule | None = None,
    patient: Patient = NOBODY,
) -> int:
    """Classify pictures on a server and write the rows to a file or to standard output.

    Parameters
    ----------
    sources : files, folders and patterns, see ``find_images``
    url : address of the server
    api_key : for a server that needs one
    format : ``table``, ``json`` or ``csv``
    output : file that appears when it is whole; standard output when None
    rule : by which pictures are called; the server's own when None
    patient : whom all the pictures show, see ``Client.predict``

    Returns
    -------
    number of pictures that got no answer; each has a row with its error

    Raises
    ------
    DermaError
        When there is no picture, the server can't be reached or refuses, or the output can't
        be written.
    """
    check_output(format, output)
    paths, others = find_images(sources)
    with Client(url, api_key) as client:
        with terminal(error=True).status(Text(f"Asking {url}")):
            classes = client.model().classes
        rows = _rows(client, paths, rule, patient)
        failed = report_rows(rows, len(paths), classes, format, output)
    say_others(others)
    return failed


def _rows(
    client: Client, paths: Sequence[Path], rule: Rule | None, patient: Patient
) -> Iterator[Row]:
    for path, outcome in zip(paths, client.predict_batch(paths, rule, patient), strict=True):
        yield _row(str(path), outcome)


def _row(path: str, outcome: Outcome) -> Row:
    if isinstance(outcome, Prediction):
        return Row(path, outcome)
    # As the local command words it: the middle of a sentence.
    reason = outcome.detail if isinstance(outcome, ProblemError) else str(outcome)
    return Row(path, error=reason[:1].lower() + reason[1:].removesuffix("."))
