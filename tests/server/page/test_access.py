"""Everyone can use the page: by keyboard, by ear, in the dark, and without seeing colours."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from server.page.contrast import contrast_ratio, luminance
from server.page.driving import Open, choose, expect_answer, thumbnail

# Each text on the screen, its colour and the colours it may lie on, the nearest first.
TEXTS = """() => [...document.querySelectorAll("body *")].filter((element) =>
    element.checkVisibility({ visibilityProperty: true }) && !element.closest(".visually-hidden") &&
    [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim())
).map((element) => {
    const backs = [];
    for (let at = element; at; at = at.parentElement) {
        backs.push(getComputedStyle(at).backgroundColor);
    }
    return [element.textContent.trim().slice(0, 40), getComputedStyle(element).color, backs];
})"""
CONTROLS = "a[href], button, input, summary"
# WCAG 2.2, 2.5.8: links within sentences are excepted.
SMALL = """() => [...document.querySelectorAll("button, summary, .links a, #strength, .choice")]
    .filter((element) => element.checkVisibility())
    .map((element) => [element.textContent, element.getBoundingClientRect()])
    .filter(([, box]) => box.width < 24 || box.height < 24)
    .map(([text]) => text)"""
LEAST_CONTRAST = 4.5


@pytest.fixture(params=["answered", "failed", "key"])
def state(request: pytest.FixtureRequest) -> str:
    return request.param


def bring_about(page: Page, state: str, colours: dict[str, Path]) -> None:
    """Show as much as possible of the page in a state."""
    if state == "key":
        page.route("**/v1/predict**", lambda route: route.fulfill(status=401))
    first = colours["text" if state == "failed" else "white"]
    choose(page, first, colours["text"], colours["red"])
    page.locator("#answer" if state == "answered" else "#error").wait_for()
    if state == "answered":
        for summary in page.locator("summary:visible").all():
            summary.click()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_texts_have_contrast_and_controls_names_and_size(
    open_page: Open, colours: dict[str, Path], scheme: str, state: str
) -> None:
    page = open_page(color_scheme=scheme)
    bring_about(page, state, colours)
    texts = page.evaluate(TEXTS)
    assert len(texts) > 10
    for text, front, backs in texts:
        assert contrast(front, backs) >= LEAST_CONTRAST, (text, front, backs)
    dark = luminance(rgba(page.evaluate("getComputedStyle(document.body).backgroundColor"))) < 0.1
    assert dark == (scheme == "dark")
    for control in page.locator(CONTROLS).all():
        if control.is_visible():
            assert accessible_name(control), control.evaluate("element => element.outerHTML")
    assert page.evaluate(SMALL) == []


def accessible_name(control: Locator) -> str:
    """Return the name that the browser tells screen readers, without the role."""
    snapshot = control.aria_snapshot()
    found = re.search(r'"(.+)"|: (.+)', snapshot)
    return found[0] if found else ""


def contrast(front: str, backs: list[str]) -> float:
    """Return the WCAG contrast of a text with the nearest opaque colour behind it."""
    back = next(colour for colour in map(rgba, backs) if colour[3] == 1)
    return contrast_ratio(rgba(front), back)


def rgba(colour: str) -> tuple[float, ...]:
    numbers = [float(number) for number in re.findall(r"[\d.]+", colour)]
    return (*numbers, 1.0) if len(numbers) == 3 else tuple(numbers)


def test_contrast_is_that_of_wcag() -> None:
    assert contrast("rgb(0, 0, 0)", ["rgba(0, 0, 0, 0)", "rgb(255, 255, 255)"]) == 21
    assert contrast("rgb(119, 119, 119)", ["rgb(255, 255, 255)"]) == pytest.approx(4.48, abs=0.01)


def test_the_keyboard_is_enough(page: Page, colours: dict[str, Path]) -> None:
    # From here on Chromium hands choosers over; asked for with the key, it may hear of it too late.
    page.on("filechooser", lambda _: None)
    page.keyboard.press("Tab")
    expect(page.get_by_label("Choose pictures")).to_be_focused()
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Space")
    chooser.value.set_files([colours["red"], colours["green"]])
    expect_answer(page, "Melanoma")
    expect(page.locator("#progress")).to_have_text("2 of 2 answered")
    tab_to(page, ".thumbnail:not([aria-current])")
    page.keyboard.press("Enter")
    expect_answer(page, "Melanocytic nevus")
    tab_to(page, "#strength")
    page.keyboard.press("End")
    expect(page.locator("#overlay")).to_have_css("opacity", "1")
    tab_to(page, ".bar summary")
    page.keyboard.press("Enter")
    expect(page.locator(".meaning").first).to_be_visible()
    tab_to(page, "#save")
    with page.expect_download():
        page.keyboard.press("Enter")
    page.keyboard.press("Shift+Tab")
    expect(page.locator("#print")).to_be_focused()
    while not page.evaluate("document.activeElement.matches('.remove')"):
        page.keyboard.press("Shift+Tab")
    page.keyboard.press("Enter")
    expect(thumbnail(page, "green.png")).to_have_count(0)


def tab_to(page: Page, selector: str) -> None:
    """Press Tab until an element has the focus, and see that each stop can be seen."""
    for _ in range(20):
        page.keyboard.press("Tab")
        focused = page.evaluate(
            "([selector]) => document.activeElement.matches(selector)", [selector]
        )
        ringed = page.evaluate(
            """() => [document.activeElement, document.activeElement.closest(".choice")].some(
                (element) => element && getComputedStyle(element).outlineStyle === "solid")"""
        )
        assert ringed, page.evaluate("document.activeElement.outerHTML")
        if focused:
            return
    raise AssertionError(f"the keyboard doesn't reach {selector}")


def test_what_happens_is_spoken(page: Page, colours: dict[str, Path]) -> None:
    spoken = page.get_by_role("status").filter(has_text="red.png")
    choose(page, colours["red"])
    expect(spoken).to_have_text("red.png: Melanoma.")
    expect(page.get_by_role("img", name="The chosen picture, red.png")).to_be_visible()
    expect(page.get_by_role("img", name="Map of the evidence for Melanoma")).to_be_visible()


def test_what_is_told_later_has_its_place_from_the_start(page: Page) -> None:
    # Screen readers tell of changes in an element that they know, and know none that is hidden.
    expect(page.get_by_role("status")).to_have_count(2)


def test_bars_and_motion_follow_the_readers_settings(
    open_page: Open, colours: dict[str, Path]
) -> None:
    page = open_page(forced_colors="active", reduced_motion="reduce")
    choose(page, colours["red"])
    expect_answer(page, "Melanoma")
    fill, track = page.locator(".fill").first, page.locator(".track").first
    painted = "element => getComputedStyle(element).backgroundColor"
    assert fill.evaluate(painted) != track.evaluate(painted)
    assert page.evaluate("getComputedStyle(busy, '::before').animationName") == "none"
