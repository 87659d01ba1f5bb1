"""The command line, ``derma``: arguments in, a room's function called, a table out."""

from doctor_derma.cli import training, judging, publishing, predicting  # noqa: F401, I001 (their order is that of the help)
from doctor_derma.cli.entry import app, main

__all__ = ["app", "main"]
