"""``POST /predict``: a picture in, ranked probabilities and the activation map out."""

from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter, HTTPException, Request
from PIL import UnidentifiedImageError
from pydantic import BaseModel, Field

from doctor_derma.data.decoding import UnreadableImage, open_image
from doctor_derma.serving.classifier import Classifier
from doctor_derma.serving.faults import Fault
from doctor_derma.serving.graph import usable_cpus
from doctor_derma.serving.notice import NOTICE
from doctor_derma.serving.prediction import Abstention
from doctor_derma.serving.routes.model import ModelName
from doctor_derma.serving.routes.problem import Problem
from doctor_derma.serving.routes.upload import FIELD, read_picture

FORMATS = "JPEG, PNG, WebP, TIFF or BMP"
_FORM = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": [FIELD],
                    "properties": {
                        FIELD: {
                            "type": "string",
                            "format": "binary",
                            "description": f"{FORMATS}, at most 20 MB",
                        }
                    },
                }
            }
        },
    }
}


class Probability(BaseModel):
    """One class of the answer."""

    name: str = Field(description="Short name, such as mel")
    full_name: str = Field(description="The name people read, such as Melanoma")
    probability: float = Field(ge=0, le=1)


class Answer(BaseModel):
    """What the model says about one picture."""

    label: str = Field(description="Short name of the most probable class")
    full_name: str = Field(description="Full name of the most probable class")
    probabilities: list[Probability] = Field(description="Every class, most probable first")
    prediction_set: list[str] = Field(
        description="Short names of the classes that can't be ruled out, most probable first: "
        "for 95% of pictures like those it was tuned on, the true one is among them"
    )
    abstention: Abstention | None = Field(
        description="Why the label is no answer: the picture is unlike those the model knows "
        "(unfamiliar), or several classes can't be ruled out (unsure)"
    )
    unfamiliarity: float = Field(
        ge=0, description="How unlike the training pictures it is; over 1 is unfamiliar"
    )
    warnings: list[Fault] = Field(description="Faults of the picture")
    activation_map: list[list[float]] = Field(
        description="Evidence for the label, rows from the top; "
        "the cells tile the whole picture; higher is more"
    )
    model: ModelName
    notice: str = Field(description=NOTICE)


def prediction_routes(classifier: Classifier) -> APIRouter:
    """Return the routes that classify pictures."""
    router = APIRouter(tags=["prediction"])
    # Decoding and inference run in threads, so that the event loop stays free, and no more
    # of them at a time than processors, so that large pictures can't fill the memory.
    limiter = CapacityLimiter(usable_cpus())

    @router.post(
        "/predict",
        summary="Classify one picture",
        response_description="The ranked classes and the activation map",
        openapi_extra=_FORM,
        responses={
            400: {"model": Problem, "description": "The form is malformed or was cut off"},
            413: {"model": Problem, "description": "The picture is over 20 MB"},
            415: {"model": Problem, "description": "Not a form with a picture in it"},
            422: {"model": Problem, "description": "The picture is missing or damaged"},
        },
    )
    async def predict(request: Request) -> Answer:
        """The picture is decoded in memory, classified and forgotten: never stored or logged."""
        encoded = await read_picture(request)
        return await to_thread.run_sync(_answer, classifier, encoded, limiter=limiter)

    return router


def _answer(classifier: Classifier, encoded: bytes) -> Answer:
    try:
        picture = open_image(encoded)
    except UnreadableImage as error:
        reason = str(error)[:1].upper() + str(error)[1:]
        if isinstance(error.__cause__, UnidentifiedImageError):
            raise HTTPException(415, f"{reason}; send {FORMATS}.") from error
        raise HTTPException(422, f"{reason}.") from error
    (prediction,) = classifier.predict(picture)
    full_names = {diagnosis.name: diagnosis.full_name for diagnosis in classifier.info.classes}
    ranked = sorted(prediction.probabilities.items(), key=lambda item: item[1], reverse=True)
    return Answer(
        label=prediction.label,
        full_name=full_names[prediction.label],
        probabilities=[
            # float32 softmax can exceed 1 by a rounding.
            Probability(name=name, full_name=full_names[name], probability=min(probability, 1.0))
            for name, probability in ranked
        ],
        prediction_set=list(prediction.prediction_set),
        abstention=prediction.abstention,
        unfamiliarity=prediction.unfamiliarity,
        warnings=list(prediction.warnings),
        activation_map=prediction.activation_map.tolist(),
        model=ModelName.of(classifier.info),
        notice=NOTICE,
    )
