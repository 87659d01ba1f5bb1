"""When a request is sent again: exchanges played by hand, without a network."""

import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from doctor_derma.bundle import read_info
from doctor_derma.client.answers import ProblemError, Unreachable
from doctor_derma.client.exchange import (
    Backoff,
    Reply,
    Retries,
    fetch,
    predict_many,
    read_retry_after,
)
from doctor_derma.inference.classifier import Classifier
from doctor_derma.server.problems import LATE, UNREADABLE, Problem
from doctor_derma.server.schemas import Item, full_answer
from server.fake_engine import encoded
from tiny_bundle import RED, write_bundle

RETRIES = Retries(attempts=3, first_seconds=1, most_seconds=8, patience_seconds=60)
LOST = Reply(None, broken="no whole answer (refused)")


def busy(status: int = 503, wait: str | None = "2") -> Reply:
    return Reply(status, wait, Problem.of(LATE, "Late.").model_dump_json().encode())


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> str:
    bundle = write_bundle(tmp_path_factory.mktemp("bundle"))
    (prediction,) = Classifier.load(bundle).predict(encoded(RED))
    answer = full_answer(prediction, read_info(bundle))
    answer.activation_map = prediction.activation_map.tolist()
    return Item(index=0, answer=answer, problem=None).model_dump_json()


def at(line: str, index: int) -> bytes:
    return json.dumps(json.loads(line) | {"index": index}).encode() + b"\n"


def refused(index: int | None, problem: Problem) -> bytes:
    return Item(index=index, answer=None, problem=problem).model_dump_json().encode() + b"\n"


@pytest.mark.parametrize("failed", [busy(), busy(502), busy(504), busy(429), LOST])
def test_what_passes_by_itself_is_asked_again(failed: Reply) -> None:
    exchange = fetch("/x", RETRIES)
    assert next(exchange).wait == 0
    again = exchange.send(failed)
    least = 2 if failed.retry_after else 0
    assert least <= again.wait <= least + 1
    assert 0 < again.seconds <= RETRIES.patience_seconds - again.wait
    with pytest.raises(StopIteration) as done:
        exchange.send(Reply(200, body=b"yes"))
    assert done.value.value == b"yes"


@pytest.mark.parametrize("status", [301, 400, 401, 404, 413, 422, 500])
def test_what_does_not_pass_is_raised_at_once(status: int) -> None:
    exchange = fetch("/x", RETRIES)
    next(exchange)
    with pytest.raises(ProblemError) as error:
        exchange.send(Reply(status, body=b"<html>"))
    assert error.value.status == status


def test_it_gives_up_after_so_many_attempts() -> None:
    exchange = fetch("/x", RETRIES)
    next(exchange)
    for _ in range(2):
        assert exchange.send(LOST).wait > 0
    with pytest.raises(Unreachable):
        exchange.send(LOST)


def test_only_missing_pictures_are_sent_again(line: str) -> None:
    exchange = predict_many([b"a", b"b", b"c", b"d"], RETRIES)
    assert next(exchange).pictures == {"images": [b"a", b"b", b"c", b"d"]}
    # The first is answered, the second came too late, the third is bad, then the line breaks.
    body = at(line, 0) + refused(1, Problem.of(LATE, "Late.")) + refused(2, bad()) + b'{"index": 3'
    again = exchange.send(Reply(200, None, body, broken="lost"))
    assert again.pictures == {"images": [b"b", b"d"]}
    with pytest.raises(StopIteration) as done:
        exchange.send(Reply(200, body=at(line, 0) + at(line, 1)))
    first, second, third, fourth = done.value.value
    assert (first.label, second.label, fourth.label) == ("mel", "mel", "mel")
    assert third.status == 422


def test_a_picture_that_is_late_every_time_has_that_outcome() -> None:
    exchange = predict_many([b"a"], RETRIES)
    next(exchange)
    late = Reply(200, body=refused(0, Problem.of(LATE, "Late.")))
    for _ in range(2):
        exchange.send(late)
    with pytest.raises(StopIteration) as done:
        exchange.send(late)
    assert done.value.value[0].status == 503


def test_a_request_that_could_not_be_read_is_raised(line: str) -> None:
    exchange = predict_many([b"a", b"b"], RETRIES)
    next(exchange)
    with pytest.raises(ProblemError, match="Bad"):
        exchange.send(Reply(200, body=at(line, 0) + refused(None, bad())))


def bad() -> Problem:
    return Problem.of(UNREADABLE, "Bad.")


def test_waits_double_up_to_a_limit_and_end_with_patience() -> None:
    now = 0.0
    retries = Retries(attempts=9, first_seconds=1, most_seconds=5, patience_seconds=30)
    backoff = Backoff(retries, clock=lambda: now, share=lambda: 1.0)
    assert [backoff.wait() for _ in range(5)] == [1, 2, 4, 5, 5]
    assert backoff.wait(retry_after=20) == 25
    now = 26.0
    assert backoff.wait() is None


def test_retry_after_is_seconds_or_a_date() -> None:
    assert read_retry_after(None) == 0
    assert read_retry_after("7") == 7
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)
    assert 80 < read_retry_after(soon) <= 90
    assert read_retry_after("Mon, 01 Jan 2001 00:00:00 GMT") == 0
    assert read_retry_after("soon") == 0
