"""The card as a page: tables that scroll, and nothing that runs or loads from elsewhere."""

import re

import pytest

from doctor_derma.server.routes.pages import card_html

CARD = """---
license: other
---

# tiny

**Not a medical device.** <script>alert(1)</script> [a](javascript:alert(1)) [b](https://b.org)

| Class | Images |
| --- | ---: |
| `mel` | 10 |
"""


@pytest.fixture
def page() -> str:
    return card_html(CARD)


def test_a_page_of_the_card_without_its_head(page: str) -> None:
    assert page.startswith("<!doctype html>")
    assert "<title>Model card of tiny</title>" in page
    assert "<h1>tiny</h1>" in page
    assert "<strong>Not a medical device.</strong>" in page
    assert "license" not in page


def test_tables_scroll_and_set_numbers_right_without_a_style(page: str) -> None:
    assert '<div class="scroll" tabindex="0" role="region" aria-label="Table"><table>' in page
    assert "</table></div>" in page
    assert '<th class="number">Images</th>' in page
    assert '<td><code>mel</code></td>\n<td class="number">10</td>' in page
    assert "style=" not in page


def test_html_in_the_card_is_text(page: str) -> None:
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert re.findall(r'href="([^"]*)"', page.partition("<main>")[2]) == ["./", "https://b.org"]


def test_dashes_further_down_are_no_head() -> None:
    assert "kept" in card_html("# x\n\n---\nkept\n---\n")
    assert "<title>Model card</title>" in card_html("no heading")
