"""The report says all that is needed, and that it is no diagnosis."""

import hashlib
from pathlib import Path

from playwright.sync_api import Browser, Page, expect

from doctor_derma.inference.prediction import NOTICE
from server.page.driving import choose, expect_answer

DECODE_LATER = """() => {
    HTMLImageElement.prototype.decode = () => new Promise((resolve) => { window.goOn = resolve; });
}"""


def answer(page: Page, colours: dict[str, Path]) -> None:
    choose(page, colours["red"])
    expect_answer(page, "Melanoma")
    expect(page.locator("#overlay")).to_be_visible()


def expect_report(page: Page, bundle: Path) -> None:
    report = page.locator(".report")
    expect(report).to_be_visible()
    expect(report.get_by_text(NOTICE)).to_have_count(2)
    for words in (
        *("red.png", "Melanoma", "90.9 %", "possible", "tiny", "0123456789abcdef"),
        hashlib.sha256((bundle / "model.onnx").read_bytes()).hexdigest(),
    ):
        expect(report).to_contain_text(words)
    assert (
        report.locator("dd")
        .nth(1)
        .inner_text()
        .startswith(page.evaluate("new Date().toLocaleDateString('en-GB', { dateStyle: 'long' })"))
    )


def test_only_the_report_is_printed(page: Page, colours: dict[str, Path], carded: Path) -> None:
    expect(page.locator("#report")).to_be_hidden()
    answer(page, colours)
    expect(page.locator("#report")).to_be_hidden()
    page.evaluate("window.print = () => { window.printed = true; }")
    page.get_by_role("button", name="Print report").click()
    assert page.evaluate("window.printed")
    page.emulate_media(media="print", color_scheme="dark")
    expect_report(page, carded)
    expect(page.locator("main")).to_be_hidden()
    expect(page.locator("header")).to_be_hidden()
    assert page.locator(".report canvas").count() == 2
    assert page.pdf(format="A4").count(b"/Type /Page\n") == 1


def test_without_an_answer_the_page_itself_is_printed(page: Page, colours: dict[str, Path]) -> None:
    page.emulate_media(media="print")
    expect(page.locator("body > .notice")).to_contain_text(NOTICE)
    expect(page.locator("main")).to_be_visible()
    choose(page, colours["text"])
    expect(page.locator("#error")).to_be_visible()
    choose(page, colours["red"])
    expect(page.locator("main")).to_be_hidden()


def test_a_saved_report_needs_nothing_else(
    browser: Browser, page: Page, colours: dict[str, Path], carded: Path, tmp_path: Path
) -> None:
    answer(page, colours)
    with page.expect_download() as download:
        page.get_by_role("button", name="Save report").click()
    assert download.value.suggested_filename == "doctor-derma-red.html"
    file = tmp_path / "report.html"
    download.value.save_as(file)
    with browser.new_context(offline=True, java_script_enabled=True) as context:
        saved = context.new_page()
        asked = []
        saved.on("request", lambda request: asked.append(request.url))
        saved.goto(file.as_uri())
        expect_report(saved, carded)
        for image in saved.locator("img").all():
            assert image.evaluate("image => image.naturalWidth") == 40
            assert image.get_attribute("alt")
        # A map over the red picture differs from the picture alone.
        first, second = (image.get_attribute("src") for image in saved.locator("img").all())
        assert first != second
        assert [url for url in asked if not url.startswith(("file:", "data:"))] == []


def test_a_report_says_that_a_picture_is_unfamiliar(page: Page, colours: dict[str, Path]) -> None:
    choose(page, colours["white"])
    expect_answer(page, "No answer")
    expect(page.locator("#report")).to_contain_text("does not know this kind of picture")
    expect(page.locator("#report")).to_contain_text("brighter")
    choose(page, colours["red"])
    expect_answer(page, "Melanoma")
    expect(page.locator("#report")).not_to_contain_text("does not know this kind of picture")


def test_a_report_never_shows_another_picture(page: Page, colours: dict[str, Path]) -> None:
    answer(page, colours)
    drawn = page.locator("#report canvas")
    expect(drawn).to_have_count(2)
    page.evaluate(DECODE_LATER)
    choose(page, colours["green"])
    expect_answer(page, "Melanocytic nevus")
    expect(drawn).to_have_count(0)
    page.evaluate("window.goOn()")
    expect(drawn).to_have_count(2)


def test_names_of_files_are_text(page: Page, colours: dict[str, Path], tmp_path: Path) -> None:
    nasty = tmp_path / "<img src=x onerror=alert(1)>.png"
    nasty.write_bytes(colours["red"].read_bytes())
    choose(page, nasty)
    expect_answer(page, "Melanoma")
    with page.expect_download() as download:
        page.get_by_role("button", name="Save report").click()
    file = tmp_path / "report.html"
    download.value.save_as(file)
    assert "&lt;img src=x onerror=alert(1)&gt;" in file.read_text()
    assert page.locator("img[src=x]").count() == 0
