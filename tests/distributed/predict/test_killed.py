"""What is killed in the middle is done again, and nothing else."""

import contextlib
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest

from distributed.predict.drawn import assert_same, draw, files, written
from distributed.predict.held import Held, ray_processes, shards, wait_until
from doctor_derma.distributed.predict.plan import Sizes
from doctor_derma.distributed.predict.run import Predicted, predict_on_ray
from doctor_derma.inference.classifier import Classifier
from doctor_derma.inference.predict import predict_rows
from project import own_environment

pytestmark = pytest.mark.usefixtures("ray_here")
COUNT = 400
# Nine units; the picture that is held is in the middle of the fifth. The rest is 54 shards.
SIZES = Sizes(unit=50, block=8)
SCORE = """
import sys
from pathlib import Path
from doctor_derma.distributed.predict.plan import Sizes
from doctor_derma.distributed.predict.run import predict_on_ray
source, bundle, out = sys.argv[1:]
predict_on_ray([source], Path(bundle), Path(out), sizes=Sizes(unit=50, block=8))
"""


@pytest.fixture
def held(tmp_path: Path) -> Held:
    draw(tmp_path / "pictures", COUNT)
    return Held(tmp_path / "pictures" / "1" / "p0301-held.jpg", tmp_path / "out")


def check(classifier: Classifier, folder: Path, out: Path) -> None:
    wanted = sorted(predict_rows(classifier, files(folder)), key=lambda row: row.path)
    assert len(wanted) == COUNT + 1
    assert_same(written(out), wanted)


def enough_is_written(out: Path) -> bool:
    # All but the rest of the unit that is held.
    return len(shards(out)) >= 50


def test_after_its_driver_is_killed_a_call_goes_on(
    bundle: Path, classifier: Classifier, held: Held, tmp_path: Path
) -> None:
    folder, out = tmp_path / "pictures", tmp_path / "out"
    command = [sys.executable, "-c", SCORE, str(folder), str(bundle), str(out)]
    driver = subprocess.Popen(command, env=own_environment())
    try:
        wait_until(lambda: enough_is_written(out) or driver.poll(), "nothing was written")
        assert driver.poll() is None
        children = psutil.Process(driver.pid).children(recursive=True)
        working = {process.pid for process in ray_processes(driver.pid)}
    finally:
        driver.kill()
        driver.wait()
    before = shards(out)
    held.let_go(7)
    # Ray ends its workers when the one that asked for them is gone, and its agents later.
    workers = [process for process in children if process.pid in working]
    _, alive = psutil.wait_procs(workers, timeout=60)
    for process in children:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    assert alive == []

    predicted = predict_on_ray([str(folder)], bundle, out, sizes=SIZES)
    assert predicted.skipped == len(before)
    assert 0 < predicted.images <= COUNT + 1 - 8 * 50 + 64
    after = shards(out)
    assert {path: after[path] for path in before} == before
    check(classifier, folder, out)


def test_workers_that_are_killed_are_replaced(
    bundle: Path, classifier: Classifier, held: Held, tmp_path: Path
) -> None:
    folder, out = tmp_path / "pictures", tmp_path / "out"
    results: list[Predicted] = []
    running = threading.Thread(
        target=lambda: results.append(predict_on_ray([str(folder)], bundle, out, sizes=SIZES))
    )
    running.start()
    try:
        wait_until(lambda: enough_is_written(out) or not running.is_alive(), "nothing was written")
        victims = ray_processes()
        titles = " ".join(" ".join(victim.cmdline()) for victim in victims)
        assert "Predictor" in titles
        assert "decode_unit" in titles
    finally:
        held.let_go(7)
    for victim in victims:
        victim.kill()
    running.join(timeout=240)
    assert [(predicted.images, predicted.failed) for predicted in results] == [(COUNT + 1, 3)]
    check(classifier, folder, out)
