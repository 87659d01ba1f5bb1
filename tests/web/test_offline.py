"""Nothing leaves the device, and after the first visit nothing has to come."""

import json
import shutil
import threading
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import BrowserContext, Page, expect

from browser import Quiet, ask, hosting
from doctor_derma.server.app import create_app
from doctor_derma.server.settings import Settings
from server.live import serving
from server.page.driving import choose, expect_answer
from tiny_bundle import BLUE, GREEN, RED

NEWER_ALONE = """async () => {
    const others = (keys) => keys.length !== 1 || !keys[0].includes("newer-");
    while (others(await caches.keys())) await new Promise((again) => setTimeout(again, 50));
}"""

KEPT = """async () => {
    const { active } = await navigator.serviceWorker.ready;
    while (active.state !== "activated") await new Promise((again) => setTimeout(again, 50));
    return caches.keys();
}"""


class WithoutHtml(Quiet):
    """A host that sends on from card.html to card, as some do."""

    def do_GET(self) -> None:  # noqa: N802
        if self.path.endswith(".html"):
            self.send_response(308)
            self.send_header("Location", self.path.removesuffix("index.html").removesuffix(".html"))
            self.end_headers()
            return
        if self.path.endswith("/card"):
            self.path += ".html"
        super().do_GET()


def picture(folder: Path, colour: tuple[int, int, int]) -> Path:
    path = folder / f"{'-'.join(map(str, colour))}.png"
    Image.new("RGB", (40, 30), colour).save(path)
    return path


def test_pictures_go_nowhere(page: Page, address: str, tmp_path: Path) -> None:
    expect(page.locator("#offline")).to_be_visible()
    asked = []
    page.context.on("request", lambda request: asked.append((request.method, request.url)))
    choose(page, picture(tmp_path, BLUE))
    expect_answer(page, "Vascular lesion")
    assert [url for _, url in asked if not url.startswith("blob:")] == []
    assert "not a medical device" in page.locator(".notice").inner_text()
    assert page.locator("#overlay").is_visible()


def test_the_policy_of_the_page_lets_no_script_ask_elsewhere(
    context: BrowserContext, address: str
) -> None:
    page = context.new_page()
    page.goto(address)
    ask_elsewhere = "fetch('http://127.0.0.1:9/').then(() => 'sent', () => 'refused')"
    with page.expect_event("console", lambda told: "Content Security Policy" in told.text):
        assert page.evaluate(ask_elsewhere) == "refused"


def test_the_policy_of_the_page_binds_its_worker(
    context: BrowserContext, address: str, tmp_path: Path
) -> None:
    page = context.new_page()
    page.set_default_timeout(60_000)
    page.goto(address)
    page.locator("#model", has_text="trained on").wait_for()
    [worker] = page.workers
    ask_elsewhere = "(url) => fetch(url, { mode: 'no-cors' }).then(() => 'sent', () => 'refused')"
    # Somebody answers there.
    with hosting(tmp_path) as elsewhere:
        assert worker.evaluate(ask_elsewhere, elsewhere) == "refused"


