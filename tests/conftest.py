"""A project that was trained once, and a tiny bundle, for all the tests that need them."""

import gc
import logging
import os
import shutil
import ssl
from collections.abc import Generator, Iterator
from functools import cache

# Before torch is loaded: more threads than that only get in each other's way on tiny pictures.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# Before Ray is imported, by whichever test does so first: what `distributed/cluster.py` sets, too.
os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
# Ray's workers give way to all else by default, and get nothing done beside other tests.
os.environ.setdefault("RAY_worker_niceness", "0")

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

# Whoever only hands out the tests to other processes needs none of these, and begins sooner.
if TYPE_CHECKING:
    from doctor_derma.inference.classifier import Classifier
    from project import Project, RunDerma

# What `make test-fast` leaves out: folders and files whose tests start clusters, kernels, servers,
# MLflow or programs, and fixtures for which a network is trained. Single tests of other files that
# take over a second of a processor are marked where they stand.
SLOW_FOLDERS = {
    *("benchmarks", "commands", "deployment", "distributed", "notebooks", "privacy", "tracking"),
}
SLOW_FILES = {
    *("test_cli", "test_decide", "test_devices", "test_docs", "test_doctests", "test_drain"),
    *("test_forgetting", "test_ham10000", "test_hostile", "test_http", "test_independence"),
    *("test_large_pictures", "test_leaving_out", "test_memory", "test_mlflow_model"),
    *("test_openapi", "test_plots", "test_resume", "test_serve"),
}
SLOW_FIXTURES = {"tiny_run", "lesions", "root"}
# What takes longest comes first: none of it begins when the other processes have ended.
LONGEST = (
    *("notebooks", "test_cli.py", "privacy", "export", "training", "test_wheel.py"),
    *("benchmarks/test_replicas.py", "commands", "tracking"),
)


def is_fast_tier(config: pytest.Config) -> bool:
    return "not slow" in config.getoption("markexpr")


def is_slow(path: Path) -> bool:
    """Tell if a folder, or all tests of a file, are left out of the fast tier."""
    inside = path.relative_to(Path(__file__).parent).parts
    return (bool(inside) and inside[0] in SLOW_FOLDERS) or path.stem in SLOW_FILES


def pytest_configure(config: pytest.Config) -> None:
    """Choose what the tiers differ in: examples of Hypothesis, and files that are left open."""
    if getattr(config.option, "numprocesses", None):
        return  # It hands out the tests to other processes, which come here, too.
    from hypothesis import settings

    # Before any test names a multiple of them. An example takes as long as the machine has other
    # work; pytest-timeout ends what hangs.
    settings.register_profile("suite", deadline=None)
    # What a change breaks shows in few examples mostly; the whole suite looks for the rest.
    settings.register_profile("fast", deadline=None, max_examples=20)
    settings.load_profile("fast" if is_fast_tier(config) else "suite")
    if not is_fast_tier(config):
        # What MLflow and Ray leave open in slow tests may be collected in any test after them.
        config.addinivalue_line("filterwarnings", "default:unclosed:ResourceWarning")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Import nothing of what the fast tier leaves out: Ray and MLflow take seconds a process."""
    return True if is_fast_tier(config) and is_slow(collection_path) else None


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Look for no garbage among what is imported: it stays, and looking takes seconds a process."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests by tier, ``ray`` and ``slow``, and put what takes longest first."""
    tests = Path(__file__).parent
    longest = [tests / name for name in LONGEST]
    items.sort(key=lambda item: [not item.path.is_relative_to(path) for path in longest])
    for item in items:
        if item.path.is_relative_to(tests / "distributed"):
            item.add_marker("ray")
        trains = not SLOW_FIXTURES.isdisjoint(getattr(item, "fixturenames", ()))
        if trains or is_slow(item.path):
            item.add_marker("slow")
        if item.get_closest_marker("slow"):
            # A warning fails a test, but here not one that arises in a module of these: it depends
            # on their releases and on the machine, and is not ours to mend. What they leave to the
            # garbage collector or to a thread is found anywhere.
            foreign = (
                r"default:::(lightning|mlflow|ray|torch)\b",
                "default::ResourceWarning",
                "default::pytest.PytestUnraisableExceptionWarning",
                "default::pytest.PytestUnhandledThreadExceptionWarning",
            )
            item.add_marker(pytest.mark.filterwarnings(*foreign), append=False)


