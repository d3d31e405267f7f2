"""What every sampler has: the C object's life, its name, its seed, its clones.

A sampler is owned until a chain takes it (``consumed``) and again when the chain gives it back. What the
chain must know about it - whether it selects a token, whether it reorders or drops candidates, which
vocabulary it belongs to - is kept beside the C object, in its :class:`Kind`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, TypeVar

from .._core import binding, check
from .._core.handle import Handle, owned
from .._core.owned import Owned
from ..errors import ArgumentTypeError, SamplerError
from .kind import Kind, check_clonable, copy_kind, forget_pending, noticing, sampler_name, seed_of

Self = TypeVar("Self", bound="Base")


class Base(Owned):
    """One sampler, however it was made."""

    __slots__ = ("_kind",)

    def __init__(self, pointer: Any, kind: Kind | None = None, *, keep: Iterable[Any] = ()) -> None:
        """Take over a ``struct llama_sampler *`` that raw code made."""
        active = binding.active()
        ffi = active.ffi
        if isinstance(pointer, ffi.CData) and pointer == active.NULL:
            raise SamplerError("the sampler pointer is NULL")
        wanted = ffi.typeof("struct llama_sampler *")
        if not isinstance(pointer, ffi.CData) or ffi.typeof(pointer) is not wanted:
            raise ArgumentTypeError(
                f"pointer must be a struct llama_sampler *, not {check.shown(pointer):.60}"
            )
        if kind is None and owned(pointer):
            raise SamplerError("the sampler pointer belongs to another object, which will free it")
        self._kind = Kind("custom", foreign=True) if kind is None else kind
        free = active.lib.llama_sampler_free
        self._handle = Handle(active.ffi, pointer, free, "sampler", keep=keep, exclusive=True)

    @property
    def consumed(self) -> bool:
        """Return whether a chain owns it now."""
        return self._handle.consumed

    def close(self) -> None:
        """Free it, unless a chain owns it; its Python object, if it has one, goes with it.

        C: llama_sampler_free

        Threads: any; a second close does nothing.
        """
        super().close()
        if self._kind.python is not None:
            self._kind = replace(self._kind, python=None)

    def __repr__(self) -> str:
        state = ", in a chain" if self.consumed else ", closed" if self.closed else ""
        return f"<llama_ffi.Sampler {self._kind.name}{state}>"

    @property
    def name(self) -> str:
        """Return its name; "?" in front says that its arguments switch it off.

        C: llama_sampler_name
        """
        with self._handle as pointer:
            return sampler_name(pointer)

    @property
    def seed(self) -> int | None:
        """Return the seed in use, None if it draws no random numbers (or xtc or adaptive-p, which don't
        tell).

        C: llama_sampler_get_seed
        """
        with self._handle as pointer:
            return seed_of(pointer)

    def reset(self) -> None:
        """Forget what was accepted; random numbers start over.

        C: llama_sampler_reset
        """
        with self._handle as pointer, noticing(self._kind):
            binding.active().lib.llama_sampler_reset(pointer)

    def clone(self: Self) -> Self:
        """Return a copy with the same state.

        C: llama_sampler_clone

        Raises:
            SamplerError: it was made by raw code without a ``clone`` function, or in Python without one.
        """
        active = binding.active()
        with self._handle as pointer:
            if self._kind.python is not None:
                link = self._kind.python.clone()
                return type(self)(link.make(), copy_kind(self._kind, link))
            check_clonable(pointer)
            copy = active.lib.llama_sampler_clone(pointer)
            if copy == active.NULL:
                raise SamplerError(f"the sampler {self._kind.name} could not be cloned")
            forget_pending(self._kind, copy)
            return type(self)(copy, copy_kind(self._kind), keep=self._handle.kept())
