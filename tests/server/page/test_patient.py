"""Age, sex and site are asked for where the model takes them, and every answer weighs them."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from doctor_derma.server.app import create_app
from server.live import serving
from server.page.driving import Open, choose, expect_answer
from tiny_bundle import PATIENT, write_bundle


@pytest.fixture(scope="module")
def knowing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server whose model takes patient data."""
    bundle = write_bundle(tmp_path_factory.mktemp("knowing"), patient=PATIENT)
    with serving(create_app(bundle)) as address:
        yield address


def test_what_is_given_is_weighed_and_what_is_taken_back_is_not(
    open_page: Open, knowing: str, between: Path
) -> None:
    page = open_page(knowing)
    choose(page, between)
    expect_answer(page, "Not sure")
    page.locator("#patient summary").click()
    page.get_by_role("spinbutton", name="Age").fill("90")
    page.get_by_role("spinbutton", name="Age").blur()
    expect_answer(page, "Melanoma")
    expect(page.locator("#report")).to_contain_text("Weighed beside the picture")
    expect(page.locator("#report")).to_contain_text("age")
    page.get_by_role("spinbutton", name="Age").fill("")
    page.get_by_role("combobox", name="Place").select_option("back")
    expect_answer(page, "Melanocytic nevus")
    page.get_by_role("combobox", name="Place").select_option("not given")
    expect_answer(page, "Not sure")
    expect(page.locator("#report")).not_to_contain_text("Weighed beside the picture")


def test_an_age_that_is_none_is_not_sent(open_page: Open, knowing: str, between: Path) -> None:
    page = open_page(knowing)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    choose(page, between)
    expect_answer(page, "Not sure")
    page.locator("#patient summary").click()
    page.get_by_role("spinbutton", name="Age").fill("200")
    page.get_by_role("spinbutton", name="Age").blur()
    expect(page.locator("#age:invalid")).to_be_visible()
    assert not [url for url in asked if "age=" in url]


def test_an_age_that_is_none_takes_the_place_of_the_one_before(
    open_page: Open, knowing: str, between: Path
) -> None:
    page = open_page(knowing)
    choose(page, between)
    page.locator("#patient summary").click()
    age = page.get_by_role("spinbutton", name="Age")
    age.fill("90")
    age.blur()
    expect_answer(page, "Melanoma")
    age.fill("200")
    age.blur()
    expect_answer(page, "Not sure")
    expect(page.locator("#report")).not_to_contain_text("Weighed beside the picture")


def test_browsers_fill_in_nothing_of_another_person(open_page: Open, knowing: str) -> None:
    page = open_page(knowing)
    for field in page.locator("#patient :is(input, select)").all():
        expect(field).to_have_attribute("autocomplete", "off")


def test_a_model_of_pictures_alone_asks_for_nothing(page: Page) -> None:
    expect(page.locator("#rule")).to_be_visible()
    expect(page.locator("#patient")).to_be_hidden()
