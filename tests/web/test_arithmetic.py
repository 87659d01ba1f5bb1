"""Reduction, shrinking and resizing in JavaScript, run by Node.js, are Pillow's and libvips'."""

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import pyvips
from PIL import Image

from doctor_derma.images.decoding import fit_pixels
from doctor_derma.web.site import OWN

SCRIPT = """
import { readFileSync, writeFileSync } from "node:fs";
import { fit, fromPixels, shrink } from "./resampling.js";

for (const { name, width, height, size, factors } of JSON.parse(readFileSync("cases.json"))) {
    const picture = fromPixels(new Uint8Array(readFileSync(name)), width, height);
    writeFileSync(`${name}.fit`, fit(picture, size[1], size[0]));
    writeFileSync(`${name}.shrunk`, shrink(picture, ...factors).pixels);
}
"""
# Width, height, the size that is wanted, and the cells that are averaged: wide and tall, larger and
# smaller, where rows come first and where they come last, and cells that the edge cuts.
CASES = [
    (320, 240, (192, 144), (2, 2)),
    (240, 241, (192, 144), (2, 2)),
    (300, 310, (192, 144), (3, 2)),
    (191, 145, (192, 144), (3, 3)),
    (192, 144, (192, 144), (1, 2)),
    (97, 61, (192, 144), (2, 1)),
    (60, 700, (192, 144), (2, 5)),
    (1201, 907, (192, 144), (3, 3)),
    (602, 2000, (192, 144), (3, 4)),
    (1153, 433, (64, 64), (5, 2)),
    (7, 5, (8, 8), (2, 2)),
    (1, 9, (8, 8), (1, 3)),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with noise, and what JavaScript makes of it."""
    node = shutil.which("node")
    if node is None:
        pytest.fail("Node.js runs the page's arithmetic: install it ('apt install nodejs').")
    folder = tmp_path_factory.mktemp("arithmetic")
    (folder / "package.json").write_text('{"type": "module"}')
    (folder / "main.js").write_text(SCRIPT)
    shutil.copyfile(OWN / "resampling.js", folder / "resampling.js")
    cases = []
    for width, height, size, factors in CASES:
        name = f"{width}x{height}"
        noise(width, height).tofile(folder / name)
        cases.append(
            {"name": name, "width": width, "height": height, "size": size, "factors": factors}
        )
    (folder / "cases.json").write_text(json.dumps(cases))
    subprocess.run([node, "main.js"], cwd=folder, check=True)
    return folder


def noise(width: int, height: int) -> np.ndarray:
    generator = np.random.default_rng([width, height])
    return generator.integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize(("width", "height", "size", "factors"), CASES)
def test_a_picture_is_fitted_as_pillow_does(
    folder: Path, width: int, height: int, size: tuple[int, int], factors: tuple[int, int]
) -> None:
    expected = fit_pixels(Image.fromarray(noise(width, height)), size[1], size[0])
    found = np.fromfile(folder / f"{width}x{height}.fit", np.uint8)
    np.testing.assert_array_equal(found.reshape(expected.shape), expected)


@pytest.mark.parametrize(("width", "height", "size", "factors"), CASES)
def test_a_large_picture_is_shrunk_as_libvips_does(
    folder: Path, width: int, height: int, size: tuple[int, int], factors: tuple[int, int]
) -> None:
    expected = pyvips.Image.new_from_array(noise(width, height)).shrink(*factors).numpy()
    found = np.fromfile(folder / f"{width}x{height}.shrunk", np.uint8)
    np.testing.assert_array_equal(found.reshape(expected.shape), expected)
