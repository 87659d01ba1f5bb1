"""What is killed in the middle is done again, and nothing else, wherever it goes on."""

import contextlib
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from distributed.predict.drawn import assert_same, draw, files, written
from distributed.predict.held import Held, ray_processes, shards, wait_until
from doctor_derma.inference.classifier import Classifier
from doctor_derma.inference.predict import predict_rows
from project import own_environment

COUNT = 200
UNREADABLE = 3
WAIT_SECONDS = 240
# Five units; the picture that is held is in the middle of the third. All but its rest is 24 shards.
SCORE = """
import sys
from pathlib import Path
from doctor_derma.distributed.predict.plan import Sizes
from doctor_derma.distributed.predict.run import predict_on_ray
source, bundle, out, address = sys.argv[1:]
found = predict_on_ray([source], Path(bundle), Path(out), address, Sizes(unit=50, block=8))
print(found.images, found.failed, found.skipped)
"""


@contextmanager
def driver(
    folder: Path, bundle: Path, out: Path, address: str = ""
) -> Iterator["subprocess.Popen[str]"]:
    """Predict in a process of its own, of which nothing is left when the block ends."""
    command = [sys.executable, "-c", SCORE, str(folder), str(bundle), str(out), address]
    environment = own_environment()
    if not address:
        del environment["RAY_AUTH_MODE"]  # A Ray of its own makes a token, as it does by default.
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    children = []
    try:
        yield process
    finally:
        with contextlib.suppress(psutil.NoSuchProcess):
            children = psutil.Process(process.pid).children(recursive=True)
        process.kill()
        process.communicate()
        for child in children:
            with contextlib.suppress(psutil.NoSuchProcess):
                child.kill()


def wait_for_shards(count: int, process: "subprocess.Popen[str]", out: Path) -> None:
    wait_until(lambda: len(shards(out)) >= count or process.poll() is not None, "nothing written")
    assert process.poll() is None


def numbers(said: str) -> list[int]:
    """Return what ``SCORE`` prints, among what Ray tells of processes that died."""
    [line] = re.findall(r"^\d+ \d+ \d+$", said, re.MULTILINE)
    return [int(number) for number in line.split()]


def kill(process: "subprocess.Popen[str]") -> None:
    """Kill a driver that has started a Ray of its own, and see that its workers end."""
    children = psutil.Process(process.pid).children(recursive=True)
    working = {worker.pid for worker in ray_processes(process.pid)}
    assert working
    process.kill()
    process.wait()
    # Ray ends its workers when the one that asked for them is gone, and its agents later.
    _, alive = psutil.wait_procs([child for child in children if child.pid in working], timeout=60)
    for child in children:
        with contextlib.suppress(psutil.NoSuchProcess):
            child.kill()
    assert alive == []


def test_a_call_goes_on_for_a_killed_one_and_replaces_killed_workers_on_two_nodes(
    bundle: Path, classifier: Classifier, tmp_path: Path, address: str
) -> None:
    folder, out = draw(tmp_path / "pictures", COUNT), tmp_path / "out"
    held = Held(folder / "1" / "p0151-held.jpg", out)
    with driver(folder, bundle, out) as killed:
        wait_for_shards(6, killed, out)
        kill(killed)
    before, rows = shards(out), written(out)
    assert 6 <= len(before) <= 24

    with driver(folder, bundle, out, address) as going_on:
        wait_for_shards(23, going_on, out)
        victims = ray_processes()
        titles = " ".join(" ".join(victim.cmdline()) for victim in victims)
        assert "Predictor" in titles
        assert "decode_unit" in titles
        assert len({victim.ppid() for victim in victims}) == 2  # Each node has a raylet.
        held.let_go(7)
        for victim in victims:
            victim.kill()
        said, _ = going_on.communicate(timeout=WAIT_SECONDS)

    known = sum(row["error"] is not None for row in rows)
    assert numbers(said) == [COUNT + 1 - len(rows), UNREADABLE - known, len(before)]
    after = shards(out)
    assert {path: after[path] for path in before} == before
    wanted = sorted(predict_rows(classifier, files(folder)), key=lambda row: row.path)
    assert len(wanted) == COUNT + 1
    assert_same(written(out), wanted)
