"""Two nodes share the work; the workers of both are killed in its middle."""

import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from distributed.predict.drawn import assert_same, draw, files, written
from distributed.predict.held import Held, ray_processes, shards, wait_until
from distributed.two_nodes import two_nodes
from doctor_derma.inference.classifier import Classifier
from doctor_derma.inference.predict import predict_rows
from project import own_environment

SCORE = """
import sys
from pathlib import Path
from doctor_derma.distributed.predict.plan import Sizes
from doctor_derma.distributed.predict.run import predict_on_ray
source, bundle, out, address = sys.argv[1:]
print(predict_on_ray([source], Path(bundle), Path(out), address, Sizes(unit=50, block=8)).images)
"""


def raylets(workers: list[psutil.Process]) -> set[int]:
    return {worker.ppid() for worker in workers}


def test_two_nodes_give_the_rows_of_one_machine(
    bundle: Path, classifier: Classifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    folder, out = draw(tmp_path / "pictures", 200), tmp_path / "out"
    held = Held(folder / "1" / "p0151-held.jpg", out)
    with two_nodes() as address:
        command = [sys.executable, "-c", SCORE, str(folder), str(bundle), str(out), address]
        driver = subprocess.Popen(command, env=own_environment(), stdout=subprocess.PIPE)
        try:
            wait_until(lambda: len(shards(out)) >= 23 or driver.poll(), "nothing was written")
            victims = ray_processes()
            assert len(raylets(victims)) == 2
            held.let_go(7)
            for victim in victims:
                victim.kill()
            output, _ = driver.communicate(timeout=240)
        finally:
            driver.kill()
    # Ray tells of the workers that died before.
    assert output.split()[-1] == b"201"
    wanted = sorted(predict_rows(classifier, files(folder)), key=lambda row: row.path)
    assert_same(written(out), wanted)
