"""Bulk prediction on this machine: images/s against one process, memory, and what follows.

Each measurement runs in a process of its own. Pictures are drawn by the project, the same each
time; the copies of a picture have other names and are decoded each.

Takes about 3 minutes (throughput) or 10 (memory); needs Linux and Ray.
"""

import io
import json
import os
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from typer import Option

from command import run

REPOSITORY = Path(__file__).resolve().parents[1]
CHAMPION = REPOSITORY / "deployment/models/champion"
COUNTS = [10_000, 200_000]
HUNDRED_MILLION = 100_000_000
# An assumption, not a measurement: what a cloud asks for a virtual processor and an hour.
PRICE = 0.04
TIMED_BLOCK = 32


def draw(count: int, size: tuple[int, int]) -> list[bytes]:
    """Return JPEGs at quality 90; ``count`` is a multiple of 7."""
    from doctor_derma.data.synthetic.synthesis import DEFAULT_COUNTS, synthesize

    each = dict.fromkeys(DEFAULT_COUNTS, count // len(DEFAULT_COUNTS))
    return [picture.read() for picture in synthesize(each, size=size) if picture.read]


def write_files(folder: Path, count: int) -> None:
    """Write ``count`` files of 600x450, of which 70 differ."""
    drawn = draw(70, (600, 450))
    folder.mkdir()
    for index in range(count):
        (folder / f"{index:07}.jpg").write_bytes(drawn[index % len(drawn)])


def write_shards(folder: Path, count: int, each: int = 5000) -> None:
    """Write tar shards of ``each`` pictures of 200x150, of which 70 differ."""
    drawn = draw(70, (200, 150))
    folder.mkdir()
    for start in range(0, count, each):
        with tarfile.open(folder / f"{start:07}.tar", "w") as archive:
            for index in range(start, min(start + each, count)):
                member = tarfile.TarInfo(f"{index:07}.jpg")
                member.size = len(drawn[index % len(drawn)])
                archive.addfile(member, io.BytesIO(drawn[index % len(drawn)]))


def write_cheap_bundle(folder: Path, like: Path) -> None:
    """Write a bundle of the same input whose network is nearly free, so that many end soon."""
    sys.path.append(str(REPOSITORY / "tests"))
    from doctor_derma.bundle import read_info, write_info
    from tiny_bundle import tiny_graph, write_bundle

    size = read_info(like).input
    write_bundle(folder, tiny_graph(size.height, width=size.width))
    # The graph fits its description again, which write_bundle makes for smaller pictures.
    write_info(folder, read_info(folder).model_copy(update={"input": size}))


def one_process(source: Path, bundle: Path, out: Path, cpus: int | None) -> dict[str, Any]:
    """Predict with ``predict_rows``, on the first ``cpus`` processors or as shipped."""
    if cpus:
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cpus])
    from doctor_derma.inference.classifier import Classifier
    from doctor_derma.inference.predict import predict_rows
    from doctor_derma.inference.sources import find_images

    paths = find_images([str(source)]).images
    classifier = Classifier.load(bundle)
    started = time.perf_counter()
    rows = sum(1 for _ in predict_rows(classifier, paths))
    return {"images": rows, "seconds": time.perf_counter() - started}


def on_ray(source: Path, bundle: Path, out: Path, block: int | None = None) -> dict[str, Any]:
    """Predict on a Ray of this machine, in blocks as shipped or of a size, and time it."""
    from doctor_derma.distributed.cluster import cluster
    from doctor_derma.distributed.predict.plan import Sizes
    from doctor_derma.distributed.predict.run import predict_on_ray

    begun = time.perf_counter()
    with cluster():
        started, used = time.perf_counter(), time.process_time()
        predicted = predict_on_ray([str(source)], bundle, out, sizes=Sizes(block=block))
        seconds, used = time.perf_counter() - started, time.process_time() - used
        # Inside the block, whose end takes Ray down.
        with_start = time.perf_counter() - begun
    return {
        "images": predicted.images,
        "failed": predicted.failed,
        "seconds": seconds,
        "with_start": with_start,
        "steady": _steady(out),
        "driver_cpu": used,
    }


