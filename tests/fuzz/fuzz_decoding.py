"""Fuzz the picture decoder with atheris, by hand; not part of the test suite.

    pip install -e '.[fuzz]'
    python tests/fuzz/fuzz_decoding.py CORPUS [-max_total_time=300 ...]

CORPUS is a folder, which is filled with the hostile files of the tests when it is empty and
keeps the inputs that reached new code. Every input must decode or raise UnreadableImage; any
other exception, a crash, 5 seconds or 1 GB is a finding, and libFuzzer writes the input down.
Further arguments are libFuzzer's.
"""

import logging
import sys
import warnings
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["PIL", "doctor_derma.images"]):
    from PIL import Image

    from doctor_derma.images.decoding import UnreadableImage, fit_pixels, open_image

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from server.hostile import hostile_files

SIDE = 64
LARGEST_SEED_BYTES = 100_000


def decode(encoded: bytes) -> None:
    """Decode as the server does."""
    try:
        picture = open_image(encoded)
    except UnreadableImage:
        return
    pixels = fit_pixels(picture, SIDE, SIDE)
    assert pixels.shape == (SIDE, SIDE, 3)


def fill(corpus: Path) -> None:
    """Put the hostile files into an empty folder, but for those too long to mutate quickly."""
    corpus.mkdir(parents=True, exist_ok=True)
    if any(corpus.iterdir()):
        return
    for number, data in enumerate(hostile_files().values()):
        if len(data) <= LARGEST_SEED_BYTES:
            (corpus / f"hostile-{number}").write_bytes(data)


def main() -> None:
    """Fill the corpus and hand over to libFuzzer."""
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    fill(Path(sys.argv[1]))
    # Pillow tells what it makes of every file.
    warnings.simplefilter("ignore")
    logging.disable()
    Image.init()
    limits = ["-timeout=5", "-rss_limit_mb=1024", f"-max_len={LARGEST_SEED_BYTES}"]
    atheris.Setup([sys.argv[0], *limits, *sys.argv[1:]], decode)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
