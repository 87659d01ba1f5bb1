"""What the machine can do: ONNX Runtime and Pillow in one process, without HTTP.

Pictures are decoded and shrunk as the package does it, and the three outputs of the graph are
computed as the server needs them. Two ways of sharing the processors, in many batch sizes: each
worker decodes its batch and runs it, or decoders fill a queue before one network.
"""

import argparse
import json
import os
import queue
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle
from pathlib import Path
from threading import Event, Thread
from typing import Any

import numpy as np
import onnxruntime as ort

from doctor_derma.bundle import read_info
from doctor_derma.cpus import usable_cpus
from doctor_derma.images.decoding import decode
from serving_bench.percentiles import in_milliseconds

BATCHES = (1, 2, 4, 8, 16, 32)


class Raw:
    """A session without anything around it."""

    def __init__(self, bundle: Path, threads: int, spin: bool) -> None:
        info = read_info(bundle)
        self._size = info.input.height, info.input.width
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", str(int(spin)))
        path = bundle / info.weights.file
        self._session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def decode(self, encoded: bytes) -> np.ndarray:
        """Return uint8 (height, width, 3)."""
        return decode(encoded, *self._size).pixels

    def run(self, pixels: list[np.ndarray]) -> None:
        self._session.run(None, {"images": np.stack(pixels)})


def one_at_a_time(raw: Raw, pictures: list[bytes], seconds: float) -> dict[str, Any]:
    """Decode a picture, run it, and so on: the latency that no server can be under."""
    latencies = []
    end = time.perf_counter() + seconds
    for picture in cycle(pictures):
        start = time.perf_counter()
        if start >= end:
            break
        raw.run([raw.decode(picture)])
        latencies.append(time.perf_counter() - start)
    return {"latency_ms": in_milliseconds(latencies), "per_second": len(latencies) / seconds}


def own_batches(raw: Raw, pictures: list[bytes], seconds: float, workers: int, batch: int) -> float:
    """Each worker decodes its batch and runs it; return pictures a second."""

    def work(first: int) -> float:
        turn = cycle(pictures[first:] + pictures[:first])
        done, start = 0, time.perf_counter()
        while (now := time.perf_counter()) - start < seconds:
            raw.run([raw.decode(next(turn)) for _ in range(batch)])
            done += batch
        return done / (now - start)

    with ThreadPoolExecutor(workers) as pool:
        return sum(pool.map(work, range(workers)))


def before_one_network(
    raw: Raw, pictures: list[bytes], seconds: float, decoders: int, batch: int
) -> float:
    """Decoders fill a queue from which one network takes full batches."""
    decoded: queue.Queue[np.ndarray] = queue.Queue(2 * batch)
    over = Event()

    def decode(turn: Iterator[bytes]) -> None:
        while not over.is_set():
            decoded.put(raw.decode(next(turn)))

    threads = [
        Thread(target=decode, args=(cycle(pictures[first:] + pictures[:first]),), daemon=True)
        for first in range(decoders)
    ]
    for thread in threads:
        thread.start()
    done, start = 0, time.perf_counter()
    while (now := time.perf_counter()) - start < seconds:
        raw.run([decoded.get() for _ in range(batch)])
        done += batch
    over.set()
    while any(thread.is_alive() for thread in threads):
        try:
            decoded.get(timeout=0.01)
        except queue.Empty:
            continue
    return done / (now - start)


def ways(cpus: int, batches: tuple[int, ...]) -> Iterator[tuple[str, int, int, bool, int]]:
    """Yield layout, threads before or around the network, those in it, spinning, batch."""
    for batch in batches:
        yield "a batch per thread", cpus, 1, False, batch
        yield "a batch per thread", cpus + 1, 1, False, batch
        if cpus > 1:
            yield "a batch per thread", 1, cpus, True, batch
            yield "a batch per thread", cpus, cpus, False, batch
            yield "before one network", cpus, cpus, False, batch


LAYOUTS: dict[str, Callable[[Raw, list[bytes], float, int, int], float]] = {
    "a batch per thread": own_batches,
    "before one network": before_one_network,
}


def measure(bundle: Path, pictures: list[bytes], seconds: float, quick: bool) -> dict[str, Any]:
    """Try every way; return them all and the best one."""
    cpus = usable_cpus()
    single = {}
    for spin in (False, True):
        raw = Raw(bundle, cpus, spin)
        one_at_a_time(raw, pictures, seconds / 5)
        single["spinning" if spin else "sleeping"] = one_at_a_time(raw, pictures, 2 * seconds)
    tried: list[dict[str, Any]] = []
    for layout, around, inside, spin, batch in ways(cpus, (1, 8) if quick else BATCHES):
        raw = Raw(bundle, inside, spin)
        raw.run([raw.decode(pictures[0])] * batch)
        speed = LAYOUTS[layout](raw, pictures, seconds, around, batch)
        tried.append(
            {
                "layout": layout,
                "threads_around": around,
                "threads_inside": inside,
                "spinning": spin,
                "batch": batch,
                "per_second": speed,
            }
        )
        print(
            f"{layout}, {around} + {inside} threads, batch {batch}: {speed:.1f}/s", file=sys.stderr
        )
    best = max(tried, key=lambda way: way["per_second"])
    at_one = max((way for way in tried if way["batch"] == 1), key=lambda way: way["per_second"])
    return {"best": best, "best_at_batch_1": at_one, "one_at_a_time": single, "tried": tried}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("pictures", type=Path)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--quick", action="store_true")
    given = parser.parse_args()
    pictures = [path.read_bytes() for path in sorted(given.pictures.iterdir())]
    print(json.dumps(measure(given.bundle, pictures, given.seconds, given.quick)))
    # Threads that wait in a queue would keep the process.
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
