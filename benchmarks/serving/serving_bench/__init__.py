"""The parts of ``benchmarks/serving/run.py``."""
