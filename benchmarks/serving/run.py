"""The server against what the machine can do and against other servers, one run.

The same model, pictures and machine for all; the load comes from processes of its own:

- ceiling: ONNX Runtime and Pillow in one process, without HTTP.
- ours: ``derma serve`` on loopback.
- peers: BentoML, LitServe, ``mlflow models serve``, Flask with torch, each as its own
  documentation has it, see ``peers/``. They need an environment of their own, for --peers:
  python -m venv PEERS && PEERS/bin/pip install -r benchmarks/serving/peers/requirements.txt

Takes about an hour, or 5 minutes with --quick; needs Linux, wrk and an idle machine.
"""

import argparse
import json
import os
import platform
import shutil
import signal
import sys
import tempfile
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import onnxruntime
from rich.console import Console
from serving_bench.closed_loop import find_wrk
from serving_bench.contenders import HERE, contenders
from serving_bench.measuring import QUICK, Plan, measure_server, module, throughput
from serving_bench.pictures import draw_pictures, expected_labels
from serving_bench.plot import draw
from serving_bench.serving import missing
from serving_bench.table import blocks, markdown, show

from doctor_derma.atomic import replacing_file
from doctor_derma.cpus import usable_cpus
from doctor_derma.errors import DermaError
from doctor_derma.workspace import Workspace

NAMES = ("ceiling", "ours", "bentoml", "litserve", "mlflow", "flask")
# Of other work, in processors.
IDLE = 0.3
SAY = Console(stderr=True, highlight=False)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", help=f"with commas between: {','.join(NAMES)}")
    parser.add_argument("--quick", action="store_true", help="a try in seconds a server")
    parser.add_argument(
        "--peers",
        type=Path,
        default=os.environ.get("DERMA_BENCH_PEERS"),
        help="Python of the peers' environment (or DERMA_BENCH_PEERS)",
    )
    parser.add_argument("--model", type=Path, help="bundle; default: the champion")
    parser.add_argument("--previous", type=Path, help="another bundle, to compare throughput with")
    parser.add_argument("--int8", type=Path, help="the model in 8 bits, to compare throughput with")
    parser.add_argument("--soak", type=int, help="requests while our memory is watched")
    parser.add_argument("--peer-soak", type=int, help="the same for peers")
    parser.add_argument("--seconds", type=float, help="of each measurement")
    parser.add_argument("--deadline", type=float, help="seconds that a client waits")
    parser.add_argument("--port", type=int, default=5800, help="the first of five")
    parser.add_argument("--results", type=Path, default=HERE / "results")
    parser.add_argument("--markdown", action="store_true", help="print Markdown")
    return parser.parse_args()


def plan_of(given: argparse.Namespace) -> Plan:
    changes = {
        name: getattr(given, name)
        for name in ("soak", "peer_soak", "seconds", "deadline")
        if getattr(given, name) is not None
    }
    return replace(QUICK if given.quick else Plan(), **changes)


def wanted_of(given: argparse.Namespace) -> list[str]:
    wanted = given.only.split(",") if given.only else list(NAMES)
    if unknown := [name for name in wanted if name not in NAMES]:
        raise DermaError(f"--only: '{unknown[0]}' is none of {', '.join(NAMES)}; choose of those")
    return wanted


def machine() -> dict[str, Any]:
    """Describe where this runs."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "processor": models[0] if models else platform.machine(),
        "processors": usable_cpus(),
        "python": platform.python_version(),
        "onnxruntime": onnxruntime.__version__,
        "load_before": os.getloadavg()[0],
    }


def measure(given: argparse.Namespace, scratch: Path) -> dict[str, Any]:
    """Measure everything that is wanted."""
    plan, wanted = plan_of(given), wanted_of(given)
    bundle = (given.model or Workspace.find().champion).resolve()
    # Not resolved: a virtual environment's Python is a link, and known by its place.
    python = Path(os.path.abspath(given.peers)) if given.peers else scratch / "no-python"  # noqa: PTH100
    folder = scratch / "pictures"
    folder.mkdir()
    pictures = draw_pictures(plan.pictures, folder)
    results: dict[str, Any] = {
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "plan": asdict(plan),
        "bundle": bundle.name,
        "pictures": {
            "count": len(pictures),
            "mean_bytes": sum(path.stat().st_size for path in pictures) / len(pictures),
        },
        "servers": {},
    }
    if (load := results["machine"]["load_before"]) > IDLE:
        SAY.print(f"The machine does other work (load {load:.1f}): the figures will mean little.")
    if "ceiling" in wanted:
        SAY.print("ceiling")
        quick = ["--quick"] if given.quick else []
        seconds = ("--seconds", plan.ceiling_seconds)
        results["ceiling"] = module("ceiling", bundle, folder, *seconds, *quick, stderr=None)
    expected = expected_labels(bundle, pictures)
    for contender in contenders(bundle, python, given.port, scratch):
        if contender.name not in wanted:
            continue
        with SAY.status(contender.name) as status:

            def say(what: str, name: str = contender.name) -> None:
                status.update(f"{name}: {what}")
                if not SAY.is_terminal:
                    SAY.print(f"{name}: {what}")

            reason = missing(contender)
            try:
                found = (
                    {"not_measured": reason}
                    if reason
                    else measure_server(contender, plan, bundle, expected, scratch, say)
                )
            except DermaError as error:
                if contender.name == "ours":
                    raise
                found = {"not_measured": str(error)}
        results["servers"][contender.name] = found
    for name in ("previous", "int8"):
        if other := getattr(given, name):
            ours, *_ = contenders(other.resolve(), python, given.port, scratch)
            SAY.print(f"the bundle {other}")
            results[name] = throughput(ours, plan, other.resolve(), pictures, scratch / name)
    return results


def main() -> None:
    given = parse()
    # As Ctrl+C does it: through every block that ends a server.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(143))
    scratch = Path(tempfile.mkdtemp(prefix="serving-benchmark-"))
    try:
        find_wrk()
        results = measure(given, scratch)
    except DermaError as error:
        raise SystemExit(str(error)) from None
    except KeyboardInterrupt:
        raise SystemExit("Stopped; every server has been ended.") from None
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    name = "quick" if given.quick else "serving"
    path = given.results / f"{name}.json"
    with replacing_file(path) as beside:
        beside.write_text(json.dumps(results, indent=1) + "\n")
    draw(results, path.with_suffix(".png"))
    # Where there is no terminal, rich takes 80 columns.
    screen = Console(highlight=False, width=None if sys.stdout.isatty() else 120)
    for block in blocks(results):
        if given.markdown:
            print(markdown(block) + "\n")
        else:
            show(block, screen)
    SAY.print(f"Written: {path} and {path.with_suffix('.png').name}")


if __name__ == "__main__":
    main()
