"""What is written: a whole site that leads to no other host, the same each time."""

import hashlib
import json
import re
import shutil
from pathlib import Path
from urllib.parse import urljoin, urlparse

import pytest
import yaml
from fastapi.testclient import TestClient
from PIL import Image

from doctor_derma.errors import DermaError
from doctor_derma.inference.prediction import NOTICE
from doctor_derma.server.access import LOCAL_POLICY
from doctor_derma.server.app import create_app
from doctor_derma.server.routes.pages import STATIC
from doctor_derma.server.settings import Settings
from doctor_derma.web.site import RUNTIME_SCRIPT, RUNTIME_WASM, write_site
from server.test_pages import Page
from web.conftest import ROOT


@pytest.fixture(scope="module")
def some_runtime(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files of the right names; what is in them no test here runs."""
    folder = tmp_path_factory.mktemp("dist")
    for name in (RUNTIME_SCRIPT, RUNTIME_WASM):
        (folder / name).write_text(f"// {name}")
    return folder


@pytest.fixture(scope="module")
def site(carded: Path, some_runtime: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_site(tmp_path_factory.mktemp("sites") / "site", carded, some_runtime).folder


def files(site: Path) -> set[str]:
    return {path.relative_to(site).as_posix() for path in site.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", ["index.html", "card.html"])
def test_a_page_needs_only_the_site(site: Path, name: str) -> None:
    html = (site / name).read_text()
    assert NOTICE in html
    assert "connect-src 'self'" in html
    page = Page(html)
    assert page.inline == []
    there = files(site) | {"", "./"}
    for address in page.addresses:
        assert urlparse(address).netloc == ""
        assert urlparse(address).path in there, address
    assert "server" not in re.sub(r"<[^>]+>", "", html).lower()


def test_scripts_find_what_they_import(site: Path) -> None:
    # Of which nginx doesn't say that it is a script.
    assert [name for name in files(site) if name.endswith(".mjs")] == []
    for name in files(site):
        if name.endswith(".js"):
            for called in re.findall(r'from "(\.[\w./-]+)"', (site / name).read_text()):
                assert urljoin(name, called) in files(site), (name, called)


def test_both_engines_have_the_same_functions(site: Path) -> None:
    exported = re.compile(r"^export (?:async )?(?:function|const) (\w+)", re.MULTILINE)
    engines = [(folder / "engine.js").read_text() for folder in (STATIC, site / "static")]
    assert engines[0] != engines[1]
    server, local = (set(exported.findall(text)) for text in engines)
    assert server == local == {"activity", "ask", "describe", "UNREACHABLE"}


def test_all_of_it_is_kept_for_later(site: Path) -> None:
    kept = re.search(r"const FILES = (\[.*?\]);", (site / "service-worker.js").read_text(), re.S)
    assert kept
    assert set(json.loads(kept[1])) == files(site) - {"service-worker.js"} | {"./"}


def test_the_manifest_has_icons_of_the_sizes_it_tells(site: Path) -> None:
    manifest = json.loads((site / "manifest.webmanifest").read_text())
    assert "not a medical device" in manifest["description"]
    for icon in manifest["icons"]:
        with Image.open(site / icon["src"]) as drawn:
            assert "{}x{}".format(*drawn.size) == icon["sizes"]
            pixels = drawn.convert("RGB")
        assert pixels.getpixel((pixels.width // 2, pixels.height // 2)) == (255, 255, 255)
        assert pixels.getpixel((0, 0)) == (11, 110, 110)


def test_the_same_bundle_makes_the_same_site(
    site: Path, carded: Path, some_runtime: Path, tmp_path: Path
) -> None:
    again = write_site(tmp_path / "again", carded, some_runtime)

    def digests(folder: Path) -> dict[str, str]:
        names = sorted(files(folder))
        return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names}

    assert digests(again.folder) == digests(site)
    assert again.files == len(files(site))
    changed = shutil.copytree(carded, tmp_path / "changed")
    (changed / "README.md").write_text("# tiny\n\nNot a medical device, still.\n")
    other = write_site(tmp_path / "again", changed, some_runtime)
    assert digests(other.folder)["service-worker.js"] != digests(site)["service-worker.js"]


def test_a_runtime_that_is_missing_is_named(carded: Path, tmp_path: Path) -> None:
    with pytest.raises(DermaError, match="onnxruntime-web is missing; 'make web' installs it"):
        write_site(tmp_path / "site", carded, tmp_path)
    assert not (tmp_path / "site").exists()


def test_other_files_are_not_replaced(carded: Path, some_runtime: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(DermaError, match="holds other files"):
        write_site(tmp_path, carded, some_runtime)


def test_the_server_offers_it_where_it_is_told_to(carded: Path, site: Path) -> None:
    assert TestClient(create_app(carded)).get("/local/").status_code == 404
    client = TestClient(create_app(carded, Settings(local_site=site)))
    page = client.get("/local/")
    assert page.status_code == 200
    assert page.headers["Content-Security-Policy"] == LOCAL_POLICY
    assert "'wasm-unsafe-eval'" in LOCAL_POLICY
    assert client.get("/local/local/worker.js").status_code == 200
    assert "wasm" not in client.get("/").headers["Content-Security-Policy"]
    assert client.get("/local/no-such-file").status_code == 404


def test_only_what_ci_has_passed_is_published() -> None:
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "docs.yml").read_text())
    # YAML reads the key 'on' as true.
    assert set(workflow[True]) == {"workflow_run", "workflow_dispatch"}
    assert workflow[True]["workflow_run"]["workflows"] == ["CI"]
    [job] = workflow["jobs"].values()
    assert "workflow_run.conclusion == 'success'" in job["if"]
    assert "workflow_run.head_sha" in job["steps"][0]["with"]["ref"]


def test_a_folder_that_is_no_site_is_told_at_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DERMA_LOCAL_SITE", str(tmp_path))
    with pytest.raises(DermaError, match=r"DERMA_LOCAL_SITE: .*no index.html.*derma web"):
        Settings.from_environment()
