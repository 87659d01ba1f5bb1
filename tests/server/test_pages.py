"""The pages: nothing leaves the host or runs, the notice is there, colours have contrast."""

import re
from html.parser import HTMLParser
from urllib.parse import urljoin, urlparse

import pytest
from fastapi.testclient import TestClient

from doctor_derma.inference.prediction import NOTICE
from doctor_derma.server.access import SECURITY_HEADERS
from doctor_derma.server.app import create_app
from doctor_derma.server.routes.pages import STATIC, card_html
from server.page.contrast import contrast_ratio
from tiny_bundle import write_bundle

CARD = """---
license: other
---

# tiny

**Not a medical device.** <script>alert(1)</script> [a](javascript:alert(1)) [b](https://b.org)

| Class | Images |
| --- | ---: |
| `mel` | 10 |
"""
TEXT_PAIRS = [
    ("text", "page"),
    ("text", "card"),
    ("text", "track"),
    ("quiet", "page"),
    ("quiet", "card"),
    ("accent", "page"),
    ("accent", "card"),
    ("accent", "track"),
    ("notice-text", "notice"),
    ("error-text", "error"),
    ("error-text", "card"),
    ("card", "accent"),
]
GRAPHIC_PAIRS = [("control", "card"), ("control", "track"), ("accent", "track")]


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> TestClient:
    bundle = write_bundle(tmp_path_factory.mktemp("carded"))
    (bundle / "README.md").write_text("# tiny\n")  # The page links to the card.
    return TestClient(create_app(bundle))


class Page(HTMLParser):
    """The addresses, ids and labels in a page, and what its policy forbids."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.ids: list[str] = []
        self.targets: list[str] = []
        self.inline: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = dict(attributes)
        self.addresses += [str(given[name]) for name in ("href", "src") if name in given]
        self.ids += [str(given["id"])] if "id" in given else []
        self.targets += [str(given["for"])] if "for" in given else []
        if tag == "style" or "style" in given or (tag == "script" and "src" not in given):
            self.inline.append(tag)
        self.inline += [name for name in given if name.startswith("on")]


@pytest.mark.parametrize("path", ["/", "/docs", "/card", "/problems", "/problems/late"])
def test_a_page_needs_only_this_server(client: TestClient, path: str) -> None:
    response = client.get(path)
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/html")
    assert NOTICE in response.text or path.startswith("/problems")
    page = Page(response.text)
    assert page.inline == []
    assert page.addresses
    for address in page.addresses:
        url = urlparse(address)
        assert (url.scheme, url.netloc) == ("", "")
        if url.path:
            # A proxy may put the server under a path that it doesn't know.
            assert not url.path.startswith("/")
            assert client.get(urljoin(path, url.path)).status_code == 200, address
        else:
            assert url.fragment in page.ids
    assert set(page.targets) <= set(page.ids)
    assert len(set(page.ids)) == len(page.ids)


def test_scripts_find_what_they_ask_for_and_call_only_this_server(client: TestClient) -> None:
    page = Page(client.get("/").text)
    source = "".join(path.read_text() for path in STATIC.glob("*.js"))
    asked = re.findall(r'(?:byId|show)\("([\w-]+)"', source)
    assert set(asked) - set(page.ids) == set()
    # The name of SVG's elements, which is no address that anything asks for.
    source = source.replace('"http://www.w3.org/2000/svg"', "")
    assert "http:" not in source
    assert "https:" not in source
    for called in re.findall(r'from "\./([\w.]+)"', source):
        assert client.get(f"/static/{called}").status_code == 200


@pytest.mark.parametrize("path", ["/docs/", "/card/", "/v1/model/", "/static"])
def test_no_answer_redirects_to_an_absolute_address(client: TestClient, path: str) -> None:
    response = client.get(path, follow_redirects=False)
    assert response.status_code == 404
    assert "location" not in response.headers


@pytest.mark.parametrize("path", ["/", "/docs", "/healthz", "/static/app.js", "/nothing"])
def test_every_answer_carries_the_security_headers(client: TestClient, path: str) -> None:
    headers = client.get(path).headers
    for name, value in SECURITY_HEADERS.items():
        assert headers[name] == value
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy


def test_the_reference_tells_every_route_and_type(client: TestClient) -> None:
    openapi = client.get("/openapi.json").json()
    html = client.get("/docs").text
    assert set(openapi["paths"]) == {
        *("/v1/predict", "/v1/predict/batch", "/v1/model", "/v1/model/card"),
        *("/predict", "/model", "/healthz", "/readyz", "/metrics"),
    }
    for path in openapi["paths"]:
        assert path in html
    for name in openapi["components"]["schemas"]:
        assert f'id="{name}"' in html
    form = openapi["paths"]["/predict"]["post"]["requestBody"]["content"]
    assert list(form["multipart/form-data"]["schema"]["properties"]) == ["image"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_meet_wcag_aa(scheme: str) -> None:
    light, dark = re.findall(r":root \{(.*?)\}", (STATIC / "style.css").read_text(), re.DOTALL)
    colours = dict(re.findall(r"--([\w-]+): (#\w{6});", light if scheme == "light" else dark))
    for pairs, least in ((TEXT_PAIRS, 4.5), (GRAPHIC_PAIRS, 3.0)):
        for front, back in pairs:
            assert contrast_ratio(rgb(colours[front]), rgb(colours[back])) >= least, (front, back)


def rgb(colour: str) -> list[int]:
    return [int(colour[at : at + 2], 16) for at in (1, 3, 5)]


@pytest.fixture
def card() -> str:
    return card_html(CARD)


def test_a_page_of_the_card_without_its_head(card: str) -> None:
    assert card.startswith("<!doctype html>")
    assert "<title>Model card of tiny</title>" in card
    assert "<h1>tiny</h1>" in card
    assert "<strong>Not a medical device.</strong>" in card
    assert "license" not in card


def test_tables_scroll_and_set_numbers_right_without_a_style(card: str) -> None:
    assert '<div class="scroll" tabindex="0" role="region" aria-label="Table"><table>' in card
    assert "</table></div>" in card
    assert '<th class="number">Images</th>' in card
    assert '<td><code>mel</code></td>\n<td class="number">10</td>' in card
    assert "style=" not in card


def test_html_in_the_card_is_text(card: str) -> None:
    assert "<script" not in card
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in card
    assert re.findall(r'href="([^"]*)"', card.partition("<main>")[2]) == ["./", "https://b.org"]


def test_dashes_further_down_are_no_head() -> None:
    assert "kept" in card_html("# x\n\n---\nkept\n---\n")
    assert "<title>Model card</title>" in card_html("no heading")
