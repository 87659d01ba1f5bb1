"""A real Chromium before the real page of a real server with the tiny bundle."""

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    expect,
    sync_playwright,
)

from doctor_derma.server.app import create_app
from server.live import serving
from server.page.driving import Open
from tiny_bundle import BETWEEN, BLUE, GREEN, RED, write_bundle

NAMES = ("chromium", "google-chrome", "chromium-browser", "chrome")
ARGUMENTS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
VIOLATIONS = """document.addEventListener("securitypolicyviolation", (event) =>
    console.error(`policy: ${event.violatedDirective} ${event.blockedURI}`))"""
# The browser's own words for an answer that is an error, which some tests want.
REFUSED = "Failed to load resource"
MIXED = (200, 60, 20)
TIMEOUT_MS = 15_000


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker("browser")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One browser for all tests of a module; each has a fresh profile in it.

    Not one for all modules, as the event loop of Playwright runs until it is closed, and tests
    elsewhere want loops of their own.
    """
    program = os.environ.get("DERMA_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        pytest.fail(
            "The page is tested in a browser: install Chromium ('apt install chromium'), name "
            "one in DERMA_CHROMIUM, or leave these tests out with -m 'not browser'.",
            pytrace=False,
        )
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=list(ARGUMENTS))
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def carded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny bundle with a card, as every exported one has."""
    folder = write_bundle(tmp_path_factory.mktemp("carded"))
    (folder / "README.md").write_text("# tiny\n\nNot a medical device.\n")
    return folder


@pytest.fixture(scope="session")
def url(carded: Path) -> Iterator[str]:
    """The address of a server."""
    with serving(create_app(carded)) as address:
        yield address


@dataclass
class Watched:
    """What a page has asked for, and what it has complained about."""

    page: Page
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def listen(self) -> None:
        self.page.set_default_timeout(TIMEOUT_MS)
        expect.set_options(timeout=TIMEOUT_MS)
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("console", self._note)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.add_init_script(VIOLATIONS)

    def _note(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and not message.text.startswith(REFUSED):
            self.complaints.append(message.text)


@pytest.fixture
def open_page(browser: Browser, url: str) -> Iterator[Open]:
    """Return what opens the page; afterwards no request has left the host, and nothing broke."""
    opened: list[tuple[str, Watched]] = []
    contexts: list[BrowserContext] = []

    def open_one(address: str = url, **options: Any) -> Page:
        contexts.append(browser.new_context(**options))
        watched = Watched(contexts[-1].new_page())
        watched.listen()
        opened.append((address, watched))
        watched.page.goto(address)
        watched.page.locator("#model", has_text="trained on").wait_for()
        return watched.page

    yield open_one
    for context in contexts:
        context.close()
    for address, watched in opened:
        elsewhere = [
            asked
            for asked in watched.requests
            if not asked.startswith((f"{address.rstrip('/')}/", f"blob:{_origin(address)}/"))
        ]
        assert elsewhere == []
        assert watched.complaints == []


def _origin(address: str) -> str:
    return "/".join(address.split("/")[:3])


@pytest.fixture
def page(open_page: Open) -> Page:
    """The page, light and on a desktop."""
    return open_page()


@pytest.fixture
def between(tmp_path: Path) -> Path:
    """A picture whose balanced answer is not the most probable kind."""
    Image.new("RGB", (40, 30), BETWEEN).save(tmp_path / "between.png")
    return tmp_path / "between.png"


@pytest.fixture
def colours(tmp_path: Path) -> dict[str, Path]:
    """Pictures: red is the first class, green the second, blue the third, white unfamiliar."""
    named = {"red": RED, "green": GREEN, "blue": BLUE, "white": (255, 255, 255), "mixed": MIXED}
    files = {name: tmp_path / f"{name}.png" for name in named}
    for name, colour in named.items():
        Image.new("RGB", (40, 30), colour).save(files[name])
    files["text"] = tmp_path / "notes.txt"
    files["text"].write_text("no picture")
    return files
