"""Metrics with intervals, pictures and reports, from labels and probabilities alone."""
