"""Reduction, shrinking and resizing in JavaScript, run by Node.js, are Pillow's and libvips', and
what is shrunk is what Python shrinks."""

import io
import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import pyvips
from PIL import ExifTags, Image

from doctor_derma.images.decoding import fit_pixels
from doctor_derma.images.large_pictures import bytes_to_decode
from doctor_derma.web.site import OWN
from images.profiles import grey_profile
from made_pictures import LOSSLESS, saved

SCRIPT = """
import { readFileSync, writeFileSync } from "node:fs";
import { fit, fromPixels, shrink } from "./resampling.js";

for (const { name, width, height, size, factors } of JSON.parse(readFileSync("cases.json"))) {
    const picture = fromPixels(new Uint8Array(readFileSync(name)), width, height);
    writeFileSync(`${name}.fit`, fit(picture, size[1], size[0]));
    writeFileSync(`${name}.shrunk`, shrink(picture, ...factors).pixels);
}
"""
COUNT = """
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { readChunks } from "./png.js";

const names = readdirSync(".").filter((name) => name.endsWith(".png"));
const counts = names.map((name) => [name, readChunks(new Uint8Array(readFileSync(name))).bytes]);
writeFileSync("counts.json", JSON.stringify(Object.fromEntries(counts)));
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
    folder = tmp_path_factory.mktemp("arithmetic")
    cases = []
    for width, height, size, factors in CASES:
        name = f"{width}x{height}"
        noise(width, height).tofile(folder / name)
        cases.append(
            {"name": name, "width": width, "height": height, "size": size, "factors": factors}
        )
    (folder / "cases.json").write_text(json.dumps(cases))
    run(SCRIPT, folder, "resampling.js")
    return folder


def run(script: str, folder: Path, module: str) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.fail("Node.js runs the page's arithmetic: install it ('apt install nodejs').")
    (folder / "package.json").write_text('{"type": "module"}')
    (folder / "main.js").write_text(script)
    shutil.copyfile(OWN / module, folder / module)
    subprocess.run([node, "main.js"], cwd=folder, check=True)


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


def test_a_png_takes_what_it_takes_in_python(tmp_path: Path) -> None:
    picture = Image.fromarray(noise(48, 36))
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    kinds = {name: write for name, write in LOSSLESS.items() if name.startswith("png")}
    kinds["profile"] = saved("PNG", "L", icc_profile=grey_profile(1.0))
    kinds["both"] = saved("PNG", icc_profile=grey_profile(1.0), exif=exif)
    del kinds["png-larger"]
    encoded = {name: write(picture) for name, write in kinds.items()}
    encoded["exif-last"] = with_exif_last(encoded["png-exif-6"])
    expected = {}
    for name, content in encoded.items():
        (tmp_path / f"{name}.png").write_bytes(content)
        with Image.open(io.BytesIO(content)) as opened:
            expected[f"{name}.png"] = bytes_to_decode(opened)
    run(COUNT, tmp_path, "png.js")
    assert json.loads((tmp_path / "counts.json").read_text()) == expected


def with_exif_last(png: bytes) -> bytes:
    start = png.index(b"eXIf") - 4
    end = start + 12 + int.from_bytes(png[start : start + 4])
    last = len(png) - 12
    return png[:start] + png[end:last] + png[start:end] + png[last:]