def _steady(out: Path) -> float:
    """Return images/s in the middle: without loading, and the end where some are idle."""
    import pyarrow.parquet as pq

    parts = sorted((out / "predictions").iterdir(), key=lambda path: path.stat().st_mtime)
    # Not from the first part on: much of what comes next was done before it.
    middle = parts[len(parts) // 4 : -len(parts) // 8]
    rows = sum(pq.read_metadata(part).num_rows for part in middle[1:])
    return rows / (middle[-1].stat().st_mtime - middle[0].stat().st_mtime)


WAYS: dict[str, Callable[[Path, Path, Path], dict[str, Any]]] = {
    "one_thread": lambda source, bundle, out: one_process(source, bundle, out, 1),
    "as_shipped": lambda source, bundle, out: one_process(source, bundle, out, None),
    # Small blocks, so that few thousand pictures are many parts to time.
    "ray_timed": lambda source, bundle, out: on_ray(source, bundle, out, TIMED_BLOCK),
}
LARGE: dict[str, Callable[[Path, Path, Path], dict[str, Any]]] = {"ray": on_ray}


def measure(way: str, source: Path, bundle: Path, out: Path) -> dict[str, Any]:
    """Run one way in a process and watch the memory of all that it starts."""
    command = [sys.executable, __file__, "way", way, str(source), str(bundle), str(out)]
    peak = {"Pss": 0, "Pss_Shmem": 0}
    log: list[int] = []
    used: dict[int, float] = {}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        while process.poll() is None:
            found = _memory(process.pid, used)
            log.append(found["Pss"])
            peak = {name: max(peak[name], found[name]) for name in peak}
            time.sleep(0.5)
        assert process.stdout is not None
        output = process.stdout.read()
    if process.returncode:
        raise SystemExit(f"{way}: ended with {process.returncode}\n{output}")
    return json.loads(output.splitlines()[-1]) | {
        "pss": peak["Pss"] / 1e6,
        "store": peak["Pss_Shmem"] / 1e6,
        "quarters": _quarters(log),
        "cpu": sum(used.values()),
    }


def _quarters(log: list[int]) -> list[float]:
    """Return the median memory of the third quarter and of the last, in MB: does it grow?"""
    middle, end = len(log) // 2, len(log) * 3 // 4
    quarters = (log[middle:end], log[end : max(end + 1, len(log) - 4)])
    return [statistics.median(part) / 1e6 for part in quarters if part]


def _memory(root: int, used: dict[int, float]) -> dict[str, int]:
    """Return the bytes of a process and all below it, each shared page counted once.

    ``used`` gets the processor time of each of them.
    """
    import psutil

    totals = {"Pss": 0, "Pss_Shmem": 0}
    try:
        processes = [psutil.Process(root), *psutil.Process(root).children(recursive=True)]
    except psutil.Error:
        return totals
    for process in processes:
        try:
            text = Path(f"/proc/{process.pid}/smaps_rollup").read_text()
            times = process.cpu_times()
        except (OSError, psutil.Error):
            continue
        used[process.pid] = times.user + times.system
        for line in text.splitlines():
            name, _, value = line.partition(":")
            if name in totals:
                totals[name] += int(value.split()[0]) * 1024
    return totals


def table(headings: list[str], rows: list[list[str]]) -> None:
    for line in (headings, ["---"] * len(headings), *rows):
        print(f"| {' | '.join(line)} |")
    print()


def throughput(bundle: Path = CHAMPION, images: int = 2800, rounds: int = 2) -> None:
    """Images/s of one process and of Ray, about 3 minutes."""
    found: dict[str, list[dict[str, Any]]] = {way: [] for way in WAYS}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        write_files(folder / "pictures", images)
        for number in range(rounds):
            for way in WAYS:
                out = folder / f"{way}-{number}"
                found[way].append(measure(way, folder / "pictures", bundle, out))
        parts = (folder / "ray_timed-0" / "predictions").iterdir()
        written = sum(part.stat().st_size for part in parts)
    speeds = {
        way: statistics.median(run["images"] / run["seconds"] for run in runs)
        for way, runs in found.items()
    }
    steady = statistics.median(run["steady"] for run in found["ray_timed"])
    whole = statistics.median(run["images"] / run["with_start"] for run in found["ray_timed"])
    lines = [
        ("one process, one processor", speeds["one_thread"], found["one_thread"]),
        ("one process as shipped, all processors", speeds["as_shipped"], found["as_shipped"]),
        ("Ray, steady", steady, found["ray_timed"]),
        ("Ray, with loading the model", speeds["ray_timed"], found["ray_timed"]),
        ("Ray, with starting Ray too", whole, found["ray_timed"]),
    ]
    print(
        f"{images:,} JPEGs of 600x450, {bundle}, {os.cpu_count()} processors, median of {rounds}\n"
    )
    rows = [
        [
            name,
            f"{speed:.1f}",
            f"{speed / speeds['one_thread']:.2f}",
            f"{speed / speeds['as_shipped']:.2f}",
            f"{statistics.median(run['cpu'] / run['images'] for run in runs) * 1000:.1f}",
            f"{max(run['pss'] for run in runs):.0f}",
        ]
        for name, speed, runs in lines
    ]
    headings = ["way", "images/s", "of one processor", "of as shipped", "processor ms an image"]
    table([*headings, "peak PSS, MB"], rows)
    project(steady, written / found["ray_timed"][0]["images"])


def project(steady: float, row_bytes: float) -> None:
    """Say what 100 million pictures take, at the speed that was measured."""
    cores = len(os.sched_getaffinity(0))
    each = steady / cores
    core_hours = HUNDRED_MILLION / each / 3600
    print(f"images/s of a core: {steady:.1f} / {cores} = {each:.1f}")
    print(f"core-hours: 100,000,000 / {each:.1f} / 3,600 = {core_hours:,.0f}")
    print(f"cost at {PRICE} a core-hour (assumed): {core_hours * PRICE:,.0f}")
    print(f"output: {row_bytes:.0f} bytes a row, {row_bytes * HUNDRED_MILLION / 1e9:.0f} GB\n")
    table(
        ["cores", "images/s", "hours"],
        [
            [f"{count:,}", f"{each * count:,.0f}", f"{core_hours / count:,.1f}"]
            for count in (2, 64, 256, 1000)
        ],
    )


def memory(
    bundle: Path = CHAMPION,
    counts: Annotated[list[int], Option(help="of pictures; once for each run")] = COUNTS,
) -> None:
    """Memory of Ray's processes for few pictures and for many, about 10 minutes."""
    runs = []
    with tempfile.TemporaryDirectory() as scratch:
        cheap = Path(scratch) / "bundle"
        write_cheap_bundle(cheap, bundle)
        for count in counts:
            shards = Path(scratch) / f"shards-{count}"
            write_shards(shards, count)
            runs.append(measure("ray", shards, cheap, Path(scratch) / f"{count}"))
    rows = []
    for count, found in zip(counts, runs, strict=True):
        rows.append(
            [
                f"{count:,}",
                f"{found['seconds']:.0f}",
                f"{found['images'] / found['seconds']:.0f}",
                f"{found['pss']:.0f}",
                f"{found['store']:.0f}",
                f"{found['driver_cpu']:.1f}",
                " then ".join(f"{value:.0f}" for value in found["quarters"]),
            ]
        )
    print("tar shards of 200x150, a network of 128x128 that is nearly free; all processes\n")
    headings = ["images", "seconds", "images/s", "peak PSS, MB", "of it shared"]
    table([*headings, "driver's processor s", "quarters 3, 4, MB"], rows)


def way(name: str, source: Path, bundle: Path, out: Path) -> None:
    """One measurement, as the others start it in a process of its own."""
    print(json.dumps((WAYS | LARGE)[name](source, bundle, out)))


if __name__ == "__main__":
    run(throughput, memory, way)
