"""The parts of ``benchmarks/replicas/run.py``."""
