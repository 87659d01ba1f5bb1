#!/usr/bin/env python3
"""Back up mlflow/ while MLflow runs, and restore it.

    python3 docker/backup.py save mlflow-backup.tar.gz
    python3 docker/backup.py restore mlflow-backup.tar.gz

Needs nothing but Python 3.11. The database is copied with SQLite's own backup, which gives one
consistent state while others write; the files follow it, so that all that this state names is
there. What is written after that is in the next backup.
"""

import argparse
import io
import os
import sqlite3
import sys
import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

DATABASE = "db/mlflow.db"
# SQLite's own, beside a database that is in use: the copy has no need of them.
LIVE = tuple(DATABASE + ending for ending in ("", "-wal", "-shm", "-journal"))


class Refused(Exception):  # noqa: N818
    """What can't be done and what to do instead, in one sentence."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("action", choices=("save", "restore"))
    parser.add_argument("archive", type=Path, help="a file such as mlflow-backup.tar.gz")
    parser.add_argument(
        "--folder",
        type=Path,
        default=Path(__file__).resolve().parents[1] / "mlflow",
        help="mlflow/ of the repository, unless given",
    )
    arguments = parser.parse_args()
    try:
        if arguments.action == "save":
            print(save(arguments.folder, arguments.archive))
        else:
            print(restore(arguments.archive, arguments.folder))
    except (Refused, OSError, EOFError, zlib.error, sqlite3.Error, tarfile.TarError) as problem:
        print(f"backup: {problem}", file=sys.stderr)
        return 1
    return 0


def save(folder: Path, archive: Path) -> str:
    """Write an archive of a folder; it is under its name only when it is whole."""
    if not (folder / DATABASE).is_file():
        raise Refused(f"{folder / DATABASE} is not there; name the folder mlflow/ with --folder")
    archive = archive.resolve()
    if archive.is_relative_to(folder.resolve()):
        raise Refused(f"{archive} lies in the folder that it is to hold; choose another place")
    if link := next(linked_folders(folder), None):
        raise Refused(
            f"{link} is a link to a folder, whose files would be missing; mount the folder there"
        )
    unfinished = archive.with_name(archive.name + ".part")
    files = 0
    try:
        with tempfile.TemporaryDirectory(dir=archive.parent) as scratch:
            copy = Path(scratch, "mlflow.db")
            copy_database(folder / DATABASE, copy)
            with tarfile.open(unfinished, "w:gz", compresslevel=1) as tar:
                tar.add(copy, DATABASE)
                for path in other_files(folder):
                    files += add(tar, path, path.relative_to(folder).as_posix())
        unfinished.replace(archive)
    finally:
        unfinished.unlink(missing_ok=True)
    return f"{archive}: the database and {files:,} files, {archive.stat().st_size:,} bytes"


def copy_database(source: Path, target: Path) -> None:
    """Copy a SQLite database that others may be writing to, and check the copy."""
    with (
        closing(sqlite3.connect(f"{source.resolve().as_uri()}?mode=rw", uri=True)) as live,
        closing(sqlite3.connect(target)) as copy,
    ):
        live.backup(copy)
        if (found := copy.execute("PRAGMA integrity_check").fetchone()[0]) != "ok":
            raise Refused(f"{source} is damaged ({found}); restore an older backup")


def linked_folders(folder: Path) -> Iterator[Path]:
    """Yield the folders that `other_files` does not go into."""
    for parent, folders, _ in os.walk(folder):
        yield from (Path(parent, name) for name in folders if Path(parent, name).is_symlink())


def other_files(folder: Path) -> Iterator[Path]:
    """Yield every file but the live database, in order."""
    for parent, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            path = Path(parent, name)
            if path.relative_to(folder).as_posix() not in LIVE:
                yield path


def add(tar: tarfile.TarFile, path: Path, name: str) -> bool:
    """Add a file, unless it was deleted or renamed in the meantime."""
    try:
        with path.open("rb") as stream:
            entry = tar.gettarinfo(arcname=name, fileobj=stream)
            # A log may grow while it is read: exactly the bytes that the header promises.
            content = stream if entry.size > 1 << 24 else io.BytesIO(stream.read(entry.size))
            tar.addfile(entry, content)
    except FileNotFoundError:
        return False
    return True


def restore(archive: Path, folder: Path) -> str:
    """Unpack an archive where there are no runs yet."""
    for name in LIVE:
        if (folder / name).exists():
            raise Refused(
                f"{folder / name} is there; stop MLflow and move the folder's content away first"
            )
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        with tarfile.open(archive, "r:gz") as tar:
            # Refuses names and links that lead out of the folder.
            tar.extractall(scratch, filter="data")
        if not Path(scratch, DATABASE).is_file():
            raise Refused(f"{archive} holds no {DATABASE}; it is no backup of mlflow/")
        # The database last: until it is there, the folder counts as empty.
        names = [p.relative_to(scratch) for p in Path(scratch).rglob("*") if p.is_file()]
        for name in sorted(names, key=lambda name: name.as_posix() == DATABASE):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            Path(scratch, name).replace(folder / name)
    return f"{folder}: the database and {len(names) - 1:,} files"


if __name__ == "__main__":
    sys.exit(main())
