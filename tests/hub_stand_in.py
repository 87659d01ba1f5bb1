"""A small hub on loopback: the part of the Hugging Face Hub's HTTP API that pushes and fetches use.

Repositories are commits of whole files. Large files (.onnx, .jpg, .png) come by Git LFS, the others
in the commit, as on the hub.
"""

import base64
import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import unquote

import yaml

LARGE = (".onnx", ".jpg", ".png")
TOKEN = "hf_standin0123456789"
_REPOSITORY = r"(?P<kind>datasets/|spaces/)?(?P<name>[\w.-]+/[\w.-]+)"
_API = r"/api/(?P<kind>model|dataset|space)s/(?P<name>[\w.-]+/[\w.-]+)"


@dataclass
class Repo:
    """Commits, each with all its files, the newest last."""

    private: bool = False
    sdk: str | None = None
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)

    @property
    def files(self) -> dict[str, bytes]:
        return [*self.commits.values()][-1] if self.commits else {}

    def at(self, revision: str) -> tuple[str, dict[str, bytes]] | None:
        if revision == "main" and self.commits:
            revision = [*self.commits][-1]
        return (revision, self.commits[revision]) if revision in self.commits else None

    def commit(self, added: dict[str, bytes], message: str) -> str:
        files = self.files | added
        text = repr([len(self.commits), sorted(files.items())])
        oid = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
        self.commits[oid] = files
        self.messages.append(message)
        return oid


@dataclass
class Hub:
    """What the hub holds, and what it was asked: method and path, without the token."""

    address: str = ""
    repos: dict[tuple[str, str], Repo] = field(default_factory=dict)
    large: dict[str, bytes] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)


@contextmanager
def running_hub() -> Iterator[Hub]:
    """Serve a hub until the block ends."""
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(hub))
    hub.address = f"http://127.0.0.1:{server.server_port}"
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()


def _handler(hub: Hub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *arguments: object) -> None:
            pass

        def do_HEAD(self) -> None:
            self._resolve()

        def do_GET(self) -> None:
            if self.path == "/api/whoami-v2":
                self._note()
                known = self._known()
                self._answer(
                    200 if known else 401, {"name": "ada", "type": "user"} if known else {}
                )
            else:
                self._resolve()

        def do_PUT(self) -> None:
            self._note()
            content = self._body()
            oid = self.path.removeprefix("/lfs/")
            if hashlib.sha256(content).hexdigest() != oid:
                self._answer(400, {"error": "other bytes"})
                return
            hub.large[oid] = content
            self._answer(200, {})

        def do_POST(self) -> None:
            self._note()
            body = self._body()
            if not self._known():
                self._answer(401, {"error": "Invalid credentials in Authorization header"})
            elif self.path == "/api/repos/create":
                self._create(json.loads(body))
            elif self.path == "/api/validate-yaml":
                self._validate(json.loads(body)["content"])
            elif found := re.fullmatch(f"/{_REPOSITORY}.git/info/lfs/objects/batch", self.path):
                self._batch(json.loads(body))
            elif found := re.fullmatch(f"{_API}/(?P<what>preupload|commit)/.+", self.path):
                repo = hub.repos.get((found["kind"], found["name"]))
                if repo is None:
                    self._answer(404, {"error": "none"}, {"X-Error-Code": "RepoNotFound"})
                elif found["what"] == "preupload":
                    self._modes(json.loads(body))
                else:
                    self._commit(repo, found["name"], [*map(json.loads, body.splitlines())])
            else:
                self._answer(404, {"error": f"no {self.path}"})

        def _create(self, asked: dict[str, Any]) -> None:
            name = f"{asked['organization'] or 'ada'}/{asked['name']}"
            kind = asked.get("type") or "model"
            url = f"{hub.address}/{'' if kind == 'model' else kind + 's/'}{name}"
            if (kind, name) in hub.repos:
                self._answer(409, {"error": "You already created this repo", "url": url})
                return
            private = asked.get("visibility") == "private" or asked.get("private") is True
            hub.repos[kind, name] = Repo(private, asked.get("sdk"))
            self._answer(200, {"url": url, "name": name, "id": name})

        def _validate(self, content: str) -> None:
            try:
                yaml.safe_load(content.split("---\n", 2)[1])
            except (IndexError, yaml.YAMLError) as error:
                self._answer(400, {"errors": [{"message": str(error)}], "warnings": []})
            else:
                self._answer(200, {"errors": [], "warnings": []})

        def _modes(self, asked: dict[str, Any]) -> None:
            files = [
                {
                    "path": file["path"],
                    "uploadMode": "lfs" if file["path"].endswith(LARGE) else "regular",
                    "shouldIgnore": False,
                }
                for file in asked["files"]
            ]
            self._answer(200, {"files": files})

        def _batch(self, asked: dict[str, Any]) -> None:
            objects = [
                {
                    **file,
                    "actions": {
                        "upload": {"href": f"{hub.address}/lfs/{file['oid']}", "header": {}}
                    },
                }
                for file in asked["objects"]
            ]
            self._answer(200, {"transfer": "basic", "objects": objects})

        def _commit(self, repo: Repo, name: str, lines: list[dict[str, Any]]) -> None:
            added = {}
            for line in lines:
                value = line["value"]
                if line["key"] == "file":
                    added[value["path"]] = base64.b64decode(value["content"])
                elif line["key"] == "lfsFile":
                    added[value["path"]] = hub.large[value["oid"]]
            oid = repo.commit(added, lines[0]["value"]["summary"])
            url = f"{hub.address}/{name}/commit/{oid}"
            self._answer(200, {"success": True, "commitOid": oid, "commitUrl": url})

        def _resolve(self) -> None:
            self._note()
            found = re.fullmatch(f"/{_REPOSITORY}/resolve/(?P<at>[^/]+)/(?P<file>.+)", self.path)
            kind = (found["kind"] or "models/").removesuffix("s/") if found else ""
            repo = hub.repos.get((kind, found["name"])) if found else None
            if found is None or repo is None or (repo.private and not self._known()):
                # Of a private repository nobody else is told that it is there.
                self._answer(401, {"error": "none"}, {"X-Error-Code": "RepoNotFound"})
                return
            commit = repo.at(unquote(found["at"]))
            if commit is None:
                self._answer(404, {"error": "none"}, {"X-Error-Code": "RevisionNotFound"})
                return
            oid, files = commit
            headers = {"X-Repo-Commit": oid}
            content = files.get(unquote(found["file"]))
            if content is None:
                self._answer(404, {"error": "none"}, headers | {"X-Error-Code": "EntryNotFound"})
                return
            etag = hashlib.sha256(content).hexdigest()
            self._send(200, content, headers | {"ETag": f'"{etag}"'})

        def _known(self) -> bool:
            return self.headers.get("Authorization") == f"Bearer {TOKEN}"

        def _note(self) -> None:
            hub.asked.append((self.command, self.path))

        def _body(self) -> bytes:
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))

        def _answer(
            self, status: int, content: dict[str, Any], headers: dict[str, str] | None = None
        ) -> None:
            self._send(status, json.dumps(content).encode(), headers or {})

        def _send(self, status: int, content: bytes, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(content))}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

    return Handler
