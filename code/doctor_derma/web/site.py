"""Writes the browser edition: the server's page, a bundle and ONNX Runtime for browsers.

The page is the server's own. Of its scripts one is another: ``engine.js``, which asks a worker in
the browser instead of the server. Every address in the site is relative, and nothing in it leads
to another host, so that any static host will do.
"""

import gzip
import hashlib
import json
import re
import shutil
from pathlib import Path
from typing import NamedTuple

from PIL import Image, ImageDraw

from doctor_derma.atomic import replacing_own_folder
from doctor_derma.bundle import INFO_FILE, BundleInfo, read_card, read_info
from doctor_derma.errors import DermaError
from doctor_derma.inference.prediction import NOTICE
from doctor_derma.server.access import LOCAL_POLICY
from doctor_derma.server.routes.pages import STATIC, card_html
from doctor_derma.server.schemas import Provenance

OWN = Path(__file__).parent / "static"
SERVICE_WORKER = "service-worker.js"
MANIFEST = "manifest.webmanifest"
ENGINE = "engine.js"
# What the worker loads of onnxruntime-web; the second is sent packed, in a quarter of its size.
RUNTIME_SCRIPT, RUNTIME_WASM = "ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm"
# To nginx .mjs is no script, and browsers run none that doesn't come as one.
_SCRIPT_NAME = RUNTIME_SCRIPT.replace(".mjs", ".js")
TEAL, WHITE = "#0b6e6e", "#ffffff"
# Of the icon in pixels, as phones want it where a page becomes an app.
ICON_SIDES = (180, 192, 512)
# The white spot of icon.svg, as a share of the side.
_SPOT = 6 / 32
# A folder that holds it is a site, and may be replaced by one.
_MARKER = "local/worker.js"
# No other host can be asked, whatever a script may hold; wasm-unsafe-eval lets WebAssembly run,
# and no text become a script. The worker starts from a blob; engine.js says why. What may frame a
# page, no page can say of itself.
POLICY = LOCAL_POLICY.removesuffix("; frame-ancestors 'none'")
_HEAD = f"""<meta http-equiv="Content-Security-Policy" content="{POLICY}">
  <meta name="theme-color" content="{TEAL}">
  <link rel="manifest" href="{MANIFEST}">
  <link rel="apple-touch-icon" href="static/icon-180.png">"""
# What differs between the editions in index.html: between <!-- edition NAME --> and <!-- / -->.
_TEXTS = {
    "head": _HEAD,
    "promise": "Close-ups through a dermatoscope: JPEG, PNG, WebP, AVIF, GIF or BMP. Pictures stay "
    "on this\n          device: the network works in your browser, and nothing is sent anywhere.",
    "links": '<span id="offline" hidden> · This page works without a connection now.</span>',
    "noscript": "",
}
_DIFFERENCE = re.compile(r"<!-- edition (\w+) -->.*?<!-- / -->", re.DOTALL)


class Site(NamedTuple):
    """What was written."""

    folder: Path
    files: int
    bytes: int


def write_site(folder: Path, bundle: Path, runtime: Path) -> Site:
    """Write the browser edition of a bundle in the place of an older one.

    Parameters
    ----------
    folder : new, empty, or an older site
    bundle : folder with ``model.onnx`` and ``model.json``
    runtime : the folder ``dist`` of the npm package onnxruntime-web

    Raises
    ------
    DermaError
        When the bundle or a file of the runtime is missing or damaged, or ``folder`` holds other
        files.
    """
    info = read_info(bundle)
    for name in (RUNTIME_SCRIPT, RUNTIME_WASM):
        if not (runtime / name).is_file():
            raise DermaError(
                f"{runtime}: {name} of onnxruntime-web is missing; 'make web' installs it with "
                "npm, of Node.js, or name its folder dist with --runtime"
            )
    with replacing_own_folder(folder, _MARKER) as scratch:
        _write_page(scratch, bundle)
        _write_model(scratch / "model", bundle, info)
        (scratch / "runtime").mkdir()
        shutil.copyfile(runtime / RUNTIME_SCRIPT, scratch / "runtime" / _SCRIPT_NAME)
        _pack(runtime / RUNTIME_WASM, scratch / "runtime" / f"{RUNTIME_WASM}.gz")
        _write_manifest(scratch / MANIFEST)
        _write_service_worker(scratch)
        files = _files(scratch)
    return Site(folder, len(files), sum((folder / name).stat().st_size for name in files))


