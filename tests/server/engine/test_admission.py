"""How many are let in, and when the others should come again."""

import pytest

from doctor_derma.server.engine.engine import LONGEST_RETRY_SECONDS, Admission, Overloaded


class Clock:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr("doctor_derma.server.engine.engine.monotonic", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def answer(admission: Admission, clock: Clock, count: int, seconds: float) -> None:
    """Answer pictures one after the other, each after some seconds."""
    for _ in range(count):
        admission.enter()
        clock.now += seconds
        admission.leave(answered=True)


def test_no_more_than_the_limit_wait() -> None:
    admission = Admission(2)
    admission.enter()
    admission.enter()
    assert admission.room == 0
    with pytest.raises(Overloaded) as refused:
        admission.enter()
    assert refused.value.retry_after == 1
    assert admission.waiting == 2
    admission.leave(answered=False)
    admission.enter()
    assert admission.waiting == 2


def test_who_is_refused_comes_back_when_the_queue_should_be_empty(clock: Clock) -> None:
    admission = Admission(10)
    answer(admission, clock, count=10, seconds=0.5)
    for _ in range(10):
        admission.enter()
    # Ten wait. Nine were answered in the 4.5 busy seconds since the first, and none since:
    # 4.5 / 10 a picture, 4.5 for all, and 5 in whole seconds.
    assert admission.retry_after == 5


def test_idle_hours_are_not_slowness(clock: Clock) -> None:
    admission = Admission(10)
    answer(admission, clock, count=10, seconds=0.5)
    clock.now += 7200
    for _ in range(10):
        admission.enter()
    assert admission.retry_after == 5


def test_a_queue_that_stands_still_asks_for_more_patience_up_to_a_limit(clock: Clock) -> None:
    admission = Admission(10)
    answer(admission, clock, count=10, seconds=0.5)
    for _ in range(10):
        admission.enter()
    clock.now += 10
    # 4.5 + 10 busy seconds for ten answers.
    assert admission.retry_after == 15
    clock.now += 1000
    assert admission.retry_after == LONGEST_RETRY_SECONDS


def test_what_was_given_up_was_not_answered(clock: Clock) -> None:
    admission = Admission(4)
    answer(admission, clock, count=4, seconds=1.0)
    for _ in range(4):
        admission.enter()
    clock.now += 5
    for _ in range(4):
        admission.leave(answered=False)
    for _ in range(4):
        admission.enter()
    # Four answers in 3 + 5 seconds: 2 a picture.
    assert admission.retry_after == 8
