"""Why the engine does not answer about a picture that may be perfectly good."""


class Overloaded(Exception):  # noqa: N818
    """As many pictures wait as may; the next could not be answered soon.

    Attributes
    ----------
    retry_after : seconds after which there should be room
    """

    def __init__(self, retry_after: int) -> None:
        super().__init__(f"try again in {retry_after} s")
        self.retry_after = retry_after


class Draining(Overloaded):
    """The engine is starting or stopping."""


class DeadlineExceeded(Exception):  # noqa: N818
    """The picture waited too long."""


class NetworkFailed(Exception):  # noqa: N818
    """The network failed on the picture's batch; the message is the report of it."""
