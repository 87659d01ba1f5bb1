"""Rows of predictions as Parquet."""

import io
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from doctor_derma.bundle import BundleInfo
from doctor_derma.errors import DermaError
from doctor_derma.inference.notice import NOTICE
from doctor_derma.inference.row import Row

_BEFORE = (("path", pa.string()), ("label", pa.string()), ("rule", pa.string()))
_AFTER = (
    ("prediction_set", pa.list_(pa.string())),
    ("abstention", pa.string()),
    ("unfamiliarity", pa.float32()),
    ("warnings", pa.list_(pa.string())),
    ("error", pa.string()),
)


def row_schema(info: BundleInfo) -> pa.Schema:
    """Return the columns, with the weights' SHA-256 and the notice as metadata.

    Raises
    ------
    DermaError
        When a class is called like another column.
    """
    columns = [*_BEFORE, *((name, pa.float32()) for name in info.class_names), *_AFTER]
    names = [name for name, _ in columns]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise DermaError(f"{info.name}: a class is called '{twice}', as another column is")
    about = {"notice": NOTICE, "model": info.name, "weights_sha256": info.weights.sha256}
    return pa.schema(columns, metadata=about)


def to_parquet(rows: Sequence[Row], schema: pa.Schema) -> bytes:
    """Return rows as a Parquet file; all but path and error of a bad picture are null."""
    columns: dict[str, list[object]] = {name: [] for name in schema.names}
    for row in rows:
        prediction = row.prediction
        cells: dict[str, object] = {"path": row.path, "error": row.error}
        if prediction is not None:
            cells |= {
                **prediction.probabilities,
                "label": prediction.label,
                "rule": prediction.rule,
                "prediction_set": list(prediction.prediction_set),
                "abstention": prediction.abstention,
                "unfamiliarity": prediction.unfamiliarity,
                "warnings": list(prediction.warnings),
            }
        for name, column in columns.items():
            column.append(cells.get(name))
    stream = io.BytesIO()
    pq.write_table(pa.table(columns, schema=schema), stream, compression="zstd")
    return stream.getvalue()
