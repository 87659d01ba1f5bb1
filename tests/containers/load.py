"""Many requests over few connections, as a busy clinic would send them."""

import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count

import httpx


@dataclass(frozen=True)
class Answers:
    """How often each status was answered, and after how many seconds all were."""

    statuses: Counter[int]
    seconds: float


def post(client: httpx.Client, picture: bytes) -> httpx.Response:
    return client.post("/v1/predict", content=picture, headers={"content-type": "image/jpeg"})


def send(url: str, pictures: list[bytes], requests: int, connections: int) -> Answers:
    """Post pictures, each connection one after the other, and count the answers."""
    numbers, lock = count(), threading.Lock()
    statuses: Counter[int] = Counter()

    def ask() -> None:
        with httpx.Client(base_url=url, timeout=60, trust_env=False) as client:
            while (number := next(numbers)) < requests:
                status = post(client, pictures[number % len(pictures)]).status_code
                with lock:
                    statuses[status] += 1

    began = time.monotonic()
    with ThreadPoolExecutor(connections) as pool:
        for done in [pool.submit(ask) for _ in range(connections)]:
            done.result()
    return Answers(statuses, time.monotonic() - began)
