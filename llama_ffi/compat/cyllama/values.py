"""Numbers and texts that can be called.

In cyllama's early releases ``ctx.n_ctx()`` and ``model.desc()`` were methods, in later ones they are
properties. What these classes hold is both: the value itself, and a function that returns it.
"""

from __future__ import annotations


class Int(int):
    """A whole number; calling it gives a plain ``int``."""

    __slots__ = ()

    def __call__(self) -> int:
        return int(self)


class Real(float):
    """A real number; calling it gives a plain ``float``."""

    __slots__ = ()

    def __call__(self) -> float:
        return float(self)


class Text(str):
    """A text; calling it gives a plain ``str``."""

    __slots__ = ()

    def __call__(self) -> str:
        return str(self)
