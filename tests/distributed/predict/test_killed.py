"""What is killed in the middle is done again, and nothing else."""

import contextlib
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from distributed.predict.drawn import assert_same, draw, files, written
from distributed.predict.held import Held, ray_processes, shards, wait_until
from doctor_derma.inference.classifier import Classifier
from doctor_derma.inference.predict import predict_rows
from project import own_environment

COUNT = 400
WAIT_SECONDS = 240
# Nine units; the picture that is held is in the middle of the fifth. The rest is 54 shards.
SCORE = """
import sys
from pathlib import Path
from doctor_derma.distributed.predict.plan import Sizes
from doctor_derma.distributed.predict.run import predict_on_ray
source, bundle, out = sys.argv[1:]
found = predict_on_ray([source], Path(bundle), Path(out), sizes=Sizes(unit=50, block=8))
print(found.images, found.failed, found.skipped)
"""


@pytest.fixture
def held(tmp_path: Path) -> Held:
    draw(tmp_path / "pictures", COUNT)
    return Held(tmp_path / "pictures" / "1" / "p0301-held.jpg", tmp_path / "out")


@contextmanager
def driver(folder: Path, bundle: Path, out: Path) -> Iterator["subprocess.Popen[str]"]:
    """Predict in a process of its own, of which nothing is left when the block ends."""
    command = [sys.executable, "-c", SCORE, str(folder), str(bundle), str(out)]
    process = subprocess.Popen(command, env=own_environment(), stdout=subprocess.PIPE, text=True)
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


def numbers(said: str) -> list[int]:
    """Return what ``SCORE`` prints, among what Ray tells of processes that died."""
    [line] = re.findall(r"^\d+ \d+ \d+$", said, re.MULTILINE)
    return [int(number) for number in line.split()]


def check(classifier: Classifier, folder: Path, out: Path) -> None:
    wanted = sorted(predict_rows(classifier, files(folder)), key=lambda row: row.path)
    assert len(wanted) == COUNT + 1
    assert_same(written(out), wanted)


def wait_until_enough_is_written(process: "subprocess.Popen[str]", out: Path) -> None:
    # All but the rest of the unit that is held.
    wait_until(lambda: len(shards(out)) >= 50 or process.poll() is not None, "nothing was written")
    assert process.poll() is None


def test_after_its_driver_is_killed_a_call_goes_on(
    bundle: Path, classifier: Classifier, held: Held, tmp_path: Path
) -> None:
    folder, out = tmp_path / "pictures", tmp_path / "out"
    with driver(folder, bundle, out) as killed:
        wait_until_enough_is_written(killed, out)
        children = psutil.Process(killed.pid).children(recursive=True)
        working = {process.pid for process in ray_processes(killed.pid)}
        killed.kill()
        killed.wait()
        before = shards(out)
        held.let_go(7)
        # Ray ends its workers when the one that asked for them is gone, and its agents later.
        workers = [process for process in children if process.pid in working]
        _, alive = psutil.wait_procs(workers, timeout=60)
        for process in children:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        assert alive == []

    with driver(folder, bundle, out) as going_on:
        said, _ = going_on.communicate(timeout=WAIT_SECONDS)
    images, _, skipped = numbers(said)
    assert skipped == len(before)
    assert 0 < images <= COUNT + 1 - 8 * 50 + 64
    after = shards(out)
    assert {path: after[path] for path in before} == before
    check(classifier, folder, out)


def test_workers_that_are_killed_are_replaced(
    bundle: Path, classifier: Classifier, held: Held, tmp_path: Path
) -> None:
    folder, out = tmp_path / "pictures", tmp_path / "out"
    with driver(folder, bundle, out) as running:
        wait_until_enough_is_written(running, out)
        victims = ray_processes(running.pid)
        titles = " ".join(" ".join(victim.cmdline()) for victim in victims)
        assert "Predictor" in titles
        assert "decode_unit" in titles
        held.let_go(7)
        for victim in victims:
            victim.kill()
        said, _ = running.communicate(timeout=WAIT_SECONDS)
    assert numbers(said) == [COUNT + 1, 3, 0]
    check(classifier, folder, out)
