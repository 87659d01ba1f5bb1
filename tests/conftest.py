"""A project that was trained once, and a tiny bundle, for all the tests that need them."""

import os
import shutil

# Before torch is loaded: more threads than that only get in each other's way on tiny pictures.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# Before Ray is imported, by whichever test does so first: what `distributed/cluster.py` sets, too.
os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
# Ray's workers give way to all else by default, and get nothing done beside other tests.
os.environ.setdefault("RAY_worker_niceness", "0")

from pathlib import Path

import pytest
from hypothesis import settings
from PIL import Image

from doctor_derma.inference.classifier import Classifier
from doctor_derma.workspace import Workspace
from project import FOREIGN, Project, RunDerma, copy_data, import_lesions, train_tiny
from tiny_bundle import BLUE, GREEN, RED, write_bundle

# An example takes as long as the machine has other work; pytest-timeout ends what hangs.
settings.register_profile("suite", deadline=None)
settings.load_profile("suite")

# What `make test-fast` leaves out: folders and files whose tests start clusters, kernels, servers
# or programs, and fixtures for which a network is trained.
SLOW_FOLDERS = {"benchmarks", "commands", "deployment", "distributed", "notebooks", "privacy"}
SLOW_FILES = {
    *("test_cli", "test_decide", "test_docs", "test_doctests", "test_drain", "test_forgetting"),
    *("test_first_trainings", "test_ham10000", "test_hostile", "test_http", "test_independence"),
    *("test_large_pictures", "test_memory", "test_mlflow_model", "test_openapi", "test_plots"),
    *("test_serve", "test_unreachable"),
}
# Single tests of other files that take over a second or so of a processor: plots, large networks,
# training, other processes, and hypothesis with whole imports.
SLOW_TESTS = {
    *("test_classes_differ_in_the_middle_and_not_in_the_corner", "test_killed_while_it_swaps"),
    *("test_clients_that_hang_up_leave_the_queue_of_a_real_server", "test_plots_show_the_figures"),
    *("test_contact_sheet_shows_every_severity", "test_imports_as_every_class_in_every_split"),
    *("test_kept_and_left_out_make_up_what_was_seen", "test_no_body_breaks_the_server"),
    *("test_plot_and_table_show_both_curves_also_with_an_absent_class",),
    *("test_plot_and_table_show_every_class_also_an_absent_one", "test_sizes_of_residual_networks"),
    *("test_a_photograph_of_a_telephone_is_decoded",),
    *("test_plot_and_table_show_the_gaps", "test_plot_is_one_picture_with_something_on_it"),
    *("test_the_clients_of_a_proxy_have_a_limit_each", "test_the_plot_counts_the_bands"),
    *("test_too_much_memory_is_a_refusal", "test_unknown_patients_are_said_to_be_unknown"),
    *("test_who_is_cancelled_leaves_no_answer_for_the_next", "test_limit_predicts_fewer_pictures"),
    *("test_only_rows_reach_standard_output_and_odd_names_stay_as_they_are",),
    *("test_a_command_ends_with_the_sentence", "test_sources_are_left_out_in_turn"),
    *("test_training_learns_what_tells_the_classes_apart", "test_weights_are_never_loaded_in_part"),
    *("test_plain_and_attention_networks_differ_in_the_attention_only",),
    "test_mlflow_predicts_as_written",
    *("test_a_second_evaluation_replaces_the_first", "test_comparison_leaves_every_file"),
    *("test_report_escapes_names", "test_a_failure_leaves_the_earlier_results"),
    *("test_undefined_metrics_are_null", "test_one_class_alone_is_judged_by_what_it_has"),
    "test_no_value_is_more_than_a_derma_error",
    *("test_a_damaged_profile_never_stops_a_picture", "test_folds_need_no_torch"),
    *("test_a_large_jpeg_is_decoded_smaller_with_a_profile_too",),
    *("test_classes_with_brackets_are_told_apart", "test_weights_equal_repeated_rows"),
}
SLOW_FIXTURES = {"tiny_run", "lesions", "root"}
# What takes longest comes first: none of it begins when the other processes have ended.
LONGEST = (
    *("notebooks", "test_cli.py", "privacy", "export", "training", "test_wheel.py"),
    *("benchmarks/test_replicas.py", "commands", "tracking"),
)


def is_slow(path: Path) -> bool:
    """Tell if a folder, or all tests of a file, are left out of the fast tier."""
    inside = path.relative_to(Path(__file__).parent).parts
    return (bool(inside) and inside[0] in SLOW_FOLDERS) or path.stem in SLOW_FILES


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Import nothing of what the fast tier leaves out: Ray and MLflow take seconds a process."""
    fast = "not slow" in config.getoption("markexpr")
    return True if fast and is_slow(collection_path) else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests by tier, ``ray`` and ``slow``, and put what takes longest first."""
    tests = Path(__file__).parent
    longest = [tests / name for name in LONGEST]
    items.sort(key=lambda item: [not item.path.is_relative_to(path) for path in longest])
    for item in items:
        if item.path.is_relative_to(tests / "distributed"):
            item.add_marker("ray")
        single = getattr(item, "originalname", item.name) in SLOW_TESTS
        trains = not SLOW_FIXTURES.isdisjoint(getattr(item, "fixturenames", ()))
        if single or trains or is_slow(item.path):
            item.add_marker("slow")
            # What Ray, MLflow and torch warn of depends on their releases, and is not ours to mend.
            item.add_marker(pytest.mark.filterwarnings("default"), append=False)


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    # MLflow sets the first of them itself wherever its store is pointed at.
    for name in FOREIGN:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def run_derma(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> RunDerma:
    """Run ``derma`` in this process; what it raises but SystemExit fails the test."""

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
    root = tmp_path_factory.mktemp("lesions")
    import_lesions(root / "data")
    copy = Workspace(root).tracking_database
    copy.parent.mkdir(parents=True)
    shutil.copy(database, copy)
    return root


@pytest.fixture
def root(lesions: Path, tmp_path: Path) -> Path:
    """A root of its own with a copy of both, for one test to train in."""
    return copy_data(lesions, tmp_path / "root")


@pytest.fixture(scope="session")
def tiny_run(lesions: Path, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A root where a resnet18 was trained, exported and tracked; no test changes it."""
    with pytest.MonkeyPatch.context() as patch:
        for name in FOREIGN:
            patch.delenv(name, raising=False)
        # Seconds, so that even this run is long enough for a sample of the system.
        patch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "1")
        # From a directory that is nobody's root, as the folders must not depend on it.
        elsewhere = tmp_path_factory.mktemp("elsewhere")
        patch.chdir(elsewhere)
        root = copy_data(lesions, tmp_path_factory.mktemp("tiny"))
        project = train_tiny(root, "tiny", model="resnet18")
        assert list(elsewhere.iterdir()) == []
    return project


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle for all tests; none of them changes it."""
    return write_bundle(tmp_path_factory.mktemp("bundle"))


@pytest.fixture(scope="session")
def classifier(bundle: Path) -> Classifier:
    return Classifier.load(bundle)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A red, a green and a blue picture, one of them a folder deeper, and a text file."""
    folder = tmp_path / "pictures"
    (folder / "deep").mkdir(parents=True)
    Image.new("RGB", (20, 10), RED).save(folder / "a_red.png")
    Image.new("RGB", (16, 24), GREEN).save(folder / "b_green.JPG", quality=95)
    Image.new("RGB", (12, 12), BLUE).save(folder / "deep" / "c_blue.png")
    (folder / "notes.txt").write_text("no picture")
    return folder
