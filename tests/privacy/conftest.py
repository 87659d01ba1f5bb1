"""The pictures of the tests of serving."""

from server.conftest import pictures

__all__ = ["pictures"]
