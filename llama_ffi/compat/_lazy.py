"""A package whose ``__init__`` runs when the first of its names is wanted.

llama-cpp-python's imports the ``Llama`` class and with it numpy, jinja2 and diskcache. Who imports one of its
modules, or uses the low level only, needs none of them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import ModuleType
from typing import Any


def delay(module: ModuleType, run: Callable[[], None], low: Callable[[], Any]) -> None:
    """Let ``run`` fill ``module`` when a name of it is wanted that neither it nor ``low()`` has."""
    lock, running, names = threading.RLock(), [False], vars(module)

    def fill() -> None:
        with lock:
            if running[0] or names.get("__getattr__") is not missing:
                return  # its own imports ask for what it hasn't yet; or another thread was faster
            running[0] = True
            try:
                run()
            finally:
                running[0] = False
            for name, made in own.items():
                if names.get(name) is made:
                    del names[name]

    def missing(name: str) -> Any:
        if not running[0] and not name.startswith("__"):
            declared = low()
            if name in declared.__all__:
                return getattr(declared, name)
        fill()
        try:
            return names[name]
        except KeyError:
            raise AttributeError(f"module {module.__name__!r} has no attribute {name!r}") from None

    def listed() -> list[str]:
        fill()
        return sorted(names)

    own: dict[str, Any] = {"__getattr__": missing, "__dir__": listed}
    names.update(own)
