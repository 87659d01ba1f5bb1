"""The browser edition beside Python: the same pictures, the differences, sizes and times.

SITE is what ``derma web SITE --model BUNDLE`` has written. Pictures are drawn ones in many formats
and as many real ones of FOLDER. Times are of Chromium over loopback: the first answer from a cold
cache, from the call of the page to the answer on it, and the next ones, of a picture of 600x450.

Takes about 2 minutes; needs Chromium, playwright and the site of the bundle.
"""

import base64
import functools
import os
import random
import shutil
import statistics
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from playwright.sync_api import Page, sync_playwright
from typer import Option

from command import run, show
from doctor_derma.inference.classifier import Classifier
from doctor_derma.inference.prediction import Prediction
from doctor_derma.terminal import with_progress
from made_pictures import LARGE, LOSSLESS, LOSSY, lesion, made_pictures, saved

ASK = """async ([name, text, rule, patient]) => {
    const { ask } = await import(new URL("static/engine.js", document.baseURI));
    const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
    const { signal } = new AbortController();
    const start = performance.now();
    const outcome = await ask(new File([bytes], name), { rule, patient, signal });
    return { ...outcome, milliseconds: performance.now() - start };
}"""
SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".webp"}


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


class Host(ThreadingHTTPServer):
    def handle_error(self, *asked: object) -> None:
        """A browser has left before it had all."""


@contextmanager
def hosting(site: Path) -> Iterator[str]:
    """Serve a folder as any static host does, and give its address."""
    server = Host(("127.0.0.1", 0), functools.partial(Quiet, directory=str(site)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


def ask(
    page: Page, name: str, content: bytes, rule: str | None = None, **patient: str
) -> dict[str, Any]:
    """Return what the page's engine says of a picture, ``answer`` or ``problem``, and how soon."""
    return page.evaluate(ASK, [name, base64.b64encode(content).decode(), rule, patient])


def differences(answer: dict[str, Any], expected: Prediction) -> dict[str, float]:
    """Return how far an answer of the browser is from Python's; 0 where words are the same."""
    found = {row["name"]: row["probability"] for row in answer["probabilities"]}
    maps = np.array(answer["activation_map"]) - expected.activation_map
    return {
        "probability": max(abs(found[n] - p) for n, p in expected.probabilities.items()),
        "map": float(np.abs(maps).max() / max(np.ptp(expected.activation_map), 1e-6)),
        "unfamiliarity": abs(answer["unfamiliarity"] - expected.unfamiliarity),
        "label": float(answer["label"] != expected.label),
        "set": float(set(answer["prediction_set"]) != set(expected.prediction_set)),
        "abstention": float(answer["abstention"] != expected.abstention),
        "warnings": float(tuple(answer["warnings"]) != expected.warnings),
    }


def all_pictures(folder: Path | None, count: int) -> Iterator[tuple[str, str, bytes]]:
    """Yield the group, the name and the bytes of each picture."""
    for group, kinds in (("lossless", LOSSLESS), ("lossy", LOSSY), ("large", LARGE)):
        for seed in range(2 if group != "large" else 1):
            for name, content in made_pictures(kinds, 100 * seed):
                yield group, name, content
    if folder:
        found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
        for path in random.Random(0).sample(found, min(count, len(found))):
            yield "real", path.name, path.read_bytes()


def compare(page: Page, classifier: Classifier, folder: Path | None, count: int) -> None:
    """Print the worst differences of each group of pictures, and who has them."""
    rows: dict[str, list[tuple[str, dict[str, float]]]] = {}
    pictures = list(all_pictures(folder, count))
    for group, name, content in with_progress(pictures, "Comparing"):
        outcome = ask(page, name, content)
        if "answer" not in outcome:
            sys.exit(f"{name}: {outcome['problem']}")
        [expected] = classifier.predict([content])
        rows.setdefault(group, []).append((name, differences(outcome["answer"], expected)))
    words = ("label", "set", "abstention", "warnings")
    table = []
    for group, found in rows.items():
        worst, most = max(found, key=lambda row: row[1]["probability"])
        furthest = f"{max(each['map'] for _, each in found):.4f}"
        differ = (f"{sum(each[word] for _, each in found):.0f}" for word in words)
        table.append((group, len(found), f"{most['probability']:.5f}", worst, furthest, *differ))
    title = "Browser and Python: the largest difference, or how many differ"
    show(title, ("pictures", "n", "probability", "of", "map", *words), table)


def measure(playwright: Any, program: str, address: str, rounds: int, picture: Path) -> None:
    """Print how soon a new browser has its first answer, and how soon the next ones come."""
    first, later = [], []
    for _ in range(rounds):
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        page = browser.new_page()
        started = time.perf_counter()
        page.goto(address)
        page.locator("#file").set_input_files(picture)
        page.locator("#answer").wait_for(timeout=120_000)
        first.append(time.perf_counter() - started)
        later += [ask(page, "next.jpg", picture.read_bytes())["milliseconds"] for _ in range(5)]
        browser.close()
    print(f"First answer, cold cache: {statistics.median(first):.2f} s ({min(first):.2f} to "
          f"{max(first):.2f}, {rounds} browsers)")  # fmt: skip
    print(f"Next answers: {statistics.median(later):.0f} ms ({min(later):.0f} to "
          f"{max(later):.0f})")  # fmt: skip


def main(
    site: Path,
    bundle: Path,
    pictures: Annotated[Path | None, Option(help="folder of real pictures")] = None,
    count: Annotated[int, Option(help="real pictures to take")] = 110,
    rounds: Annotated[int, Option(help="browsers to time")] = 5,
) -> None:
    program = os.environ.get("DERMA_CHROMIUM") or shutil.which("chromium")
    size = sum(path.stat().st_size for path in site.rglob("*") if path.is_file())
    print(f"Site: {size / 1e6:.2f} MB; load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    picture = site.resolve().parent / "browser-benchmark.jpg"
    with hosting(site) as address, sync_playwright() as playwright:
        picture.write_bytes(saved("JPEG", quality=90)(lesion("nv", 0, (600, 450))))
        try:
            measure(playwright, program, address, rounds, picture)
        finally:
            picture.unlink()
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        page = browser.new_page()
        page.goto(address)
        classifier = Classifier.load(bundle, threads=1)
        compare(page, classifier, pictures, count)
        browser.close()


if __name__ == "__main__":
    run(main)
