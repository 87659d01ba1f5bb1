"""The decision rule is chosen on the page, and every answer says which rule gave it."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Locator, Page, expect

from doctor_derma.decisions import MEANINGS, RULES
from doctor_derma.server.app import create_app
from server.live import serving
from server.page.driving import Open, choose, thumbnail
from tiny_bundle import ALL_RULES, RED, write_bundle


@pytest.fixture(scope="module")
def ruled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server whose model has every rule, the balanced one by default."""
    bundle = write_bundle(tmp_path_factory.mktemp("ruled"), decision=ALL_RULES)
    with serving(create_app(bundle)) as address:
        yield address


@pytest.fixture
def page(open_page: Open, ruled: str) -> Page:
    return open_page(ruled)


def rule_choice(page: Page, title: str) -> Locator:
    return page.get_by_role("radio", name=re.compile(f"^{title}"))


def take_rule(page: Page, title: str) -> None:
    if not page.locator("#rule").evaluate("element => element.open"):
        page.locator("#rule summary").click()
    rule_choice(page, title).check()


def test_the_control_explains_every_rule_that_the_model_has(page: Page) -> None:
    expect(page.locator("#rule-name")).to_have_text("Balanced")
    expect(page.locator("#rules")).to_be_hidden()
    page.locator("#rule summary").click()
    choices = page.locator(".rule-choice").all_inner_texts()
    titles = ("Balanced", "Most probable", "Melanoma first", "Costs", "Operating point")
    for said, title, rule in zip(choices, titles, RULES, strict=True):
        assert said.startswith(f"{title}. {MEANINGS[rule]}")
    assert "found 80% of 20 melanomas (95% interval 70% to 90%)" in choices[2]
    expect(rule_choice(page, "Balanced")).to_be_checked()


def test_another_rule_asks_again_and_changes_the_answer_and_its_map(
    page: Page, between: Path, tmp_path: Path
) -> None:
    Image.new("RGB", (40, 30), RED).save(tmp_path / "red.png")
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    choose(page, between, tmp_path / "red.png")
    certainty = page.locator("#certainty")
    expect(certainty).to_contain_text("Its rule calls Melanoma, though Melanocytic nevus is more")
    expect(page.locator("#evidence-label")).to_have_text("Melanoma")
    expect(page.locator(".bars .called .name")).to_have_text("Melanoma possible by the rule")
    expect(page.locator("#progress")).to_have_text("2 of 2 answered")
    assert not any("rule=" in url for url in asked)

    take_rule(page, "Most probable")
    expect(certainty).to_contain_text("Melanocytic nevus is the most probable, but it can")
    expect(page.locator("#rule-name")).to_have_text("Most probable")
    expect(page.locator("#evidence-label")).to_have_text("Melanocytic nevus")
    expect(page.locator(".bars .called .name")).to_have_text("Melanocytic nevus possible")
    expect(thumbnail(page, "red.png")).to_contain_text("91 % Melanoma")
    expect(page.locator("#progress")).to_have_text("2 of 2 answered")
    again = [url for url in asked if url.endswith("activation_map=grid&rule=most-probable")]
    assert len(again) == 2

    take_rule(page, "Costs")
    expect(page.locator("#evidence-label")).to_have_text("Vascular lesion")
    # The costs call what alone the model would rule out: not sure.
    expect(thumbnail(page, "red.png")).to_contain_text("Not sure")


def test_the_choice_is_reached_and_made_by_keyboard(page: Page, between: Path) -> None:
    choose(page, between)
    expect(page.locator("#evidence-label")).to_have_text("Melanoma")
    page.locator("#rule summary").focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowDown")
    expect(page.locator("#evidence-label")).to_have_text("Melanocytic nevus")
    expect(rule_choice(page, "Most probable")).to_be_focused()


def test_the_report_says_which_rule_it_was(page: Page, between: Path) -> None:
    choose(page, between)
    expect(page.locator("#answer")).to_be_visible()
    report = page.locator("#report")
    assert f"Balanced. {MEANINGS['balanced']}" in report.text_content()
    take_rule(page, "Most probable")
    expect(page.locator("#evidence-label")).to_have_text("Melanocytic nevus")
    assert f"Most probable. {MEANINGS['most-probable']}" in report.text_content()


@pytest.mark.parametrize("width", [320, 360, 768])
def test_the_open_control_fits_a_narrow_screen(
    open_page: Open, ruled: str, between: Path, width: int
) -> None:
    page = open_page(ruled, viewport={"width": width, "height": 740})
    choose(page, between)
    expect(page.locator("#answer")).to_be_visible()
    page.locator("#rule summary").click()
    overflow = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert page.evaluate(overflow) <= 0
