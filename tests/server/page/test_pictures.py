"""Pictures come in by every way, and each gets an answer or a reason of its own."""

from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Page, expect

from server.page.driving import Open, choose, expect_answer, hand_over, thumbnail


def test_an_upload_is_answered_in_full(page: Page, colours: dict[str, Path]) -> None:
    sent = []
    page.on("request", lambda request: sent.append(request) if request.method == "POST" else None)
    choose(page, colours["red"])
    expect_answer(page, "Melanoma")
    (request,) = sent
    assert request.url.endswith("/v1/predict?activation_map=grid")
    assert request.headers["content-type"] == "application/octet-stream"
    assert "red.png" not in str(request.headers)
    # exp(6 / 2) against twice exp(0): 20.0855 / 22.0855.
    expect(page.locator(".bar").first.locator(".percent")).to_have_text("90.9 %")
    assert page.locator(".bar .name").all_inner_texts() == [
        "Melanoma possible",
        "Melanocytic nevus",
        "Vascular lesion",
    ]
    expect(page.locator("#certainty")).to_have_text("It rules out the other kinds.")
    expect(page.locator("#unfamiliar")).to_be_hidden()
    expect(page.locator("#warnings")).to_be_hidden()
    expect(page.locator("#several")).to_be_hidden()


@pytest.mark.parametrize("kind", ["paste", "drop"])
def test_a_picture_is_pasted_or_dropped(page: Page, colours: dict[str, Path], kind: str) -> None:
    hand_over(page, kind, colours["green"])
    expect_answer(page, "Melanocytic nevus")


def test_what_holds_no_file_is_said_or_left_alone(page: Page) -> None:
    hand_over(page, "paste")
    expect(page.locator("#note")).to_be_empty()
    hand_over(page, "drop")
    expect(page.locator("#note")).to_have_text("No file was dropped.")
    expect(page.locator("#empty")).to_be_visible()


def test_an_id_of_a_run_is_cut_and_a_name_is_not(page: Page) -> None:
    expect(page.locator("#model")).to_contain_text("run 01234567)")
    model = httpx.get(f"{page.url}v1/model", trust_env=False).json()
    page.route("**/v1/model", lambda route: route.fulfill(json={**model, "run": "eca_lite0"}))
    page.reload()
    expect(page.locator("#model")).to_contain_text("run eca_lite0)")


def test_a_class_has_its_meaning(page: Page, colours: dict[str, Path]) -> None:
    choose(page, colours["red"])
    expect_answer(page, "Melanoma")
    meaning = page.locator(".meaning").first
    expect(meaning).to_be_hidden()
    page.locator(".bar summary").first.click()
    expect(meaning).to_contain_text("cells that make the skin's pigment")


def test_not_sure_and_no_answer_are_answers(page: Page, colours: dict[str, Path]) -> None:
    choose(page, colours["white"])
    expect_answer(page, "No answer")
    expect(page.locator("#unfamiliar")).to_be_visible()
    expect(page.locator("#warnings")).to_contain_text("brighter")
    choose(page, colours["mixed"])
    expect_answer(page, "Not sure")
    expect(page.locator("#unfamiliar")).to_be_hidden()
    assert page.locator(".bar .mark").count() > 1


def test_several_pictures_each_have_a_result(page: Page, colours: dict[str, Path]) -> None:
    choose(page, colours["red"], colours["text"], colours["white"], colours["blue"])
    expect(page.locator("#progress")).to_have_text("3 of 4 answered")
    expect(thumbnail(page, "red.png")).to_contain_text("91 % Melanoma")
    expect(thumbnail(page, "notes.txt")).to_contain_text("This file can't be classified")
    expect(thumbnail(page, "white.png")).to_contain_text("No answer")
    expect(thumbnail(page, "red.png")).to_have_attribute("aria-current", "true")
    expect_answer(page, "Melanoma")
    thumbnail(page, "blue.png").click()
    expect_answer(page, "Vascular lesion")
    expect(page.locator("#file-name")).to_have_text("blue.png")
    thumbnail(page, "notes.txt").click()
    expect(page.locator("#error-detail")).to_contain_text("JPEG")
    expect(page.locator("#answer")).to_be_hidden()
    expect(page.locator("#no-preview")).to_be_visible()
    expect(page.get_by_role("button", name="Try again")).to_be_hidden()


def test_pictures_are_removed(page: Page, colours: dict[str, Path]) -> None:
    choose(page, colours["red"], colours["green"], colours["blue"])
    expect(page.locator("#progress")).to_have_text("3 of 3 answered")
    page.get_by_role("button", name="Remove red.png").click()
    expect_answer(page, "Melanocytic nevus")
    expect(thumbnail(page, "green.png")).to_be_focused()
    page.get_by_role("button", name="Remove blue.png").click()
    expect(page.locator("#several")).to_be_hidden()
    expect_answer(page, "Melanocytic nevus")
    choose(page, colours["red"])
    page.get_by_role("button", name="Remove all").click()
    expect(page.locator("#empty")).to_be_visible()
    expect(page.locator("#answer")).to_be_hidden()
    expect(page.locator("#figure")).to_be_hidden()
    expect(page.locator("#file")).to_be_focused()


def test_too_many_pictures_are_left_out(page: Page, colours: dict[str, Path]) -> None:
    page.route("**/v1/predict**", lambda route: route.fulfill(status=422, json={"detail": "No."}))
    choose(page, *[colours["red"]] * 103)
    expect(page.locator("#note")).to_contain_text("3 were left out")
    assert page.locator(".thumbnail").count() == 100


def test_a_wrong_file_has_its_reason(page: Page, colours: dict[str, Path], tmp_path: Path) -> None:
    choose(page, colours["text"])
    expect(page.locator("#error-title")).to_have_text("This file can't be classified.")
    large = tmp_path / "large.png"
    large.write_bytes(bytes(20_000_001))
    choose(page, large)
    expect(page.locator("#error-title")).to_have_text("This picture is too large.")
    expect(page.locator("#answer")).to_be_hidden()


def test_the_slider_changes_the_maps_strength(page: Page, colours: dict[str, Path]) -> None:
    choose(page, colours["red"])
    overlay = page.locator("#overlay")
    expect(overlay).to_have_css("opacity", "0.45")
    slider = page.get_by_role("slider", name="Evidence for Melanoma")
    before = page.locator("#frame").screenshot()
    slider.fill("90")
    expect(overlay).to_have_css("opacity", "0.9")
    assert page.locator("#frame").screenshot() != before
    slider.press("Home")
    expect(overlay).to_have_css("opacity", "0")
    assert overlay.evaluate("canvas => canvas.width / canvas.height") == pytest.approx(4 / 3)


def test_a_phone_offers_its_camera(open_page: Open, colours: dict[str, Path]) -> None:
    page = open_page(viewport={"width": 320, "height": 640}, has_touch=True, is_mobile=True)
    camera = page.get_by_label("Take a picture")
    assert camera.get_attribute("capture") == "environment"
    expect(page.get_by_text("Take a picture")).to_be_visible()
    camera.set_input_files(colours["red"])
    expect_answer(page, "Melanoma")
    choose(page, colours["green"], colours["blue"], colours["text"])
    expect(page.locator("#progress")).to_have_text("3 of 4 answered")
    for summary in page.locator("summary:visible").all():
        summary.tap()
    assert page.evaluate("document.documentElement.scrollWidth") == 320
    expect(open_page().get_by_text("Take a picture")).to_be_hidden()
