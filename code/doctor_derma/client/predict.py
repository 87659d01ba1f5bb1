"""What ``derma predict --url`` does: the same as without, but a server has the model."""

from collections.abc import Sequence
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
    """Do as ``run_predict``, on a server at ``url``, which may need ``api_key``.

    ``format`` is ``table``, ``json`` or ``csv``, and ``rule`` the server's own when None. Returns
    the number of pictures that got no answer; each has a row with its error.

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
        outcomes = client.predict_batch(paths, rule, patient)
        rows = (_row(str(path), of) for path, of in zip(paths, outcomes, strict=True))
        failed = report_rows(rows, len(paths), classes, format, output)
    say_others(others)
    return failed


def _row(path: str, outcome: Outcome) -> Row:
    if isinstance(outcome, Prediction):
        return Row(path, outcome)
    # As the local command words it: the middle of a sentence.
    reason = outcome.detail if isinstance(outcome, ProblemError) else str(outcome)
    return Row(path, error=reason[:1].lower() + reason[1:].removesuffix("."))
