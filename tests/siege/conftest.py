"""The siege takes minutes, so it is run when it is asked for: ``pytest -m siege``."""

import pytest


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if "siege" in config.option.markexpr:
        return
    left_out = [item for item in items if item.get_closest_marker("siege")]
    items[:] = [item for item in items if item not in left_out]
    config.hook.pytest_deselected(items=left_out)
