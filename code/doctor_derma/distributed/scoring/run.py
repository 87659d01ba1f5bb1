"""What ``derma predict --engine ray`` does."""

import json
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.progress import MofNCompleteColumn, Progress, TextColumn

from doctor_derma.decisions import Costs, Rule
from doctor_derma.distributed.cluster import cluster
from doctor_derma.distributed.scoring.inference import PackedBundle
from doctor_derma.distributed.scoring.parts import Parts, locked
from doctor_derma.distributed.scoring.places import shown
from doctor_derma.distributed.scoring.plan import Plan, Sizes, check_folder, open_plan
from doctor_derma.distributed.scoring.rows import row_schema
from doctor_derma.errors import DermaError
from doctor_derma.terminal import terminal

# Shards that a message names.
NAMED = 5


@dataclass(frozen=True)
class Scored:
    """What a call has done.

    Attributes
    ----------
    images : rows that it wrote
    failed : those of pictures that couldn't be read
    seconds : time it took, with starting Ray
    skipped : parts of an earlier call, which stayed as they were
    """

    images: int
    failed: int
    seconds: float
    skipped: int


def score(
    sources: Sequence[str],
    bundle: Path,
    out: Path,
    address: str | None = None,
    sizes: Sizes | None = None,
    rule: Rule | None = None,
    costs: Costs | None = None,
) -> Scored:
    """Classify any number of pictures into Parquet files, or go on where a call was stopped.

    Parameters
    ----------
    sources : pictures, folders, patterns, tar shards and Parquet files, local or as addresses
        that fsspec knows, such as ``s3://bucket/folder``
    bundle : folder with the model
    out : local folder of ``plan.json`` and ``predictions/*.parquet``, one row a picture;
        only this process writes there
    address : Ray cluster, see ``cluster``
    sizes : pictures at a time; by the size of the network's input when None
    rule, costs : of the decisions, see ``Classifier.load``

    Raises
    ------
    DermaError
        When there is no model, no picture or no cluster, ``out`` holds something else, or,
        after all others are done, for shards that can't be read.
    """
    started = time.perf_counter()
    packed = PackedBundle.pack(bundle.expanduser(), rule, costs)
    row_schema(packed.described)
    out = out.expanduser()
    check_folder(out)
    with locked(out):
        plan = open_plan(out, sources, packed.described, sizes or Sizes())
        parts = Parts(out)
        skipped = len(parts)
        images, failed, failures = _score_missing(plan, packed, parts, address)
        if missing := parts.missing(plan.units):
            raise DermaError(_what_is_missing(plan, missing, failures, images))
    return Scored(images, failed, time.perf_counter() - started, skipped)


def _score_missing(
    plan: Plan, packed: PackedBundle, parts: Parts, address: str | None
) -> tuple[int, int, dict[int, str]]:
    """Return the counts of rows and of those with errors, and why units are not whole."""
    images = failed = 0
    failures: dict[int, str] = {}
    work = [
        {
            "number": number,
            "unit": plan.units[number].to_json(),
            "done": json.dumps(parts.done(number)),
        }
        for number in parts.missing(plan.units)
    ]
    if not work:
        return images, failed, failures
    # Before Ray is imported. Its core warns on standard error of the actors that Ray Data makes.
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    with cluster(address), _progress() as progress:
        from doctor_derma.distributed.scoring.stages import run_stages

        total = len(plan.units)
        task = progress.add_task("Scoring", total=total, completed=total - len(work), done="0")
        for row in run_stages(work, packed, plan.block):
            number = row["number"]
            if row["failure"]:
                failures[number] = row["failure"]
                continue
            parts.write(number, row["block"], row["last"], row["part"])
            images += row["images"]
            failed += row["failed"]
            progress.update(task, advance=parts.is_whole(number), done=f"{images:,}")
    return images, failed, failures


def _progress() -> Progress:
    console = terminal(error=True)
    return Progress(
        *Progress.get_default_columns(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[done]} pictures"),
        console=console,
        transient=True,
        disable=not console.is_terminal,
        redirect_stdout=False,
    )


def _what_is_missing(
    plan: Plan, missing: Sequence[int], failures: dict[int, str], images: int
) -> str:
    named = []
    for number in missing[:NAMED]:
        place = shown(plan.units[number].places[0])
        named.append(f"{place} ({failures.get(number, 'the processes that read it died')})")
    more = f" and {len(missing) - NAMED:,} more" if len(missing) > NAMED else ""
    return (
        f"{', '.join(named)}{more}: not read whole; the rows of all else are written, {images:,} "
        "of them by this call; mend these and give the same command again"
    )
