"""Pictures to post: of HAM10000 where its archives are at hand, else drawn ones."""

import zipfile
from pathlib import Path

from containers.checkout import REPOSITORY
from doctor_derma.data.synthetic.synthesis import synthesize

_ARCHIVE = REPOSITORY.parent / "shared" / "ham10000" / "HAM10000_images_part_1.zip"


def pictures(count: int, archive: Path = _ARCHIVE) -> list[bytes]:
    """Return the bytes of so many JPEG files."""
    if archive.is_file():
        with zipfile.ZipFile(archive) as images:
            names = [name for name in sorted(images.namelist()) if name.endswith(".jpg")]
            return [images.read(name) for name in names[:count]]
    drawn = synthesize({"nv": max(count, 3)}, size=(200, 150))
    return [image.read() or b"" for image in drawn[:count]]
