"""The page where a proxy puts it, as JupyterHub and nginx do: under a path."""

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urljoin

import httpx
import pytest
from playwright.sync_api import Page, expect

from doctor_derma.client import Client, ProblemError
from server.page.driving import Open, choose, expect_answer
from server.page.prefix_proxy import under_path

PREFIXES = ("/derma", "/user/a%20person/proxy/5555")


@pytest.fixture(scope="module", params=PREFIXES)
def address(request: pytest.FixtureRequest, url: str) -> Iterator[str]:
    with under_path(url, request.param) as address:
        yield address


@pytest.fixture
def page(open_page: Open, address: str) -> Page:
    """The page, which has asked for nothing outside the path."""
    # The fixture's own end looks at every address that was asked for.
    return open_page(address)


def test_pictures_are_answered_and_reports_saved(page: Page, colours: dict[str, Path]) -> None:
    choose(page, colours["blue"], colours["text"])
    expect_answer(page, "Vascular lesion")
    choose(page, colours["text"])
    expect(page.locator("#error")).to_be_visible()
    styled = "getComputedStyle(document.querySelector('main')).maxWidth"
    assert page.evaluate(styled) != "none"


@pytest.mark.parametrize(
    ("link", "heading"), [("Model card", "tiny"), ("API reference", "Doctor Derma API")]
)
def test_links_lead_there_and_back(page: Page, link: str, heading: str) -> None:
    page.locator(".links a", has_text=link).click()
    expect(page.locator("h1")).to_have_text(heading)
    page.wait_for_load_state("load")
    sheets = "[...document.styleSheets].map((sheet) => sheet.cssRules.length > 0)"
    assert set(page.evaluate(sheets)) == {True}
    page.locator("a", has_text="Upload page").click()
    expect(page.locator("#model")).to_contain_text("trained on")


def test_problems_are_explained_where_their_type_says(page: Page, address: str) -> None:
    for path in ("v1/predict", "v1/predict/batch", "predict", "no/such/address/at/all"):
        asked = urljoin(address, path)
        problem = httpx.get(asked, trust_env=False).json()
        explained = urljoin(asked, problem["type"])
        assert explained.startswith(f"{address}problems/")
        page.goto(explained)
        expect(page.locator("h1")).to_have_text(problem["title"])
        page.locator("a", has_text="API reference").click()
        expect(page.locator("h1")).to_have_text("Doctor Derma API")
    page.goto(urljoin(address, "problems"))
    page.locator("a", has_text="Not found").or_(page.locator("li a")).first.click()
    expect(page.locator("h1")).to_be_visible()


def test_the_document_of_the_api_says_where_the_server_is(address: str) -> None:
    document = httpx.get(urljoin(address, "openapi.json"), trust_env=False).json()
    [server] = document["servers"]
    assert urljoin(f"{address}openapi.json", server["url"]) == address


def test_the_client_finds_it_there(address: str, colours: dict[str, Path]) -> None:
    with Client(address) as client:
        assert client.model().name == "tiny"
        assert client.predict(colours["blue"]).label == "vasc"
        with pytest.raises(ProblemError) as caught:
            client.predict(colours["text"])
    assert caught.value.type == "/problems/wrong-type"
