"""How a release can end, and the sentence that says so."""

from enum import IntEnum


class Exit(IntEnum):
    """Exit codes of the command; 2 is argparse's own for wrong arguments."""

    RELEASED = 0
    UNCHANGED = 1  # failed before anything was released: the app runs what it ran
    USAGE = 2  # arguments or environment
    ROLLED_BACK = 3  # the new release was not healthy, and the app runs the previous one again
    BROKEN = 4  # the app runs a release that is not healthy: somebody has to look


class ReleaseError(Exception):
    """What went wrong, in one sentence that says what to do."""
