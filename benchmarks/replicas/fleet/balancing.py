"""How a load balancer chooses a replica for a request."""

import random
from collections.abc import Callable, Sequence
from typing import Protocol


class Queued(Protocol):
    """A replica as a balancer sees it: requests that it has not answered yet."""

    waiting: int


Choose = Callable[[Sequence[Queued]], int]


def at_random(seed: int) -> Choose:
    """Choose any: kube-proxy with iptables, Heroku's router."""
    draw = random.Random(seed).random
    return lambda replicas: int(draw() * len(replicas))


def in_turn(seed: int) -> Choose:
    """Choose the next: most ingress controllers, unless told otherwise."""
    turn = seed

    def choose(replicas: Sequence[Queued]) -> int:
        nonlocal turn
        turn += 1
        return turn % len(replicas)

    return choose


def least_waiting(seed: int) -> Choose:
    """Choose one with the fewest unanswered requests; it takes one balancer that sees them all."""
    draw = random.Random(seed).random

    def choose(replicas: Sequence[Queued]) -> int:
        count = len(replicas)
        first = int(draw() * count)
        best, fewest = first, replicas[first].waiting
        for step in range(1, count):
            if not fewest:
                break
            place = (first + step) % count
            if replicas[place].waiting < fewest:
                best, fewest = place, replicas[place].waiting
        return best

    return choose


def two_choices(seed: int) -> Choose:
    """Draw two, take the one with fewer unanswered requests (Mitzenmacher, 2001)."""
    draw = random.Random(seed).random

    def choose(replicas: Sequence[Queued]) -> int:
        one, other = int(draw() * len(replicas)), int(draw() * len(replicas))
        return one if replicas[one].waiting <= replicas[other].waiting else other

    return choose


POLICIES: dict[str, Callable[[int], Choose]] = {
    "random": at_random,
    "round robin": in_turn,
    "two choices": two_choices,
    "least connections": least_waiting,
}
