"""Predictions from exported bundles: from Python, on the command line, over HTTP."""
