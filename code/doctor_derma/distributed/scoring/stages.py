"""The two stages on Ray Data: decoding feeds inference, and neither runs ahead."""

import logging
from collections.abc import Iterator, Sequence
from typing import Any

import ray
import ray.data
from ray.data import ActorPoolStrategy, DataContext
from ray.data.exceptions import ExecutionTimeoutError
from ray.exceptions import RayError

from doctor_derma.distributed.scoring.decoding import decode_unit
from doctor_derma.distributed.scoring.inference import PackedBundle, Scorer
from doctor_derma.errors import DermaError

# Shares of a processor. A network takes most of one; what is left goes to decoding.
INFERENCE_CPUS = 0.75
DECODING_CPUS = 0.25


def run_stages(
    work: Sequence[dict[str, Any]], bundle: PackedBundle, block: int
) -> Iterator[dict[str, Any]]:
    """Decode and score units on the cluster that this process has joined.

    Parameters
    ----------
    work : rows that ``decode_unit`` takes
    block : pictures in a block

    Yields
    ------
    what ``Scorer`` returns, in no particular order, each block once; the blocks of a unit
    whose processes keep dying are left out, as Ray gives up when nothing moves for half an hour

    Raises
    ------
    DermaError
        When the cluster or all that runs the network fails.
    """
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    cpus = max(1, int(ray.cluster_resources().get("CPU", 1)))
    with DataContext.current(_context()):
        scored = (
            ray.data.from_items(list(work), override_num_blocks=len(work))
            .flat_map(
                decode_unit,  # type: ignore[arg-type]
                fn_kwargs={"info": bundle.described, "block": block},
                num_cpus=DECODING_CPUS,
            )
            .map(
                Scorer,  # type: ignore[arg-type]
                fn_constructor_kwargs={"bundle": bundle},
                compute=ActorPoolStrategy(size=cpus, max_tasks_in_flight_per_actor=2),
                num_cpus=INFERENCE_CPUS,
            )
        )
        try:
            yield from scored.iter_rows()
        except ExecutionTimeoutError:
            return
        except RayError as error:
            reason = (str(error).strip().splitlines() or [type(error).__name__])[-1]
            raise DermaError(
                f"Ray stopped ({reason}); what is written stays, give the same command again"
            ) from error


def _context() -> DataContext:
    context = DataContext.get_current().copy()
    # Each row that a stage gives is a block of its own, and moves on at once.
    context.target_max_block_size = 1
    context.max_errored_blocks = -1
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    return context
