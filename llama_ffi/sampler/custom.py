"""Samplers written in Python: what one looks like, and how it becomes a link of a chain."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from .base import Base
from .kind import Kind

if TYPE_CHECKING:
    from .candidates import Candidates

S = TypeVar("S", bound=Base)


class PythonSampler:
    """Base of samplers written in Python; any other class with an ``apply`` will do as well.

    C: struct llama_sampler_i

    ``chain.add_custom(MySampler())`` makes it a link of a chain, at any place where a sampler of its kind may
    stand. Define ``clone()``, which returns a copy with the same state, if the chain is to be cloned.

    An exception in a method ends the call that led to it (``sample``, ``apply``, ``accept``, ``reset``,
    ``clone``) and is raised there. When ``apply`` has raised, nothing behind it in the chain has run and no
    token was accepted; when ``accept`` or ``reset`` has, the other samplers have done it all the same.

    Threads: the methods run on the thread that uses the chain, with the GIL, while chain and context are
    busy: using either of them in a method is a BusyError.
    """

    name: str = "python"
    """its name in ``chain.names`` and in messages"""
    selects: bool = False
    """it selects a token (sets ``candidates.selected``)"""
    reorders: bool = True
    """it moves or drops candidates; say False to put it where that is forbidden, in front of a grammar or
    behind what selects"""

    def apply(self, candidates: Candidates) -> None:
        """Change the candidates: their logits, their order, their number, or which of them is selected.

        Arguments:
            candidates: lent for this call; *borrowed*: its arrays are C's memory, not copies. A view that is
                kept beyond the call is harmless: it shows memory that C no longer uses.

        What is left is looked at before the next sampler runs: at least one candidate, no NaN and no +inf
        among the logits, every id in the vocabulary, the selection among the candidates (else SamplerError);
        ``sorted`` is put right if it isn't true.

        Raises:
            NotImplementedError: the subclass doesn't define it.
        """
        raise NotImplementedError(f"{type(self).__name__} must define apply(candidates)")

    def accept(self, token: int) -> None:
        """Note that a token was chosen."""

    def reset(self) -> None:
        """Forget what was accepted."""


class _Function(PythonSampler):
    """A function as a sampler; clones share it."""

    def __init__(self, function: Callable[[Candidates], object], name: str | None) -> None:
        self.apply = function  # type: ignore[method-assign, assignment]
        self.name = name if name is not None else getattr(function, "__name__", "python")

    def clone(self) -> _Function:
        return self


class Custom(Base):
    """The constructor of samplers written in Python."""

    __slots__ = ()

    @classmethod
    def custom(
        cls: type[S],
        sampler: PythonSampler | Callable[[Candidates], object] | Any,
        *,
        name: str | None = None,
        selects: bool | None = None,
        reorders: bool | None = None,
    ) -> S:
        """Make a sampler of a Python object or of a function.

        C: llama_sampler_init

        Arguments:
            sampler: an object with ``apply(candidates)`` and, if it likes, ``accept(token)``, ``reset()``,
                ``clone()``; or a function that is such an ``apply``. It lives as long as the C sampler; if it
                refers to its own chain, only ``close()`` ends both.
            name, selects, reorders: instead of the object's attributes, see :class:`PythonSampler`.

        Raises:
            ArgumentTypeError: it has no ``apply`` and can't be called.
        """
        from .python import Link  # with numpy, which a chain without Python needn't load

        if not hasattr(sampler, "apply") and callable(sampler):
            sampler = _Function(sampler, name)
        link = Link(sampler, name=name, selects=selects, reorders=reorders)
        kind = Kind(link.name, selects=link.selects, reorders=link.reorders, python=link)
        return cls(link.make(), kind)
