"""The pictures of the tests of serving."""

from serving.conftest import pictures

__all__ = ["pictures"]
