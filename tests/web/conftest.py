"""The browser edition, written from onnxruntime-web's files and tried in Chromium."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page

from server.page.conftest import browser as browser
from tiny_bundle import ALL_RULES, PATIENT, write_bundle

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))
from browser import hosting  # noqa: E402

RUNTIME = ROOT / "deployment" / "web" / "node_modules" / "onnxruntime-web" / "dist"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents and "runtime" in getattr(item, "fixturenames", ()):
            item.add_marker("browser")


@pytest.fixture(scope="session")
def runtime() -> Path:
    """The folder with onnxruntime-web."""
    if not RUNTIME.is_dir():
        pytest.fail(
            "The browser edition is tested with onnxruntime-web: 'npm ci' in deployment/web "
            "installs it (Node.js), or leave these tests out with -m 'not browser'.",
            pytrace=False,
        )
    return RUNTIME


@pytest.fixture(scope="session")
def carded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny bundle with all rules and a card."""
    folder = write_bundle(tmp_path_factory.mktemp("carded"), decision=ALL_RULES, patient=PATIENT)
    (folder / "README.md").write_text("# tiny\n\nNot a medical device.\n")
    return folder


@pytest.fixture(scope="session")
def tiny_site(runtime: Path, carded: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site of the tiny bundle."""
    from doctor_derma.web.site import write_site

    return write_site(tmp_path_factory.mktemp("web") / "tiny", carded, runtime).folder


@pytest.fixture(scope="module")
def address(tiny_site: Path) -> Iterator[str]:
    """Where the site of the tiny bundle is hosted."""
    with hosting(tiny_site) as found:
        yield found


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    """A profile of its own, without caches."""
    fresh = browser.new_context()
    yield fresh
    fresh.close()


@pytest.fixture
def complaints() -> list[str]:
    """What a page complains of, filled while it is open."""
    return []


@pytest.fixture
def page(context: BrowserContext, address: str, complaints: list[str]) -> Iterator[Page]:
    """The page of the tiny bundle, loaded; afterwards it has complained of nothing."""
    page = context.new_page()
    page.set_default_timeout(60_000)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on(
        "console",
        lambda told: complaints.append(told.text) if told.type in ("error", "warning") else None,
    )
    page.goto(address)
    page.locator("#model", has_text="trained on").wait_for()
    yield page
    assert complaints == []