@pytest.fixture(autouse=True)
def _own_environment() -> Iterator[None]:
    from project import without_foreign

    # MLflow sets the first of them itself wherever its store is pointed at.
    with without_foreign():
        yield


@pytest.fixture(scope="session", autouse=True)
def _one_tls_context() -> Iterator[None]:
    # No test speaks TLS, and for every client httpx would read all certificates again: 25 ms.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ssl, "create_default_context", cache(ssl.create_default_context))
        yield


@pytest.fixture
def run_derma(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> "RunDerma":
    """Run ``derma`` in this process; what it raises but SystemExit fails the test."""
    # ``derma serve`` leaves a handler there that writes to what ``capsys`` closes.
    monkeypatch.setattr(logging.root, "handlers", logging.root.handlers.copy())

    def run(*arguments: object) -> tuple[int, str, str]:
        from doctor_derma.commands import app

        monkeypatch.setattr("sys.argv", ["derma", *map(str, arguments)])
        # So that --root, which is kept in the environment, ends with the test.
        monkeypatch.setenv("DERMA_ROOT", "")
        capsys.readouterr()
        code = 0
        try:
            app.main()
        except SystemExit as stopped:
            code = int(stopped.code or 0)
        return code, *capsys.readouterr()

    return run


@pytest.fixture(scope="session")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MLflow's tables and no run: they take seconds to make, so once for all processes."""
    from doctor_derma.tracking.store import EXPERIMENT, ready_database

    shared = tmp_path_factory.getbasetemp()
    made = (shared.parent if "PYTEST_XDIST_WORKER" in os.environ else shared) / "made" / "mlflow.db"
    ready_database(made, EXPERIMENT)
    return made


@pytest.fixture(scope="session")
def lesions(database: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with an imported synthetic set and MLflow's tables; tests copy it or leave it be."""
    from doctor_derma.workspace import Workspace
    from project import import_lesions

    root = tmp_path_factory.mktemp("lesions")
    import_lesions(root / "data")
    copy = Workspace(root).tracking_database
    copy.parent.mkdir(parents=True)
    shutil.copy(database, copy)
    return root


@pytest.fixture
def root(lesions: Path, tmp_path: Path) -> Path:
    """A root of its own with a copy of both, for one test to train in."""
    from project import copy_data

    return copy_data(lesions, tmp_path / "root")


@pytest.fixture(scope="session")
def tiny_run(lesions: Path, tmp_path_factory: pytest.TempPathFactory) -> "Project":
    """A root where a resnet18 was trained, exported and tracked; no test changes it."""
    from project import copy_data, train_tiny, without_foreign

    with without_foreign() as patch:
        # Seconds, so that even this run is long enough for a sample of the system.
        patch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "1")
        # From a directory that is nobody's root, as the folders must not depend on it.
        elsewhere = tmp_path_factory.mktemp("elsewhere")
        patch.chdir(elsewhere)
        root = copy_data(lesions, tmp_path_factory.mktemp("tiny"))
        project = train_tiny(root, "tiny", model="resnet18")
        assert list(elsewhere.iterdir()) == []
    return project


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the plots of reports empty files: drawing them is most of the work of an evaluation."""
    from doctor_derma.evaluation import report

    monkeypatch.setattr(report, "save_png", lambda figure, path: path.touch())


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle for all tests; none of them changes it."""
    from tiny_bundle import write_bundle

    return write_bundle(tmp_path_factory.mktemp("bundle"))


@pytest.fixture(scope="session")
def classifier(bundle: Path) -> "Classifier":
    from doctor_derma.inference.classifier import Classifier

    return Classifier.load(bundle)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A red, a green and a blue picture, one of them a folder deeper, and a text file."""
    from PIL import Image

    from tiny_bundle import BLUE, GREEN, RED

    folder = tmp_path / "pictures"
    (folder / "deep").mkdir(parents=True)
    Image.new("RGB", (20, 10), RED).save(folder / "a_red.png")
    Image.new("RGB", (16, 24), GREEN).save(folder / "b_green.JPG", quality=95)
    Image.new("RGB", (12, 12), BLUE).save(folder / "deep" / "c_blue.png")
    (folder / "notes.txt").write_text("no picture")
    return folder