def test_the_page_says_that_the_model_is_loading(
    context: BrowserContext, tiny_site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    come = threading.Event()

    class Slow(Quiet):
        def do_GET(self) -> None:  # noqa: N802
            if self.path.endswith("model.onnx.gz"):
                come.wait(30)
            super().do_GET()

    monkeypatch.setattr("browser.Quiet", Slow)
    page = context.new_page()
    with hosting(tiny_site) as address:
        page.goto(address)
        choose(page, picture(tmp_path, RED))
        expect(page.locator("#busy")).to_have_text("Loading the model…")
        come.set()
        expect(page.locator("#label")).to_have_text("Melanoma", timeout=60_000)


def test_files_of_two_versions_give_no_answer(
    context: BrowserContext, tiny_site: Path, tmp_path: Path
) -> None:
    site = shutil.copytree(tiny_site, tmp_path / "site")
    info = json.loads((site / "model" / "model.json").read_text())
    info["weights"]["sha256"] = "0" * 64
    (site / "model" / "model.json").write_text(json.dumps(info))
    page = context.new_page()
    with hosting(site) as address:
        page.goto(address)
        choose(page, picture(tmp_path, RED))
        expect(page.locator("#error-detail")).to_have_text(
            "Load the page again (its files are of two versions).", timeout=60_000
        )


def visited(context: BrowserContext, site: Path) -> Page:
    """Open a site until it is kept; nobody answers at its address any more."""
    page = context.new_page()
    page.set_default_timeout(60_000)
    with hosting(site) as address:
        page.goto(address)
        page.locator("#offline").wait_for()
    context.set_offline(True)
    return page


def test_after_the_first_visit_no_host_is_needed(
    context: BrowserContext, tiny_site: Path, tmp_path: Path
) -> None:
    page = visited(context, tiny_site)
    page.reload()
    choose(page, picture(tmp_path, RED))
    expect(page.locator("#label")).to_have_text("Melanoma", timeout=60_000)
    page.locator(".links a", has_text="Model card").click()
    expect(page.locator("h1")).to_have_text("tiny")
    page.locator("a", has_text="Upload page").click()
    choose(page, picture(tmp_path, GREEN))
    expect(page.locator("#label")).to_have_text("Melanocytic nevus", timeout=60_000)


def test_a_host_that_redirects_is_not_needed_either(
    context: BrowserContext, tiny_site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("browser.Quiet", WithoutHtml)
    page = visited(context, tiny_site)
    page.locator(".links a", has_text="Model card").click()
    expect(page.locator("h1")).to_have_text("tiny")


def test_another_site_of_the_host_stays_kept(
    context: BrowserContext, tiny_site: Path, tmp_path: Path
) -> None:
    site = shutil.copytree(tiny_site, tmp_path / "site")
    shutil.copytree(tiny_site, site / "int8")
    page = context.new_page()
    page.set_default_timeout(60_000)
    with hosting(site) as address:
        for path in ("int8/", ""):
            page.goto(f"{address}{path}")
            page.locator("#offline").wait_for()
            kept = page.evaluate(KEPT)
    assert len(kept) == 2


def test_browsers_offer_to_install_it(page: Page) -> None:
    page.locator("#offline").wait_for()
    session = page.context.new_cdp_session(page)
    errors = session.send("Page.getInstallabilityErrors")["installabilityErrors"]
    # The profile of a test is a private one, where browsers install nothing.
    assert [error["errorId"] for error in errors] == ["in-incognito"]
    manifest = session.send("Page.getAppManifest")
    assert manifest["errors"] == []


def test_a_newer_site_takes_the_place_of_the_kept_one(
    context: BrowserContext, tiny_site: Path, tmp_path: Path
) -> None:
    site = tmp_path / "site"
    shutil.copytree(tiny_site, site)
    page = context.new_page()
    page.set_default_timeout(60_000)
    with hosting(site) as address:
        page.goto(address)
        page.locator("#offline").wait_for()
        card = site / "card.html"
        card.write_text(card.read_text().replace("<h1>tiny", "<h1>newer"))
        worker = site / "service-worker.js"
        worker.write_text(worker.read_text().replace('VERSION = "', 'VERSION = "newer-'))
        page.evaluate("navigator.serviceWorker.getRegistration().then((found) => found.update())")
        page.evaluate(NEWER_ALONE)
        expect(page.locator("#note")).to_have_text("A newer version is available: reload the page.")
        page.goto(f"{address}card.html")
        expect(page.locator("h1")).to_have_text("newer")


def test_a_removed_picture_leaves_the_engine_free(page: Page, tmp_path: Path) -> None:
    paths = [picture(tmp_path, (shade, 0, 0)) for shade in range(200, 212)]
    choose(page, *paths)
    page.get_by_role("button", name="Remove all").click()
    choose(page, picture(tmp_path, BLUE))
    expect_answer(page, "Vascular lesion")
    assert ask(page, "again", picture(tmp_path, RED).read_bytes())["answer"]["label"] == "mel"


def test_under_a_server_it_asks_the_server_nothing(
    context: BrowserContext, carded: Path, tiny_site: Path, tmp_path: Path
) -> None:
    page = context.new_page()
    page.set_default_timeout(60_000)
    complaints: list[str] = []
    page.on("console", lambda told: complaints.append(told.text) if told.type == "error" else None)
    with serving(create_app(carded, Settings(local_site=tiny_site))) as address:
        page.goto(f"{address}/local/")
        page.locator("#offline").wait_for()
        asked: list[str] = []
        context.on("request", lambda request: asked.append(request.url))
        choose(page, picture(tmp_path, GREEN))
        expect(page.locator("#label")).to_have_text("Melanocytic nevus", timeout=60_000)
        assert [url for url in asked if not url.startswith("blob:")] == []
    assert complaints == []
