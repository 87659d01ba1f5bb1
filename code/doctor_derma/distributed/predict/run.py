"""What ``derma predict --engine ray`` does: two stages on Ray Data, the rows written here."""

import logging
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.progress import MofNCompleteColumn, Progress, TextColumn

from doctor_derma.decisions import Costs, Rule
from doctor_derma.distributed.cluster import cluster
from doctor_derma.distributed.predict.plan import Plan, Sizes, check_folder, open_plan
from doctor_derma.distributed.predict.shards import Shards, locked, row_schema
from doctor_derma.distributed.predict.stages import PackedBundle, Predictor, Work, decode_unit
from doctor_derma.distributed.predict.uris import printable
from doctor_derma.errors import DermaError
from doctor_derma.inference.providers import ON_GPUS, VARIABLE
from doctor_derma.terminal import terminal

# Shards that a message names.
NAMED = 5
# Of a processor. A network takes most of one; what is left goes to decoding.
NETWORK_CPUS = 0.75
DECODING_CPUS = 0.25


@dataclass(frozen=True)
class Predicted:
    """What a call has done.

    Attributes
    ----------
    images : rows that it wrote
    failed : those of pictures that couldn't be read
    seconds : time it took, with starting Ray
    skipped : shards of an earlier call, which stayed as they were
    """

    images: int
    failed: int
    seconds: float
    skipped: int


def predict_on_ray(
    sources: Sequence[str],
    bundle: Path,
    out: Path,
    address: str | None = None,
    sizes: Sizes | None = None,
    rule: Rule | None = None,
    costs: Costs | None = None,
) -> Predicted:
    """Classify any number of pictures into Parquet files, or go on where a call was stopped.

    Parameters
    ----------
    sources : pictures, folders, patterns, tar shards and Parquet files, local or as URIs
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
    row_schema(packed.info)
    out = out.expanduser()
    check_folder(out)
    with locked(out):
        plan = open_plan(out, sources, packed.info, sizes or Sizes())
        shards = Shards(out)
        skipped = len(shards)
        images, failed, failures = _predict_missing(plan, packed, shards, address)
        if missing := shards.missing(len(plan.units)):
            raise DermaError(_what_is_missing(plan, missing, failures, images))
    return Predicted(images, failed, time.perf_counter() - started, skipped)


def _predict_missing(
    plan: Plan, packed: PackedBundle, shards: Shards, address: str | None
) -> tuple[int, int, dict[int, str]]:
    """Return the counts of rows and of those with errors, and why units are not whole."""
    images = failed = 0
    failures: dict[int, str] = {}
    total = len(plan.units)
    missing = shards.missing(total)
    work = [Work(n, plan.units[n], shards.done(n), shards.last(n)) for n in missing]
    if not work:
        return images, failed, failures
    # Before Ray is imported. Its core warns on standard error of the actors that Ray Data makes.
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    with cluster(address), _progress() as progress:
        task = progress.add_task("Predicting", total=total, completed=total - len(work), done="0")
        for row in _run_stages(work, packed, plan.block):
            number = row["number"]
            if row["failure"]:
                failures[number] = row["failure"]
                continue
            shards.write(number, row["block"], row["last"], row["shard"])
            images += row["images"]
            failed += row["failed"]
            progress.update(task, advance=shards.is_whole(number), done=f"{images:,}")
    return images, failed, failures


def _run_stages(work: Sequence[Work], bundle: PackedBundle, block: int) -> Iterator[dict[str, Any]]:
    """Yield what ``Predictor`` returns, in no particular order, each block once.

    The blocks of a unit whose processes keep dying are left out, as Ray gives up when nothing
    moves for half an hour.
    """
    import ray
    import ray.data
    from ray.data import ActorPoolStrategy, DataContext
    from ray.data.exceptions import ExecutionTimeoutError
    from ray.exceptions import RayError

    logging.getLogger("ray.data").setLevel(logging.ERROR)
    networks, gpus = _networks(bundle.providers, ray.cluster_resources())
    context = DataContext.get_current().copy()
    # Each row that a stage gives is a block of its own, and moves on at once.
    context.target_max_block_size = 1
    context.max_errored_blocks = -1
    context.enable_progress_bars = context.print_on_execution_start = False
    with DataContext.current(context):
        predicted = (
            ray.data.from_items([one.row() for one in work], override_num_blocks=len(work))
            .flat_map(
                decode_unit,  # type: ignore[arg-type]
                fn_kwargs={"info": bundle.info, "block": block},
                num_cpus=DECODING_CPUS,
            )
            .map(
                Predictor,  # type: ignore[arg-type]
                fn_constructor_kwargs={"bundle": bundle},
                compute=ActorPoolStrategy(size=networks, max_tasks_in_flight_per_actor=2),
                num_cpus=NETWORK_CPUS,
                num_gpus=gpus,
            )
        )
        try:
            yield from predicted.iter_rows()
        except ExecutionTimeoutError:
            return
        except RayError as error:
            reason = (str(error).strip().splitlines() or [type(error).__name__])[-1]
            raise DermaError(
                f"Ray stopped ({reason}); what is written stays, give the same command again"
            ) from error


def _networks(providers: Sequence[str], there: Mapping[str, float]) -> tuple[int, int]:
    """Return how many processes of a cluster have a network each, and how many GPUs one takes."""
    on_gpus = [name for name in providers if name in ON_GPUS]
    if not on_gpus:
        return max(1, int(there.get("CPU", 1))), 0
    # From a process that takes none, Ray hides them.
    if not (gpus := int(there.get("GPU", 0))):
        raise DermaError(
            f"{VARIABLE}: {on_gpus[0]} needs a GPU, and Ray sees none on its machines; "
            f"add one, or unset {VARIABLE}"
        )
    return gpus, 1


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
    died = "the processes that read it died"
    named = ", ".join(
        f"{printable(plan.units[number].uris[0])} ({failures.get(number, died)})"
        for number in missing[:NAMED]
    )
    more = f" and {len(missing) - NAMED:,} more" if len(missing) > NAMED else ""
    return (
        f"{named}{more}: not read whole; the rows of all else are written, {images:,} "
        "of them by this call; mend these and give the same command again"
    )
