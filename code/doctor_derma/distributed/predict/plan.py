"""The plan of a bulk prediction: written once, gone on with by every later call."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from doctor_derma.atomic import replacing_file
from doctor_derma.bundle import BundleInfo
from doctor_derma.distributed.predict.units import Unit, make_units
from doctor_derma.distributed.predict.uris import absolute, list_files, printable
from doctor_derma.errors import DermaError

PLAN_FILE = "plan.json"
FORMAT = 3
UNIT_PICTURES = 1024
# Decoded pictures that travel, are predicted and are written together.
BLOCK_BYTES = 24_000_000
BLOCK_PICTURES = 1024


@dataclass(frozen=True)
class Sizes:
    """How much is done at a time, in pictures; None for what fits the memory.

    Attributes
    ----------
    unit : loose pictures that one task reads
    block : pictures of one shard of the output; None: as many as ``BLOCK_BYTES`` hold, and
        ``BLOCK_PICTURES`` at most
    """

    unit: int = UNIT_PICTURES
    block: int | None = None


@dataclass(frozen=True)
class Plan:
    """Which pictures are predicted with what.

    Attributes
    ----------
    sources : absolute paths and URIs
    weights_sha256 : of the bundle's graph
    decision : how labels are decided, as in ``model.json``
    unit, block : sizes in pictures
    """

    sources: tuple[str, ...]
    weights_sha256: str
    decision: dict[str, Any]
    unit: int
    block: int
    units: tuple[Unit, ...]


def check_folder(out: Path) -> None:
    """Raise a DermaError for a folder that is neither new, nor empty, nor that of a plan."""
    if out.is_file():
        raise DermaError(f"{out}: a file; name a folder for the predictions")
    if not out.is_dir() or (out / PLAN_FILE).is_file():
        return
    # A call that was killed before its plan was whole leaves hidden files.
    if any(not entry.name.startswith(".") for entry in out.iterdir()):
        raise DermaError(f"{out}: holds other files and no {PLAN_FILE}; name a new or empty folder")


def open_plan(out: Path, sources: Sequence[str], info: BundleInfo, sizes: Sizes) -> Plan:
    """Return the plan of a folder, after making it when the folder is new or empty.

    A plan that is there stays as it is: pictures that came since are not in it.

    Raises
    ------
    DermaError
        When the folder holds another plan, or the sources name nothing.
    """
    fitting = BLOCK_BYTES // (info.input.height * info.input.width * 3)
    wanted: dict[str, Any] = {
        "sources": tuple(absolute(source) for source in sources),
        "weights_sha256": info.weights.sha256,
        "decision": info.decision.model_dump(mode="json"),
        "unit": sizes.unit,
        "block": sizes.block or max(1, min(fitting, BLOCK_PICTURES)),
    }
    for name in ("unit", "block"):
        if wanted[name] < 1:
            raise DermaError(f"{name}: {wanted[name]} is too few; give 1 or more")
    path = out / PLAN_FILE
    if path.is_file():
        plan = _read(path)
        if other := _what_differs(plan, wanted):
            raise DermaError(f"{path}: plans {other}, or name a new folder")
        return plan
    units = tuple(make_units(list_files(wanted["sources"]), wanted["unit"]))
    plan = Plan(**wanted, units=units)
    with replacing_file(path) as scratch:
        # In ASCII, with file names that are not UTF-8 too.
        scratch.write_text(json.dumps({"format": FORMAT} | asdict(plan)) + "\n")
    return plan


def _read(path: Path) -> Plan:
    try:
        fields = json.loads(path.read_text())
        if fields.pop("format") not in (2, FORMAT):
            raise ValueError("of another version")
        for unit in fields["units"]:
            unit["uris"] = tuple(unit.pop("places", None) or unit["uris"])  # "places" in format 2
            unit["groups"] = unit["groups"] and tuple(unit["groups"])
        fields["units"] = tuple(Unit(**unit) for unit in fields["units"])
        return Plan(**fields | {"sources": tuple(fields["sources"])})
    except (KeyError, TypeError, ValueError, OSError) as error:
        raise DermaError(f"{path}: can't be read ({error}); name a new folder") from error


def _what_differs(plan: Plan, wanted: dict[str, Any]) -> str | None:
    """Say what a plan is for that is not wanted, and what to take for it; None if it is the one."""
    if plan.sources != wanted["sources"]:
        return f"the prediction of {', '.join(map(printable, plan.sources))}; take those"
    if plan.weights_sha256 != wanted["weights_sha256"]:
        known = plan.weights_sha256[:12]
        return f"the prediction with another model, of weights {known}; take that model"
    if plan.decision != wanted["decision"]:
        rule = plan.decision["default"]
        remedy = "take that rule with its thresholds and costs"
        return f"labels by the rule '{rule}', as it was set then; {remedy}"
    for name, size in (("unit", plan.unit), ("block", plan.block)):
        if size != wanted[name]:
            return f"{name}s of {size} pictures, not {wanted[name]}; take that size"
    return None
