"""A backup of mlflow/ is one state of it, also while others write, and comes back whole."""

import sqlite3
import subprocess
import sys
import tarfile
import threading
from contextlib import closing
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "docker" / "backup.py"


def backup(action: str, archive: Path, folder: Path) -> "subprocess.CompletedProcess[str]":
    # -S and -I: without the packages of this environment, which the script must not need.
    command = [sys.executable, "-I", "-S", SCRIPT, action, archive, "--folder", folder]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder like mlflow/ with two tables that are always of the same length."""
    folder = tmp_path / "mlflow"
    (folder / "db").mkdir(parents=True)
    with closing(sqlite3.connect(folder / "db/mlflow.db")) as database:
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("CREATE TABLE runs (id INTEGER)")
        database.execute("CREATE TABLE metrics (id INTEGER)")
    (folder / "artifacts/1").mkdir(parents=True)
    (folder / "artifacts/1/model.bin").write_bytes(bytes(range(256)) * 100)
    return folder


def write_run(database: sqlite3.Connection, number: int) -> None:
    with database:
        database.execute("INSERT INTO runs VALUES (?)", (number,))
        database.execute("INSERT INTO metrics VALUES (?)", (number,))


def counts(folder: Path) -> tuple[int, int]:
    with closing(sqlite3.connect(folder / "db/mlflow.db")) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        return (
            database.execute("SELECT count(*) FROM runs").fetchone()[0],
            database.execute("SELECT count(*) FROM metrics").fetchone()[0],
        )


def test_what_was_saved_while_others_write_comes_back_whole(folder: Path, tmp_path: Path) -> None:
    done, begun = threading.Event(), threading.Event()

    def write() -> None:
        with closing(sqlite3.connect(folder / "db/mlflow.db", timeout=30)) as database:
            number = 0
            while not done.is_set():
                write_run(database, number)
                number += 1
                if number == 50:
                    begun.set()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        assert begun.wait(30)
        saved = backup("save", tmp_path / "backup.tar.gz", folder)
    finally:
        done.set()
        writer.join()
    assert saved.returncode == 0, saved.stderr
    assert "the database and 1 files" in saved.stdout
    restored = backup("restore", tmp_path / "backup.tar.gz", tmp_path / "elsewhere")
    assert restored.returncode == 0, restored.stderr
    runs, metrics = counts(tmp_path / "elsewhere")
    assert runs == metrics >= 50
    assert (tmp_path / "elsewhere/artifacts/1/model.bin").read_bytes() == bytes(range(256)) * 100


def test_rows_that_are_only_in_the_log_are_saved(folder: Path, tmp_path: Path) -> None:
    with closing(sqlite3.connect(folder / "db/mlflow.db")) as database:
        write_run(database, 1)
        assert (folder / "db/mlflow.db-wal").stat().st_size > 0
        assert backup("save", tmp_path / "backup.tar.gz", folder).returncode == 0
    backup("restore", tmp_path / "backup.tar.gz", tmp_path / "elsewhere")
    assert counts(tmp_path / "elsewhere") == (1, 1)
    with tarfile.open(tmp_path / "backup.tar.gz") as tar:
        assert [n for n in tar.getnames() if n.startswith("db/")] == ["db/mlflow.db"]


def test_runs_are_never_written_over(folder: Path, tmp_path: Path) -> None:
    backup("save", tmp_path / "backup.tar.gz", folder)
    with closing(sqlite3.connect(folder / "db/mlflow.db")) as database:
        write_run(database, 1)
    refused = backup("restore", tmp_path / "backup.tar.gz", folder)
    assert refused.returncode == 1
    assert "move the folder's content away first" in refused.stderr
    assert counts(folder) == (1, 1)


def test_a_damaged_archive_leaves_nothing_behind(folder: Path, tmp_path: Path) -> None:
    archive = tmp_path / "backup.tar.gz"
    backup("save", archive, folder)
    archive.write_bytes(archive.read_bytes()[:200])
    refused = backup("restore", archive, tmp_path / "elsewhere")
    assert refused.returncode == 1
    assert len(refused.stderr.splitlines()) == 1
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_folder_that_is_a_link_is_refused_before_anything_is_written(
    folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk/model.bin").touch()
    (folder / "artifacts/2").symlink_to(tmp_path / "disk")
    refused = backup("save", tmp_path / "backup.tar.gz", folder)
    assert refused.returncode == 1
    assert f"{folder / 'artifacts/2'} is a link to a folder" in refused.stderr
    assert len(refused.stderr.splitlines()) == 1
    assert not list(tmp_path.glob("backup*"))


def test_nothing_to_save_is_one_sentence(tmp_path: Path) -> None:
    refused = backup("save", tmp_path / "backup.tar.gz", tmp_path)
    assert refused.returncode == 1
    assert "mlflow.db is not there" in refused.stderr
    assert not (tmp_path / "backup.tar.gz").exists()