def _write_page(site: Path, bundle: Path) -> None:
    static, local = site / "static", site / "local"
    shutil.copytree(STATIC, static, ignore=shutil.ignore_patterns("index.html"))
    shutil.copyfile(OWN / ENGINE, static / ENGINE)
    for side in ICON_SIDES:
        _write_icon(static / f"icon-{side}.png", side)
    local.mkdir()
    for script in sorted(OWN.glob("*.js")):
        if script.name not in (ENGINE, SERVICE_WORKER):
            shutil.copyfile(script, local / script.name)
    page = (STATIC / "index.html").read_text()
    page = _DIFFERENCE.sub(lambda found: _TEXTS[found[1]], page)
    (site / "index.html").write_text(page.replace('href="card"', 'href="card.html"'))
    card = card_html(read_card(bundle))
    (site / "card.html").write_text(card.replace("</head>", f"{_HEAD}\n</head>"))


def _write_icon(path: Path, side: int) -> None:
    """Draw the spot of ``icon.svg`` as a PNG that is filled to its corners, so that it may be cut.

    ``side`` is in pixels.
    """
    large = 4 * side  # Made smaller afterwards, which smooths the edges.
    icon = Image.new("RGB", (large, large), TEAL)
    low, high = large * (0.5 - _SPOT), large * (0.5 + _SPOT)
    ImageDraw.Draw(icon).ellipse((low, low, high, high), fill=WHITE)
    icon.resize((side, side), Image.Resampling.LANCZOS).save(path, optimize=True)


def _write_model(folder: Path, bundle: Path, info: BundleInfo) -> None:
    folder.mkdir()
    shutil.copyfile(bundle / INFO_FILE, folder / INFO_FILE)
    (folder / "description.json").write_text(Provenance.of_bundle(info).model_dump_json())
    _pack(bundle / info.weights.file, folder / "model.onnx.gz")
    if (bundle / "LICENSE").is_file():
        shutil.copyfile(bundle / "LICENSE", folder / "LICENSE.txt")


def _pack(source: Path, target: Path) -> None:
    # Without a date, so that the same files make the same site.
    target.write_bytes(gzip.compress(source.read_bytes(), mtime=0))


def _write_manifest(path: Path) -> None:
    drawn = [
        {"src": f"static/icon-{side}.png", "sizes": f"{side}x{side}", "type": "image/png"}
        for side in ICON_SIDES
    ]
    largest = {**drawn[-1], "purpose": "maskable"}
    manifest = {
        "id": "./",
        "name": "Doctor Derma",
        "short_name": "Doctor Derma",
        "description": f"What a neural network sees in a dermatoscopic image. {NOTICE}",
        "lang": "en",
        "start_url": "./",
        "scope": "./",
        "display": "standalone",
        "theme_color": TEAL,
        "background_color": WHITE,
        "icons": [*drawn, largest],
    }
    path.write_text(json.dumps(manifest, indent=2) + "\n")


def _write_service_worker(site: Path) -> None:
    files = _files(site)
    digest = hashlib.sha256((OWN / SERVICE_WORKER).read_bytes())
    for name in files:
        digest.update(name.encode() + b"\0" + (site / name).read_bytes())
    kept = json.dumps(["./", *files], indent=2)
    head = f"const FILES = {kept};\nconst VERSION = {json.dumps(digest.hexdigest()[:16])};\n\n"
    (site / SERVICE_WORKER).write_text(head + (OWN / SERVICE_WORKER).read_text())


def _files(site: Path) -> list[str]:
    return sorted(path.relative_to(site).as_posix() for path in site.rglob("*") if path.is_file())
