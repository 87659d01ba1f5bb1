"""Fetches the public HAM10000 archive from Harvard Dataverse: resumable and checked."""

import hashlib
import math
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import httpx
from rich.progress import DownloadColumn, Progress, TaskID, TransferSpeedColumn

from doctor_derma.errors import DermaError
from doctor_derma.proxies import Backoff, ProxiedTransport, Retries
from doctor_derma.terminal import terminal

DATAVERSE = "https://dataverse.harvard.edu"
DOI = "10.7910/DVN/DBW86T"
PAGE = f"https://doi.org/{DOI}"
# As they are called on the server (the metadata has had several endings), and here.
FILES = {
    "HAM10000_images_part_1": "HAM10000_images_part_1.zip",
    "HAM10000_images_part_2": "HAM10000_images_part_2.zip",
    "HAM10000_metadata": "HAM10000_metadata.csv",
}
ATTEMPTS = 5
FIRST_PAUSE_SECONDS = 2.0  # At most, as the pauses after it.
_TIMEOUT = httpx.Timeout(60, connect=20)
_T = TypeVar("_T")


class _RemoteFile(NamedTuple):
    name: str
    url: str
    md5: str
    size: int | None


class _TransferError(Exception):
    """The server answered badly or broke off in a way that may pass."""


def download_ham10000(destination: Path, base_url: str | None = None) -> list[Path]:
    """Fetch the two image archives and the metadata of HAM10000 (3 GB).

    Files that are there and have the right MD5 are skipped. A download that broke off
    goes on where it stopped, within this call (a few attempts) and in the next one, from
    the ``.part`` file it left.

    Parameters
    ----------
    base_url : a Dataverse server; Harvard's unless given

    Returns
    -------
    The files, which ``read_ham10000(destination)`` reads.

    Raises
    ------
    DermaError
        When the server can't be reached, lacks a file, sends a wrong one, or the disk is full.
    """
    base = (base_url or DATAVERSE).rstrip("/")
    columns = (*Progress.get_default_columns(), DownloadColumn(), TransferSpeedColumn())
    try:
        with (
            httpx.Client(
                transport=ProxiedTransport(),
                timeout=_TIMEOUT,
                follow_redirects=True,
                headers={"Accept-Encoding": "identity"},
            ) as client,
            Progress(*columns, console=terminal(error=True)) as progress,
        ):
            destination.mkdir(parents=True, exist_ok=True)
            files = _list_files(client, base)
            return [_fetch(client, file, destination, progress) for file in files]
    except (httpx.HTTPError, httpx.InvalidURL, _TransferError) as error:
        raise DermaError(
            f"{base}: can't be downloaded from ({error}); try again later, it will go on where "
            f"it stopped, or download the files of {PAGE} with a browser into {destination}"
        ) from error
    except OSError as error:
        raise DermaError(
            f"{destination}: can't be written ({error.strerror or error}); free some space or "
            "choose another folder, the download will go on where it stopped"
        ) from error


def _list_files(client: httpx.Client, base: str) -> list[_RemoteFile]:
    """Ask the dataset API for ids, sizes and checksums of the files of the latest version."""
    url = f"{base}/api/datasets/:persistentId/versions/:latest-published/files"
    params = {"persistentId": f"doi:{DOI}"}
    try:
        entries = _again(lambda: _checked(client.get(url, params=params))).json()["data"]
        offered = {Path(entry["label"]).stem: entry["dataFile"] for entry in entries}
        if missing := [wanted for wanted in FILES if wanted not in offered]:
            raise DermaError(
                f"{url}: the archive lists no {missing[0]}; download it by hand from {PAGE}"
            )
        return [_remote_file(base, name, offered[wanted]) for wanted, name in FILES.items()]
    except (ValueError, KeyError, TypeError) as error:
        raise DermaError(
            f"{url}: the answer is no list of files; check the address of the server"
        ) from error


def _remote_file(base: str, name: str, entry: dict[str, Any]) -> _RemoteFile:
    url = f"{base}/api/access/datafile/{entry['id']}"
    if "originalFileFormat" in entry:
        # Dataverse turns tables into its own format; the MD5 is that of the original.
        url, size = f"{url}?format=original", entry.get("originalFileSize")
    else:
        size = entry["filesize"]
    return _RemoteFile(name, url, entry["md5"], size)


def _fetch(client: httpx.Client, file: _RemoteFile, destination: Path, progress: Progress) -> Path:
    path = destination / file.name
    part = path.with_name(path.name + ".part")
    task = progress.add_task(file.name, total=file.size)
    if path.is_file() and _md5(path) == file.md5:
        size = path.stat().st_size
        progress.update(task, total=size, completed=size)
        return path
    _again(partial(_append, client, file, part, progress, task))
    if (found := _md5(part)) != file.md5:
        part.unlink()
        raise DermaError(
            f"{path}: the download's MD5 is {found}, not {file.md5}; it was damaged on the way, "
            "download again"
        )
    part.replace(path)
    return path


def _append(
    client: httpx.Client, file: _RemoteFile, part: Path, progress: Progress, task: TaskID
) -> None:
    """Fetch what ``part`` lacks; a server that ignores ranges sends everything anew."""
    have = part.stat().st_size if part.is_file() else 0
    if have == file.size:
        return
    if file.size is not None and have > file.size:
        have = 0
    headers = {"Range": f"bytes={have}-"} if have else {}
    with client.stream("GET", file.url, headers=headers) as response:
        if response.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
            part.unlink()
            raise _TransferError(f"{file.name}: the server has no bytes from {have} on")
        _checked(response)
        if not response.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
            have = 0
        progress.update(task, completed=have)
        with part.open("ab" if have else "wb") as stream:
            for chunk in response.iter_bytes():
                stream.write(chunk)
                progress.advance(task, len(chunk))
    if file.size is not None and part.stat().st_size < file.size:
        raise _TransferError(f"{file.name}: the server sent {part.stat().st_size} of {file.size}")


def _checked(response: httpx.Response) -> httpx.Response:
    """Return a good response; a fault of the server may pass, one of the request won't."""
    if response.status_code >= 500 or response.status_code == httpx.codes.TOO_MANY_REQUESTS:
        raise _TransferError(f"{response.url}: HTTP status {response.status_code}")
    if response.status_code >= 400:
        raise DermaError(
            f"{response.url}: HTTP status {response.status_code}; the archive has moved or is "
            f"closed, look at {PAGE} and download by hand"
        )
    return response


def _again(attempt: Callable[[], _T]) -> _T:
    """Call ``attempt`` until it gets through, with growing pauses, ``ATTEMPTS`` times at most."""
    # An attempt may have gone on for hours before it fails.
    backoff = Backoff(Retries(ATTEMPTS, FIRST_PAUSE_SECONDS, 16.0, patience_seconds=math.inf))
    while True:
        try:
            return attempt()
        except (httpx.TransportError, _TransferError) as error:
            if (pause := backoff.wait()) is None:
                raise
            terminal(error=True).print(f"{error}; trying again in {pause:.1f} s")
            time.sleep(pause)


def _md5(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "md5").hexdigest()
