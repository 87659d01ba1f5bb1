"""Workers that see something else than the machine that started the run."""

from dataclasses import replace
from pathlib import Path

from doctor_derma.distributed.train.messages import View
from doctor_derma.distributed.train.worker import disagreement, view
from project import new_run

RUN, DATA = Path("/shared/run"), Path("/shared/data")
DRIVER = View("10.0.0.1", ("1.0", "run", "2026-01-01", "abc"))
KEPT = replace(DRIVER, checkpoint=(1000, 5))


def test_workers_that_see_the_same_train() -> None:
    assert disagreement([DRIVER, replace(DRIVER, node="10.0.0.2")], DRIVER, RUN, DATA) is None
    # The driver looked before the first checkpoint was written.
    assert disagreement([KEPT, KEPT], DRIVER, RUN, DATA) is None


def test_a_worker_without_the_files_is_named_with_what_it_lacks() -> None:
    blind = View("10.0.0.2", None, problem="/shared/run: no such run")
    found = disagreement([DRIVER, blind], DRIVER, RUN, DATA)
    assert found is not None
    assert found.startswith("worker at 10.0.0.2: does not see /shared/run and /shared/data as ")
    assert "(/shared/run: no such run); keep both on a file system that all machines share" in found


def test_the_first_worker_is_held_to_what_the_driver_sees() -> None:
    other = View("10.0.0.2", ("1.0", "run", "2026-01-02", "abc"))
    found = disagreement([other, other], DRIVER, RUN, DATA)
    assert found is not None
    assert "10.0.0.2: does not see" in found


def test_a_late_checkpoint_is_waited_for() -> None:
    assert disagreement([KEPT, DRIVER], DRIVER, RUN, DATA) is not None
    older = replace(KEPT, checkpoint=(1000, 4))
    assert disagreement([KEPT, older], DRIVER, RUN, DATA) is not None


def test_another_version_is_said_to_be_one() -> None:
    other = View("10.0.0.2", ("2.0", "run", "2026-01-01", "abc"))
    found = disagreement([DRIVER, other], DRIVER, RUN, DATA)
    assert found == (
        "worker at 10.0.0.2: has doctor-derma 2.0, not 1.0; "
        "install the same version on all machines"
    )


def test_a_view_tells_runs_data_and_checkpoints_apart(root: Path) -> None:
    run = new_run(root, "seen")
    first = view(run.folder, root / "data")
    assert first.files is not None
    assert first.checkpoint is None
    assert first == view(run.folder, root / "data")

    run.last_checkpoint.write_bytes(b"weights")
    assert view(run.folder, root / "data").checkpoint is not None
    manifest = root / "data" / "manifest.csv"
    manifest.write_text(manifest.read_text().replace("female", "male"))
    assert view(run.folder, root / "data").files != first.files
    manifest.unlink()
    lost = view(run.folder, root / "data")
    assert lost.files is None
    assert "manifest.csv: no data set here" in lost.problem
