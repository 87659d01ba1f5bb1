"""What Ray's processes do: the first ones decode a unit, the others predict its blocks."""

import pickle
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from doctor_derma.bundle import INFO_FILE, BundleInfo, read_info
from doctor_derma.decisions import Costs, Rule
from doctor_derma.distributed.predict.shards import row_schema, to_parquet
from doctor_derma.distributed.predict.units import Found, Unit, find_pictures
from doctor_derma.distributed.predict.uris import printable
from doctor_derma.images.decoding import UnreadableImage
from doctor_derma.inference.classifier import Classifier, ReadPicture, read_picture
from doctor_derma.inference.prediction import Row
from doctor_derma.inference.providers import providers_of_environment

# Pictures in the network at a time.
BATCH = 32


class Work(NamedTuple):
    """A unit with its number in the plan, and its blocks whose rows are written.

    ``last`` is the number of its last block, None where that isn't written.
    """

    number: int
    unit: Unit
    done: Sequence[int]
    last: int | None = None

    def row(self) -> dict[str, Any]:
        """Return it as a row of Ray's, which ``decode_unit`` takes."""
        return {"work": pickle.dumps(self)}


class Decoded(NamedTuple):
    """One picture of a block: its pixels, or the reason why it has none."""

    path: str
    picture: ReadPicture | None
    error: str | None


def decode_unit(row: dict[str, Any], info: BundleInfo, block: int) -> Iterator[dict[str, Any]]:
    """Read and decode the blocks of a unit that are not done yet.

    Parameters
    ----------
    row : ``Work.row()``
    info : of the bundle: the network's size, and what a fault is
    block : pictures in a block; the last one of a unit may hold fewer

    Yields
    ------
    for each block ``number``, ``block``, whether it is the unit's ``last``, and ``pictures``,
    pickled Decoded; at the end, for a shard that can't be read whole, or holds fewer pictures than
    when the blocks that are done were written, one with its ``failure``
    """
    number, unit, done, last = pickle.loads(row["work"])
    index = seen = 0
    waiting: list[Decoded] = []
    try:
        for found in find_pictures(unit):
            # A block is given when the next picture is there, so that it is known as the last
            # or not. The rest of a shard that breaks is never taken for its last block.
            if seen and seen % block == 0:
                if index not in done:
                    yield _block(number, index, waiting)
                index, waiting = index + 1, []
            if index not in done:
                waiting.append(_decode(found, info))
            seen += 1
        if not seen:
            raise ValueError("no pictures in it")
    # What file formats and object stores raise has no base class; the driver reports it.
    except Exception as error:
        reason = str(error).strip() or type(error).__name__
        yield _block(number, failure=f"{reason}, after {seen:,} pictures" if seen else reason)
        return
    written = max(done, default=-1)
    if written > index or (written == index and last != index):
        reason = f"has {seen:,} pictures, fewer than when its first rows were written"
        remedy = "bring the others back, or name a new folder"
        yield _block(number, failure=f"{reason}; {remedy}")
    elif index not in done:
        yield _block(number, index, waiting, last=True)


def _decode(found: Found, info: BundleInfo) -> Decoded:
    try:
        return Decoded(found.path, read_picture(found.load(), info), None)
    except UnreadableImage as error:
        return Decoded(found.path, None, printable(str(error)))


def _block(
    number: int,
    index: int = -1,
    pictures: Sequence[Decoded] = (),
    last: bool = False,
    failure: str = "",
) -> dict[str, Any]:
    row = {"number": number, "block": index, "last": last, "failure": printable(failure)}
    return row | {"pictures": pickle.dumps(pictures, protocol=5)}


class PackedBundle(NamedTuple):
    """A bundle without its folder, for machines that don't see that."""

    info: BundleInfo
    graph: bytes
    providers: tuple[str, ...]

    @classmethod
    def pack(
        cls, bundle: Path, rule: Rule | None = None, costs: Costs | None = None
    ) -> "PackedBundle":
        """Read a bundle, to decide and compute as ``Classifier.load`` would.

        Raises a DermaError when it isn't whole, has no such rule or ``$DERMA_PROVIDERS`` is wrong.
        """
        info = read_info(bundle).deciding(rule, costs)
        graph = (bundle / info.weights.file).read_bytes()
        # The machines of a cluster have environments of their own.
        return cls(info, graph, providers_of_environment())

    def load(self) -> Classifier:
        """Return the classifier, on one thread: there is one in each of many processes."""
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / INFO_FILE).write_text(self.info.model_dump_json())
            (Path(folder) / self.info.weights.file).write_bytes(self.graph)
            return Classifier.load(folder, threads=1, providers=self.providers)


class Predictor:
    """What each process of the second stage keeps: the network."""

    def __init__(self, bundle: PackedBundle) -> None:
        self._classifier = bundle.load()
        self._schema = row_schema(self._classifier.info)

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """Predict a block of ``decode_unit``.

        Returns
        -------
        the same ``number``, ``block``, ``last`` and ``failure``, the count of ``images`` and of
        those that ``failed``, and ``shard``, their rows as Parquet
        """
        pictures = pickle.loads(row["pictures"])
        batches = [pictures[start : start + BATCH] for start in range(0, len(pictures), BATCH)]
        rows = [row for batch in batches for row in self._predict(batch)]
        return {
            **{name: row[name] for name in ("number", "block", "last", "failure")},
            "images": len(rows),
            "failed": sum(row.error is not None for row in rows),
            "shard": to_parquet(rows, self._schema) if rows else b"",
        }

    def _predict(self, batch: Sequence[Decoded]) -> Iterator[Row]:
        good = [decoded.picture for decoded in batch if decoded.picture is not None]
        predictions = iter(self._classifier.classify(good))
        for path, picture, error in batch:
            yield Row(path, None if picture is None else next(predictions), error)
