"""What is tracked: no picture but the project's own, and nothing heavy."""

import base64
import io
import json
import re
import subprocess
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from doctor_derma.evaluation.report import CAPTIONS
from foreign_pictures import find_foreign_pictures, tracked_files

ROOT = Path(__file__).resolve().parents[1]
# Where drawings are, and what makes them. Lesions in them are synthetic: galleries of the images
# of a data set, which `derma evaluate` and `derma compare` draw, have no place here.
DRAWN = {
    "docs/screenshots/*.png": "docs/screenshots.py",
    "benchmarks/serving/results/*.png": "benchmarks/serving/run.py",
    **{f"evaluation_images/*/{name}.png": "derma evaluate, derma compare" for name in CAPTIONS},
    "evaluation_images/seeds/replicates.png": "derma compare --over-seeds",
    **{
        f"evaluation_images/audits/*/{name}.png": "derma audit"
        for name in (
            *("calibration/reliability_*", "coverage/*", "explanations/*", "subgroups/*"),
            *("robustness/*", "unfamiliar/*"),
        )
    },
}
EXCEPTED = {
    "deployment/models/*/model.onnx": "weights; model.json holds the SHA-256 of what export wrote"
}
MODELS = "deployment/models/"
MOST_BYTES_OF_A_FILE = 2_500_000
MOST_BYTES = 25_000_000


def test_no_picture_is_tracked_but_the_projects_own() -> None:
    assert find_foreign_pictures(ROOT, DRAWN, EXCEPTED) == []


def test_no_tracked_file_but_a_model_is_large() -> None:
    sizes = {path: (ROOT / path).stat().st_size for path in tracked_files(ROOT)}
    large = {path: size for path, size in sizes.items() if size > MOST_BYTES_OF_A_FILE}
    assert [path for path in large if not path.startswith(MODELS)] == []


def test_a_clone_is_light() -> None:
    """All tracked files together, models included."""
    sizes = {path: (ROOT / path).stat().st_size for path in tracked_files(ROOT)}
    largest = sorted(sizes, key=lambda path: -sizes[path])[:5]
    assert sum(sizes.values()) < MOST_BYTES, f"the largest are {', '.join(largest)}"


def picture(noise: int, kind: str) -> bytes:
    """Draw what looks like a photograph with noise and like a plot without."""
    pixels = np.full((60, 80, 3), 200) + np.random.default_rng(0).integers(-noise, noise + 1, 3)
    pixels = pixels + np.random.default_rng(1).integers(-noise, noise + 1, (60, 80, 3))
    stream = io.BytesIO()
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(stream, kind)
    return stream.getvalue()


PLOT, PHOTOGRAPH = picture(0, "PNG"), picture(50, "PNG")
JPEG, WEBP = picture(50, "JPEG"), picture(50, "WEBP")


def data_uri(content: bytes, kind: str) -> bytes:
    return b"data:image/" + kind.encode() + b";base64," + base64.b64encode(content)


def zipped(content: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("lesion.jpg", content)
    return stream.getvalue()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Make a repository with a plot, a report of it, text and a model."""
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    report = b'<link rel="icon" href="data:,"><img src="' + data_uri(PLOT, "png") + b'">'
    add(tmp_path, "evaluation_images/x/roc.png", PLOT)
    add(tmp_path, "evaluation_images/x/report.html", report)
    add(tmp_path, "icon.svg", b'<svg xmlns="http://www.w3.org/2000/svg"><path d="M0 0h9"/></svg>')
    add(tmp_path, "pins.txt", b"sha512-" + base64.b64encode(bytes(range(64))) + b"\n")
    add(tmp_path, "signature.py", b'PNG = b"data:image/png;base64,iVBORw0KGgo="\n')
    add(tmp_path, "deployment/models/champion/model.onnx", bytes(range(256)) * 20)
    return tmp_path


def add(root: Path, path: str, content: bytes) -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_bytes(content)
    subprocess.run(["git", "-C", str(root), "add", path], check=True)


def test_plots_their_report_and_models_are_the_projects_own(repository: Path) -> None:
    assert find_foreign_pictures(repository, DRAWN, EXCEPTED) == []


@pytest.mark.parametrize(
    ("path", "content", "what"),
    [
        ("evaluation_images/x/gallery_right.jpg", JPEG, ".jpg"),
        ("evaluation_images/x/gallery_right.png", PHOTOGRAPH, ".png"),
        ("evaluation_images/x/pr.png", JPEG, "JPEG at the place of a drawing"),
        ("evaluation_images/x/pr.png", PHOTOGRAPH, "looks like a photograph"),
        ("other/evaluation_images/x/pr.png", PLOT, ".png"),
        ("evaluation_images/x/deeper/pr.png", PLOT, ".png"),
        ("LESION.JPG", JPEG, ".jpg"),
        ("lesion.ppm", b"P3\n1 1\n255\n200 140 130\n", ".ppm"),
        ("lesion.txt", JPEG, "JPEG, binary"),
        ("lesion", WEBP, "WebP, binary"),
        ("lesions.zip", zipped(JPEG), "binary"),
        ("lesions.txt", "lesion".encode("utf-16-le"), "binary"),
        ("evaluation_images/x/report.html", b"<p>\n" + data_uri(JPEG, "jpeg"), "JPEG.*line 2"),
        ("evaluation_images/x/report.html", data_uri(JPEG, "png"), "JPEG"),
        ("evaluation_images/x/report.html", data_uri(PHOTOGRAPH, "png"), "PNG that is no drawing"),
        ("evaluation_images/y/report.html", data_uri(PLOT, "png"), "PNG that is no drawing"),
        ("icon.svg", b'<svg><image href="' + data_uri(WEBP, "webp") + b'"/></svg>', "WebP"),
        ("README.md", b"![A lesion](" + data_uri(JPEG, "jpeg") + b")\n", "JPEG"),
        ("page.css", b"a{background:url(" + data_uri(JPEG, "jpg") + b")}", "JPEG"),
        ("a.ipynb", json.dumps({"image/png": base64.encodebytes(JPEG).decode()}).encode(), "JPEG"),
        ("lesion.pem", base64.encodebytes(PHOTOGRAPH), "PNG"),
        ("lesion.json", json.dumps(base64.urlsafe_b64encode(JPEG).decode()).encode(), "JPEG"),
        ("lesion.py", base64.encodebytes(JPEG).replace(b"\n", b'"\n    "'), "JPEG"),
        ("lesions.json", b'"' + base64.b64encode(zipped(JPEG)) + b'"', "unknown bytes"),
    ],
)
def test_pictures_from_elsewhere_are_found(
    repository: Path, path: str, content: bytes, what: str
) -> None:
    add(repository, path, content)
    (found,) = find_foreign_pictures(repository, DRAWN, EXCEPTED)
    assert found.startswith(f"{path}: ")
    assert re.search(what, found)


def test_only_what_is_tracked_counts(repository: Path) -> None:
    (repository / "lesion.jpg").write_bytes(JPEG)
    add(repository, "gone.jpg", JPEG)
    (repository / "gone.jpg").unlink()
    assert find_foreign_pictures(repository, DRAWN, EXCEPTED) == []


def test_an_exception_is_of_one_place_only(repository: Path) -> None:
    add(repository, "docs/model.onnx", JPEG)
    (found,) = find_foreign_pictures(repository, DRAWN, EXCEPTED)
    assert found.startswith("docs/model.onnx: ")
    assert find_foreign_pictures(repository, DRAWN, [*EXCEPTED, "docs/model.onnx"]) == []
