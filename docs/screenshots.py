"""Makes docs/screenshots/ again: the upload page with drawn lesions, in Chromium.

python docs/screenshots.py [--bundle FOLDER] [--port PORT]
"""

import argparse
import io
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from doctor_derma.data.synthetic.synthesis import DEFAULT_COUNTS, synthesize

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "docs" / "screenshots"
SERVE = "from doctor_derma.commands.app import main; main()"
DESKTOP = {"width": 1000, "height": 700}
PHONE = {"width": 390, "height": 844}
# Of the lesions drawn with this seed one that gets an answer.
SEED = 3
SURE = "synthetic_nv_0001"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bundle", type=Path, default=ROOT / "deployment/models/champion")
    parser.add_argument("--port", type=int, default=5558)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        pictures = draw_pictures(Path(folder))
        browser = playwright.chromium.launch(
            executable_path=os.environ.get("DERMA_CHROMIUM") or shutil.which("chromium"),
            args=["--no-sandbox", "--disable-gpu", "--font-render-hinting=none"],
        )
        with serving(given.bundle, given.port) as url:
            show_answers(browser, url, pictures)
        browser.close()


def draw_pictures(folder: Path) -> dict[str, Path]:
    """Draw a few lesions of each kind, and return their files by name."""
    files = {}
    counts = dict.fromkeys(DEFAULT_COUNTS, 4)
    for image in synthesize(counts, seed=SEED, size=(600, 450)):
        files[image.image] = folder / f"{image.image}.jpg"
        files[image.image].write_bytes(image.read())
    return files


def show_answers(browser: Browser, url: str, pictures: dict[str, Path]) -> None:
    """Take the pictures of the page: an answer, and the same on a phone."""
    page = open_page(browser, url, DESKTOP)
    ask(page, pictures[SURE])
    page.locator(".bar summary").first.click()
    page.mouse.move(0, 0)
    save(page, "answer")
    page.context.close()
    page = open_page(browser, url, PHONE, phone=True)
    ask(page, pictures[SURE])
    save(page, "phone")
    page.context.close()


@contextmanager
def serving(bundle: Path, port: int) -> Iterator[str]:
    """Serve a bundle until the end of the block."""
    process = subprocess.Popen(
        [sys.executable, "-c", SERVE, "serve", "--model", bundle, "--port", str(port)],
        stderr=subprocess.DEVNULL,
    )
    url = f"http://127.0.0.1:{port}"
    try:
        while not is_ready(url):
            if process.poll() is not None:
                sys.exit(f"The server on port {port} has ended; try another port.")
            time.sleep(0.1)
        yield url
    finally:
        process.terminate()
        process.wait()


def is_ready(url: str) -> bool:
    """Say whether a server takes pictures."""
    try:
        return httpx.get(f"{url}/readyz", trust_env=False).is_success
    except httpx.TransportError:
        return False


def open_page(browser: Browser, url: str, size: dict[str, int], phone: bool = False) -> Page:
    """Open the upload page in a browser of that size."""
    context = browser.new_context(viewport=size, is_mobile=phone, has_touch=phone)
    page = context.new_page()
    page.goto(url)
    page.locator("#model", has_text="trained on").wait_for()
    return page


def ask(page: Page, *pictures: Path) -> None:
    """Choose pictures, and wait for the answer to the first."""
    page.locator("#file").set_input_files(list(pictures))
    page.locator("#answer").wait_for()


def save(page: Page, name: str) -> None:
    """Write a picture of the whole page."""
    # Grown to the page's height, as pictures of more than the window forget touch screens.
    height = page.evaluate("document.documentElement.scrollHeight")
    page.set_viewport_size({"width": page.viewport_size["width"], "height": height})
    shot = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    path = FOLDER / f"{name}.png"
    # So few colours are a third of the bytes, and nobody can tell them apart in a small picture.
    few = shot.quantize(128, Image.Quantize.MAXCOVERAGE, kmeans=4, dither=Image.Dither.NONE)
    few.save(path, optimize=True)
    size = path.stat().st_size
    print(f"{path.relative_to(ROOT)}: {shot.width}x{shot.height}, {size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
