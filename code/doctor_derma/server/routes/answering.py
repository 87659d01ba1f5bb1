"""From what became of a picture to what the client reads about it."""

import base64

from anyio import to_thread

from doctor_derma.bundle import BundleInfo
from doctor_derma.inference.prediction import Prediction
from doctor_derma.server.problems import ProblemError, problem_of
from doctor_derma.server.routes.outcomes import Outcome
from doctor_derma.server.routes.overlay import draw_map
from doctor_derma.server.schemas import Answer, Item, MapForm, full_answer


async def answer_picture(prediction: Prediction, info: BundleInfo, form: MapForm) -> Answer:
    """Return the answer for a prediction, with its map in the form that was asked for."""
    answer = full_answer(prediction, info)
    if form == "grid":
        answer.activation_map = prediction.activation_map.tolist()
    elif form == "png":
        size = info.input
        png = await to_thread.run_sync(draw_map, prediction.activation_map, size.height, size.width)
        answer.activation_map_png = base64.b64encode(png).decode()
    return answer


async def answer_item(outcome: Outcome, info: BundleInfo, form: MapForm) -> Item:
    """Return one of several answers."""
    if isinstance(outcome.result, ProblemError):
        return Item(index=outcome.place, answer=None, problem=problem_of(outcome.result))
    answer = await answer_picture(outcome.result, info, form)
    return Item(index=outcome.place, answer=answer, problem=None)
