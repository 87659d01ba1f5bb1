"""What a server sends to what a caller gets: predictions, and the errors that a caller may see."""

import re
from collections.abc import Iterable
from http.client import responses
from typing import TypeVar

import numpy as np
from pydantic import BaseModel, ValidationError

from doctor_derma.errors import DermaError, first_mistake
from doctor_derma.inference.prediction import Prediction
from doctor_derma.server.problems import Problem
from doctor_derma.server.schemas import Answer

Model = TypeVar("Model", bound=BaseModel)


class ProblemError(DermaError):
    """The server refused a request or a picture; see its ``/docs`` for all its problems.

    Attributes
    ----------
    status : the HTTP status
    title : the kind of problem in a few words
    detail : what was wrong this time
    type : URI reference of the kind, such as ``/problems/too-large``
    instance : the request's id in the server's log, if it has one
    """

    def __init__(
        self,
        status: int,
        title: str,
        detail: str,
        type: str = "about:blank",
        instance: str | None = None,
    ) -> None:
        super().__init__(f"{title} ({status}): {detail}")
        self.status = status
        self.title = title
        self.detail = detail
        self.type = type
        self.instance = instance


class Unreachable(DermaError):  # noqa: N818
    """The server did not answer, however often it was asked."""


class UnexpectedAnswer(DermaError):  # noqa: N818
    """What answered is no Doctor Derma, or one of another version."""


def read_as(model: type[Model], body: bytes | bytearray) -> Model:
    """Read an answer in JSON, or raise ``UnexpectedAnswer`` when it is none of this kind."""
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        wrong = first_mistake(error)
        raise UnexpectedAnswer(
            f"{wrong.place or 'the answer'}: {wrong.reason}; this is no Doctor Derma server, or "
            "one of another version"
        ) from error


def read_prediction(answer: Answer) -> Prediction:
    """Return what ``Classifier.predict`` gives for the same picture."""
    in_order = sorted(answer.probabilities, key=lambda shown: shown.index)
    return Prediction(
        label=answer.label,
        rule=answer.rule,
        probabilities={shown.name: shown.probability for shown in in_order},
        prediction_set=tuple(answer.prediction_set),
        unfamiliarity=answer.unfamiliarity,
        warnings=tuple(answer.warnings),
        patient_data=tuple(answer.patient_data),
        activation_map=np.array(answer.activation_map, dtype=np.float32),
    )


def without_errors(outcomes: Iterable[Prediction | DermaError]) -> list[Prediction]:
    """Return the predictions, or raise the first exception among them."""
    predictions = []
    for outcome in outcomes:
        if isinstance(outcome, DermaError):
            raise outcome
        predictions.append(outcome)
    return predictions


def problem_error(problem: Problem) -> ProblemError:
    """Return the exception for a problem."""
    # It is relative to what was asked for, wherever the server lies; here it is a name.
    kind = re.sub(r"^(\.\./)*(?=problems/)", "/", problem.type)
    return ProblemError(problem.status, problem.title, problem.detail, kind, problem.instance)


def read_problem(status: int, body: bytes | bytearray) -> ProblemError:
    """Return the exception for an answer that is an error, whoever on the way gave it."""
    try:
        return problem_error(Problem.model_validate_json(body))
    except ValidationError:
        title = responses.get(status, "Unknown status")
        return ProblemError(status, title, "what answers is not the server itself, but a proxy.")
