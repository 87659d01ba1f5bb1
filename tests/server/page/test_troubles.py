"""A server that is down, busy, broken or wants a key."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Page, Route, expect

from doctor_derma.inference.classifier import Classifier
from doctor_derma.server.app import create_app
from doctor_derma.server.settings import Settings
from server.live import serving
from server.page.driving import Open, choose, expect_answer, thumbnail

PREDICT = "**/v1/predict**"
# As many as may be under way at once break, and what a timer calls comes after all that is ready.
THIRD_AFTER_TWO_BROKEN = """async () => {
    const { inTurn } = await import(new URL("static/ask.js", document.baseURI));
    addEventListener("unhandledrejection", (event) => event.preventDefault());
    const done = [];
    const queue = inTurn(async (item) => {
        if (item < 3) throw new Error("broken");
        done.push(item);
    });
    [1, 2, 3].forEach((item) => queue(item));
    await new Promise((resolve) => setTimeout(resolve));
    return done;
}"""


def expect_another_try(
    page: Page, colours: dict[str, Path], trouble: Callable[[Route], None]
) -> None:
    """Have the server in trouble, and then no longer."""
    page.route(PREDICT, trouble)
    choose(page, colours["red"], colours["green"])
    expect(page.locator("#error-title")).to_have_text("The server can't be reached.")
    expect(thumbnail(page, "green.png")).to_contain_text("The server can't be reached")
    page.unroute(PREDICT)
    page.get_by_role("button", name="Try again").click()
    expect_answer(page, "Melanoma")
    expect(page.locator("#progress")).to_have_text("2 of 2 answered")
    expect(page.locator("#error")).to_be_hidden()


def test_a_server_that_is_down_is_asked_again(page: Page, colours: dict[str, Path]) -> None:
    expect_another_try(page, colours, lambda route: route.abort("connectionrefused"))


@pytest.mark.parametrize(
    ("kind", "body"),
    [("text/html", "<!doctype html><title>Log in</title>"), ("application/json", '{"label": "me')],
)
def test_what_is_no_whole_answer_is_asked_for_again(
    page: Page, colours: dict[str, Path], kind: str, body: str
) -> None:
    def cut_off(route: Route) -> None:
        route.fulfill(status=200, content_type=kind, body=body)

    expect_another_try(page, colours, cut_off)


def test_what_breaks_leaves_its_turn_to_the_next(page: Page) -> None:
    assert page.evaluate(THIRD_AFTER_TWO_BROKEN) == [3]


def test_a_server_that_fails_says_where_to_look(page: Page, colours: dict[str, Path]) -> None:
    page.route(PREDICT, lambda route: route.fulfill(status=500, json={"instance": "abc"}))
    choose(page, colours["red"])
    expect(page.locator("#error-detail")).to_contain_text("under the request abc")
    expect(page.get_by_role("button", name="Try again")).to_be_visible()


def test_a_busy_server_is_asked_again_by_itself(
    open_page: Open, carded: Path, colours: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    quick = Classifier.classify
    begun, free = threading.Event(), threading.Event()
    free.set()

    def slow(self: Classifier, pictures: Any) -> Any:
        begun.set()
        free.wait(30)
        return quick(self, pictures)

    monkeypatch.setattr(Classifier, "classify", slow)
    with serving(create_app(carded, Settings(queue_limit=1, deadline_seconds=30))) as url:
        page = open_page(url)
        begun.clear()
        free.clear()
        other = threading.Thread(
            target=httpx.post,
            args=[f"{url}/v1/predict"],
            kwargs={
                "content": colours["blue"].read_bytes(),
                "headers": {"Content-Type": "image/png"},
                "trust_env": False,
                "timeout": 30,
            },
        )
        other.start()
        assert begun.wait(30)
        choose(page, colours["red"])
        expect(page.locator("#busy")).to_contain_text("The server is busy. Asking again in 1 s")
        free.set()
        expect_answer(page, "Melanoma")
        other.join()


def test_a_server_that_stays_busy_is_left_alone(page: Page, colours: dict[str, Path]) -> None:
    asked = []

    def refuse(route: Route) -> None:
        asked.append(route)
        route.fulfill(status=503, headers={"Retry-After": "10"}, json={"detail": "Busy."})

    # Its time goes on by itself as well, but a test does not take seconds for a step.
    page.clock.install()
    page.route(PREDICT, refuse)
    choose(page, colours["red"])
    for repeat in range(1, 6):
        expect(page.locator("#busy")).to_contain_text(f"in 10 s ({repeat} of 5)")
        page.clock.fast_forward(9_000)
        assert len(asked) == repeat
        page.clock.fast_forward(2_000)
    expect(page.locator("#error-title")).to_have_text("The server is too busy.")
    assert len(asked) == 6
    page.unroute(PREDICT)
    page.get_by_role("button", name="Try again").click()
    expect_answer(page, "Melanoma")


def test_a_picture_that_is_removed_is_asked_no_more(page: Page, colours: dict[str, Path]) -> None:
    page.route(PREDICT, lambda route: route.fulfill(status=429, headers={"Retry-After": "9"}))
    choose(page, colours["red"], colours["green"], colours["blue"])
    expect(thumbnail(page, "green.png")).to_contain_text("Server busy")
    expect(thumbnail(page, "blue.png")).to_contain_text("Waiting")  # Two at a time.
    page.unroute(PREDICT)
    page.get_by_role("button", name="Remove red.png").click()
    expect(thumbnail(page, "blue.png")).to_contain_text("Vascular")  # Its turn is free.


def test_a_key_is_asked_for_and_kept_in_the_tab(
    open_page: Open, carded: Path, colours: dict[str, Path]
) -> None:
    settings = Settings(api_keys=frozenset({"opensesame"}))
    with serving(create_app(carded, settings)) as url:
        page = open_page(url)
        field = page.get_by_label("API key")
        expect(field).to_be_hidden()
        choose(page, colours["red"], colours["green"])
        expect(page.locator("#error-title")).to_have_text("This server asks for an API key.")
        expect(field).to_be_focused()
        page.keyboard.type("wrong")
        page.keyboard.press("Enter")
        expect(page.locator("#error-detail")).to_have_text(
            "This API key is not one of the server's."
        )
        expect(field).to_be_focused()
        field.fill("opensesame")
        page.get_by_role("button", name="Use key").click()
        expect_answer(page, "Melanoma")
        expect(page.locator("#progress")).to_have_text("2 of 2 answered")
        assert page.url == f"{url}/"
        assert page.evaluate("[localStorage.length, document.cookie]") == [0, ""]
        page.reload()
        choose(page, colours["blue"])
        expect_answer(page, "Vascular lesion")


def test_a_key_that_no_header_can_hold_is_refused(page: Page, colours: dict[str, Path]) -> None:
    page.route(PREDICT, lambda route: route.fulfill(status=401, json={"detail": "Send a key."}))
    choose(page, colours["red"])
    field = page.get_by_label("API key")
    field.fill("schlüssel")
    field.press("Enter")
    assert "Latin letters" in field.evaluate("field => field.validationMessage")


def test_a_large_picture_hears_of_the_key_too(
    open_page: Open, carded: Path, tmp_path: Path
) -> None:
    large = tmp_path / "large.png"
    large.write_bytes(bytes(19_000_000))
    with serving(create_app(carded, Settings(api_keys=frozenset({"opensesame"})))) as url:
        page = open_page(url)
        choose(page, large)
        expect(page.locator("#error-title")).to_have_text("This server asks for an API key.")
