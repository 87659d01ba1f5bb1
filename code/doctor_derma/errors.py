"""The one exception that a person can mend."""


class DermaError(Exception):
    """A mistake in the input, not in the program.

    The message is one sentence that names the file or setting, says what is wrong
    and what to do. The command line prints it without a traceback and exits with 2.
    """
