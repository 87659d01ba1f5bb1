"""The download against a server on the loopback that can misbehave."""

import hashlib
import json
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from doctor_derma.data.importers import download
from doctor_derma.data.importers.download import download_ham10000
from doctor_derma.errors import DermaError

LABELS = {1: "HAM10000_images_part_1.zip", 2: "HAM10000_images_part_2.zip", 3: "HAM10000_metadata"}
NAMES = (*list(LABELS.values())[:2], "HAM10000_metadata.csv")


@dataclass
class Archive:
    """What the server holds and how it misbehaves."""

    contents: dict[int, bytes]
    url: str = ""
    hidden: set[int] = field(default_factory=set)
    cut_after: dict[int, int] = field(default_factory=dict)
    cuts_left: int = 0
    ranges: bool = True
    status: dict[int, int] = field(default_factory=dict)
    damaged: set[int] = field(default_factory=set)
    listing: bytes | None = None
    asked: list[tuple[int, str | None]] = field(default_factory=list)
    sent: Counter[int] = field(default_factory=Counter)

    def list_files(self) -> bytes:
        if self.listing is not None:
            return self.listing
        entries = []
        for number, content in self.contents.items():
            entry = {"id": number, "md5": hashlib.md5(content).hexdigest()}
            if number == 3:
                # As Dataverse describes a table that it has converted.
                label = "HAM10000_metadata.tab"
                entry |= {"originalFileFormat": "text/csv", "originalFileSize": len(content)}
                entry |= {"filesize": len(content) + 77}
            else:
                label = LABELS[number]
                entry |= {"filesize": len(content)}
            if number not in self.hidden:
                entries.append({"label": label, "dataFile": entry})
        return json.dumps({"status": "OK", "data": entries}).encode()


def handler_of(archive: Archive) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            url = urlsplit(self.path)
            if url.path == "/api/datasets/:persistentId/versions/:latest-published/files":
                assert "10.7910" in url.query
                self.reply(200, archive.list_files())
                return
            number = int(url.path.removeprefix("/api/access/datafile/"))
            assert (url.query == "format=original") == (number == 3)
            asked = self.headers.get("Range")
            archive.asked.append((number, asked))
            if number in archive.status:
                self.reply(archive.status[number], b"no")
                return
            self.send_file(number, asked)

        def send_file(self, number: int, asked: str | None) -> None:
            content = archive.contents[number]
            if number in archive.damaged:
                content = content[:-1] + bytes([content[-1] ^ 1])
            start = 0
            if asked and archive.ranges:
                start = int(asked.removeprefix("bytes=").removesuffix("-"))
                self.send_response(206)
                self.send_header(
                    "Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}"
                )
            else:
                self.send_response(200)
            self.send_header("Content-Length", str(len(content) - start))
            self.end_headers()
            body = content[start:]
            if archive.cuts_left > 0 and number in archive.cut_after:
                archive.cuts_left -= 1
                body = body[: archive.cut_after[number]]
                self.close_connection = True
            archive.sent[number] += len(body)
            self.wfile.write(body)

        def reply(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    return Handler


@pytest.fixture
def archive(monkeypatch: pytest.MonkeyPatch) -> Iterator[Archive]:
    monkeypatch.setattr(download, "FIRST_PAUSE_SECONDS", 0)
    served = Archive({1: bytes(range(256)) * 9000, 2: b"second" * 5000, 3: b"lesion_id,image_id\n"})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler_of(served))
    served.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield served
    server.shutdown()
    server.server_close()
    thread.join()


def assert_complete(folder: Path, archive: Archive) -> None:
    found = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert found == dict(zip(NAMES, archive.contents.values(), strict=True))


def test_fetches_all_files_and_then_nothing(tmp_path: Path, archive: Archive) -> None:
    paths = download_ham10000(tmp_path / "new", archive.url)
    assert [path.name for path in paths] == list(NAMES)
    assert_complete(tmp_path / "new", archive)

    archive.asked.clear()
    assert download_ham10000(tmp_path / "new", archive.url + "/") == paths
    assert archive.asked == []


