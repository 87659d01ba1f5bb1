"""The browser says what Python says: the same pictures, the same answers."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page

from browser import ask, differences, hosting
from doctor_derma.decisions import RULES
from doctor_derma.inference.classifier import Classifier
from doctor_derma.inference.patient import Patient
from doctor_derma.web.site import write_site
from images.profiles import grey_profile, rgb_profile
from made_pictures import LOSSLESS, LOSSY, made_pictures
from tiny_bundle import BETWEEN, BLUE, GREEN, RED
from web.conftest import ROOT

CHAMPION = ROOT / "deployment" / "models" / "champion"
# Of the same pixels, ONNX Runtime's own differences between processors.
EXACT = 1e-3
CLOSE = 0.01
WIDE = ((0.68, 0.32), (0.265, 0.69), (0.15, 0.06))
# As browsers do that keep pages from telling devices apart; it counts what is closed, too.
HIDING = """() => {
    const { prototype } = OffscreenCanvasRenderingContext2D;
    const { getImageData } = prototype;
    prototype.getImageData = function (...place) {
        const read = getImageData.apply(this, place);
        read.data[0] ^= 1;
        return read;
    };
    const { close } = ImageBitmap.prototype;
    self.closed = 0;
    ImageBitmap.prototype.close = function () {
        self.closed += 1;
        close.call(this);
    };
}"""
MEASURES = ("probability", "map", "unfamiliarity")


@pytest.fixture(scope="module")
def champion() -> Classifier:
    return Classifier.load(CHAMPION, threads=1)


@pytest.fixture(scope="module")
def champion_page(
    browser: Browser, runtime: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Page]:
    """The page of the shipped model."""
    site = write_site(tmp_path_factory.mktemp("web") / "champion", CHAMPION, runtime)
    assert site.bytes < 20_000_000
    with hosting(site.folder) as address:
        page = browser.new_page()
        page.goto(address)
        page.locator("#model", has_text="trained on").wait_for(timeout=120_000)
        yield page
        page.close()


@pytest.mark.parametrize("kinds", ["lossless", "lossy"])
def test_the_shipped_model_answers_as_in_python(
    champion_page: Page, champion: Classifier, kinds: str
) -> None:
    """Forty drawn lesions, a way of storing pictures each."""
    written = LOSSLESS if kinds == "lossless" else LOSSY
    for name, content in made_pictures(written):
        outcome = ask(champion_page, name, content)
        assert "answer" in outcome, (name, outcome)
        [expected] = champion.predict([content])
        found = differences(outcome["answer"], expected)
        most = EXACT if kinds == "lossless" else CLOSE
        assert found["probability"] <= most, (name, found)
        same = {what: how for what, how in found.items() if what not in MEASURES}
        assert set(same.values()) == {0}, (name, found)
        assert found["map"] <= (0.01 if kinds == "lossless" else 0.05), (name, found)


@pytest.mark.parametrize("profile", ["wide", "grey"])
def test_colours_are_those_of_the_profile(
    champion_page: Page, champion: Classifier, profile: str
) -> None:
    mode, icc = ("RGB", rgb_profile(WIDE)) if profile == "wide" else ("L", grey_profile(1.0))

    def written(picture: Image.Image) -> bytes:
        stream = io.BytesIO()
        picture.convert(mode).save(stream, "PNG", icc_profile=icc)
        return stream.getvalue()

    [(_, content)] = made_pictures({profile: written})
    [expected] = champion.predict([content])
    found = differences(ask(champion_page, profile, content)["answer"], expected)
    assert found["probability"] <= CLOSE


def solid(colour: tuple[int, int, int], folder: Path, size: tuple[int, int] = (40, 30)) -> bytes:
    path = folder / "colour.png"
    Image.new("RGB", size, colour).save(path)
    return path.read_bytes()


COLOURS = {
    "red": RED,
    "green": GREEN,
    "blue": BLUE,
    "between": BETWEEN,
    "mixed": (200, 60, 20),
    "unfamiliar": (255, 255, 255),
    "dark": (3, 0, 9),
}


@pytest.mark.parametrize("colour", COLOURS)
def test_every_rule_calls_the_same(page: Page, carded: Path, tmp_path: Path, colour: str) -> None:
    content = solid(COLOURS[colour], tmp_path)
    classifier = Classifier.load(carded)
    for rule in RULES:
        answer = ask(page, colour, content, rule)["answer"]
        [expected] = classifier.predict([content], rule=rule)
        found = differences(answer, expected)
        assert all(value < 1e-5 for value in found.values()), (rule, found)
        assert answer["rule"] == rule
        assert tuple(answer["prediction_set"]) == expected.prediction_set


@pytest.mark.parametrize(
    "given", [{"age": "35"}, {"sex": "male", "site": "face"}, {"age": "0", "site": "back"}]
)
def test_patient_data_are_weighed_the_same(
    page: Page, carded: Path, tmp_path: Path, given: dict[str, str]
) -> None:
    content = solid(BETWEEN, tmp_path)
    age = float(given["age"]) if "age" in given else None
    patient = Patient(age, given.get("sex"), given.get("site"))
    classifier = Classifier.load(carded)
    for rule in RULES:
        answer = ask(page, "between", content, rule, **given)["answer"]
        [expected] = classifier.predict([content], rule=rule, patient=patient)
        assert all(value < 1e-5 for value in differences(answer, expected).values()), rule
        assert tuple(answer["patient_data"]) == expected.patient_data
        assert tuple(answer["prediction_set"]) == expected.prediction_set


def test_a_small_picture_is_warned_of_and_a_map_is_the_right_way_up(
    page: Page, carded: Path, tmp_path: Path
) -> None:
    left_red = np.zeros((6, 7, 3), np.uint8)
    left_red[:2, :3, 0] = 255
    Image.fromarray(left_red).save(tmp_path / "corner.png")
    content = (tmp_path / "corner.png").read_bytes()
    answer = ask(page, "corner", content)["answer"]
    [expected] = Classifier.load(carded).predict([content])
    assert "small" in answer["warnings"]
    assert tuple(answer["warnings"]) == expected.warnings
    assert np.allclose(answer["activation_map"], expected.activation_map, atol=1e-4)
    assert np.argmax(answer["activation_map"]) == 0


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"no picture", "Not a picture"),
        (b"", "Empty file"),
        (b"II*\0" + bytes(60), "can't read TIFF; save it as JPEG or PNG"),
        (b"\xff\xd8\xff\xe0" + bytes(60), "Corrupt or truncated"),
    ],
)
def test_what_is_no_picture_says_why(page: Page, content: bytes, words: str) -> None:
    problem: dict[str, Any] = ask(page, "file", content)["problem"]
    assert problem["title"] == "This file can't be classified."
    assert words in problem["detail"]


def test_a_browser_that_hides_pixels_is_told_of_and_reads_png(page: Page, tmp_path: Path) -> None:
    [worker] = page.workers
    worker.evaluate(HIDING)
    assert ask(page, "red.png", solid(RED, tmp_path))["answer"]["label"] == "mel"
    Image.new("RGB", (40, 30), RED).save(tmp_path / "red.jpg")
    problem = ask(page, "red.jpg", (tmp_path / "red.jpg").read_bytes())["problem"]
    assert "This browser hides pixels from pages: allow canvas here" in problem["detail"]
    assert worker.evaluate("self.closed") == 1


def test_a_cut_png_is_not_half_a_picture(page: Page, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (40, 40, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    content = (tmp_path / "noise.png").read_bytes()
    assert "Corrupt" in ask(page, "cut.png", content[: len(content) // 2])["problem"]["detail"]
