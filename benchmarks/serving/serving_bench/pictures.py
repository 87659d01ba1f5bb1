"""The pictures that every server gets: drawn by the project, the same ones each time."""

from pathlib import Path

from doctor_derma.data.synthetic.synthesis import DEFAULT_COUNTS, synthesize

SIZE = (600, 450)


def draw_pictures(count: int, folder: Path) -> list[Path]:
    """Write ``count`` JPEGs of 600x450 at quality 90; ``count`` is a multiple of 7."""
    each = max(3, count // len(DEFAULT_COUNTS))
    paths = []
    for picture in synthesize(dict.fromkeys(DEFAULT_COUNTS, each), size=SIZE):
        paths.append(folder / f"{picture.image}.jpg")
        assert picture.read is not None
        paths[-1].write_bytes(picture.read())
    return paths
