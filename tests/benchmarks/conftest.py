"""The benchmarks are scripts beside the package; their parts are found where they lie."""

import sys
from pathlib import Path

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
sys.path[:0] = [str(BENCHMARKS / "serving"), str(BENCHMARKS)]
