"""The second stage: blocks of pictures to rows, with a loaded network in each process."""

import pickle
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from doctor_derma.bundle import INFO_FILE, BundleInfo, read_info
from doctor_derma.decisions import Costs, Rule
from doctor_derma.distributed.scoring.decoding import Decoded
from doctor_derma.distributed.scoring.rows import row_schema, to_parquet
from doctor_derma.inference.classifier import Classifier
from doctor_derma.inference.row import Row

# Pictures in the network at a time.
BATCH = 32


class PackedBundle(NamedTuple):
    """A bundle as bytes, for machines that don't see its folder."""

    info: bytes
    graph_file: str
    graph: bytes

    @classmethod
    def pack(
        cls, bundle: Path, rule: Rule | None = None, costs: Costs | None = None
    ) -> "PackedBundle":
        """Read a bundle that is whole, to decide as ``Classifier.load`` would.

        Raises
        ------
        DermaError
            When it isn't whole, or does not have the rule.
        """
        info = read_info(bundle).deciding(rule, costs)
        graph = (bundle / info.weights.file).read_bytes()
        return cls(info.model_dump_json().encode(), info.weights.file, graph)

    def load(self) -> Classifier:
        """Return the classifier, on one thread: there is one in each of many processes."""
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / INFO_FILE).write_bytes(self.info)
            (Path(folder) / self.graph_file).write_bytes(self.graph)
            return Classifier.load(folder, threads=1)

    @property
    def described(self) -> BundleInfo:
        """What ``model.json`` says."""
        return BundleInfo.model_validate_json(self.info)


class Scorer:
    """What each process of the second stage keeps: the network."""

    def __init__(self, bundle: PackedBundle) -> None:
        self._classifier = bundle.load()
        self._schema = row_schema(self._classifier.info)

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """Score a block of ``decode_unit``.

        Returns
        -------
        the same ``number``, ``block``, ``last`` and ``failure``, the count of ``images`` and of
        those that ``failed``, and ``part``, their rows as Parquet
        """
        rows = score_block(self._classifier, pickle.loads(row["pictures"]))
        return {
            **{name: row[name] for name in ("number", "block", "last", "failure")},
            "images": len(rows),
            "failed": sum(scored.error is not None for scored in rows),
            "part": to_parquet(rows, self._schema) if rows else b"",
        }


def score_block(classifier: Classifier, block: Sequence[Decoded]) -> list[Row]:
    """Return one row a picture, in order."""
    rows: list[Row] = []
    for start in range(0, len(block), BATCH):
        batch = block[start : start + BATCH]
        good = [decoded.picture for decoded in batch if decoded.picture is not None]
        predictions = iter(classifier.classify(good))
        for decoded in batch:
            prediction = None if decoded.picture is None else next(predictions)
            rows.append(Row(decoded.path, prediction, decoded.error))
    return rows
