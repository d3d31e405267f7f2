"""A plugin of pytest for the tests of others: which are left out, and how many processors they see.

Tests are left out by their whole names; --deselect takes beginnings of names. One processor: the tests ask
for as many threads as there are, and with other tests beside them two threads wait for each other most of the
time.
"""

from __future__ import annotations

import json
import multiprocessing
import os

import pytest


def pytest_configure() -> None:
    multiprocessing.cpu_count = lambda: 1


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    names = json.loads(os.environ["COMPAT_LEAVE_OUT"])
    left_out = [item for item in items if f"{item.path.stem}.{item.name}" in names]
    items[:] = [item for item in items if item not in left_out]
    config.hook.pytest_deselected(items=left_out)