def test_goes_on_where_the_connection_broke(tmp_path: Path, archive: Archive) -> None:
    archive.cut_after, archive.cuts_left = {1: 1_000_000}, 2
    download_ham10000(tmp_path, archive.url)

    assert_complete(tmp_path, archive)
    assert [number for number, _ in archive.asked].count(1) == 3
    assert archive.asked[1][1] is not None
    assert archive.sent[1] == len(archive.contents[1])


def test_goes_on_in_the_next_call(tmp_path: Path, archive: Archive) -> None:
    archive.cut_after, archive.cuts_left = {1: 100_000}, download.ATTEMPTS
    with pytest.raises(DermaError, match="go on where it stopped, or download the files of"):
        download_ham10000(tmp_path, archive.url)
    assert len(archive.asked) == download.ATTEMPTS
    assert [path.name for path in tmp_path.iterdir()] == ["HAM10000_images_part_1.zip.part"]

    download_ham10000(tmp_path, archive.url)
    assert_complete(tmp_path, archive)
    assert archive.sent[1] == len(archive.contents[1])


def test_a_server_without_ranges_sends_everything_again(tmp_path: Path, archive: Archive) -> None:
    archive.ranges = False
    archive.cut_after, archive.cuts_left = {1: 100_000}, 1
    download_ham10000(tmp_path, archive.url)

    assert_complete(tmp_path, archive)


def test_a_part_of_another_file_is_not_kept(tmp_path: Path, archive: Archive) -> None:
    part = tmp_path / "HAM10000_images_part_2.zip.part"
    part.write_bytes(b"wrong" * 100)
    with pytest.raises(DermaError, match=r"part_2\.zip: the download's MD5 is .* download again"):
        download_ham10000(tmp_path, archive.url)
    assert not part.exists()

    part.write_bytes(b"too long" * 100_000)
    download_ham10000(tmp_path, archive.url)
    assert_complete(tmp_path, archive)


def test_a_damaged_download_is_refused(tmp_path: Path, archive: Archive) -> None:
    archive.damaged = {2}
    with pytest.raises(DermaError, match=r"part_2\.zip: the download's MD5 is"):
        download_ham10000(tmp_path, archive.url)
    assert [path.name for path in tmp_path.iterdir()] == ["HAM10000_images_part_1.zip"]


def test_a_wrong_file_in_place_is_replaced(tmp_path: Path, archive: Archive) -> None:
    (tmp_path / "HAM10000_metadata.csv").write_text("half")
    download_ham10000(tmp_path, archive.url)
    assert_complete(tmp_path, archive)


@pytest.mark.parametrize("status", [403, 404])
def test_a_refusal_is_not_tried_again(tmp_path: Path, archive: Archive, status: int) -> None:
    archive.status = {1: status}
    with pytest.raises(DermaError, match=rf"datafile/1: HTTP status {status}; .* by hand"):
        download_ham10000(tmp_path, archive.url)
    assert len(archive.asked) == 1


def test_a_broken_server_is_tried_a_few_times(tmp_path: Path, archive: Archive) -> None:
    archive.status = {1: 503}
    with pytest.raises(DermaError, match="HTTP status 503"):
        download_ham10000(tmp_path, archive.url)
    assert len(archive.asked) == download.ATTEMPTS


def test_an_archive_without_a_file_is_named(tmp_path: Path, archive: Archive) -> None:
    archive.hidden = {2}
    with pytest.raises(DermaError, match="lists no HAM10000_images_part_2; download it by hand"):
        download_ham10000(tmp_path, archive.url)


@pytest.mark.parametrize("listing", [b"<html>", b"[]", b'{"data": [{"label": "x"}]}'])
def test_an_answer_that_is_no_listing(tmp_path: Path, archive: Archive, listing: bytes) -> None:
    archive.listing = listing
    with pytest.raises(DermaError, match="the answer is no list of files"):
        download_ham10000(tmp_path, archive.url)


def test_no_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "FIRST_PAUSE_SECONDS", 0)
    server = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    url = f"http://127.0.0.1:{server.server_port}"
    server.server_close()
    with pytest.raises(DermaError, match=rf"{url}: can't be downloaded from .* with a browser"):
        download_ham10000(tmp_path, url)


def test_a_full_disk(tmp_path: Path, archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(DermaError, match=r"No space left on device.; free some space"):
        download_ham10000(tmp_path, archive.url)
