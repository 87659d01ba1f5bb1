"""Pictures that are drawn, alone and in shards, and what one machine says of them."""

import io
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from doctor_derma.images.formats import IMAGE_SUFFIXES
from doctor_derma.inference.classifier import Classifier
from doctor_derma.inference.predict import predict_sources
from doctor_derma.inference.prediction import Row

BAD = {3: b"no picture", 17: b"", 25: None}


def encoded(seed: int) -> bytes:
    """Return a JPEG of coloured noise."""
    drawing = np.random.default_rng(seed)
    tint = drawing.integers(0, 255, 3)
    noise = drawing.integers(0, 60, (18, 24, 3))
    stream = io.BytesIO()
    pixels = np.clip(tint + noise, 0, 255).astype(np.uint8)
    Image.fromarray(pixels).save(stream, "JPEG", quality=95)
    return stream.getvalue()


def draw(folder: Path, count: int) -> Path:
    """Write pictures; the third or so is no picture, one is empty and one is cut short."""
    for seed in range(count):
        path = folder / f"{seed % 3}" / f"p{seed:04}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        data = BAD.get(seed, encoded(seed))
        path.write_bytes(encoded(seed)[:300] if data is None else data)
    return folder


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.suffix in IMAGE_SUFFIXES)


def write_tar(path: Path, members: Iterable[tuple[str, bytes]], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, data in members:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


def write_parquet(path: Path, columns: dict[str, Any], group: int = 7) -> Path:
    pq.write_table(pa.table(columns), path, row_group_size=group)
    return path


def expected(classifier: Classifier, sources: Iterable[tuple[str, Any]]) -> list[Row]:
    """Return the rows that one machine gives, by path."""
    return sorted(predict_sources(classifier, sources), key=lambda row: row.path)


def written(out: Path) -> list[dict[str, Any]]:
    """Return the rows of an output folder, by path."""
    rows = pq.read_table(out / "predictions").to_pylist()
    return sorted(rows, key=lambda row: row["path"])


def assert_same(found: list[dict[str, Any]], wanted: list[Row]) -> None:
    """Compare all that rows say; probabilities and unfamiliarity within 1e-5."""
    assert [row["path"] for row in found] == [row.path for row in wanted]
    assert [row["error"] for row in found] == [row.error for row in wanted]
    assert [row["label"] for row in found] == [row.label for row in wanted]
    assert [row["rule"] for row in found] == [row.rule for row in wanted]
    for row, want in zip(found, wanted, strict=True):
        if want.prediction is None:
            assert row["prediction_set"] is None
            assert row["mel"] is None
            continue
        chances = {name: row[name] for name in want.probabilities}
        assert chances == pytest.approx(want.probabilities, abs=1e-5)
        assert row["unfamiliarity"] == pytest.approx(want.prediction.unfamiliarity, abs=1e-5)
        assert tuple(row["prediction_set"]) == want.prediction.prediction_set
        assert row["abstention"] == want.prediction.abstention
        assert tuple(row["warnings"]) == want.prediction.warnings
