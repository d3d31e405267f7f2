"""``Sampler``: one class with a constructor for every sampler that llama.cpp has."""

from __future__ import annotations

from .custom import Custom
from .grammars import Grammars
from .reshaping import Reshaping
from .selecting import Selecting
from .structured import Structured
from .truncating import Truncating


class Sampler(Selecting, Truncating, Reshaping, Grammars, Structured, Custom):
    """One sampler.

    C: struct llama_sampler, owned unless a chain took it.

    Made by its class methods; they have the names and arguments of ``llama_sampler_init_*``;
    :meth:`custom` takes one written in Python; :meth:`json_schema`, :meth:`regex` and :meth:`lark` are
    llguidance's.
    A ``seed`` of None is a random one; ``min_keep`` tokens stay in any case.

    Threads: one at a time (BusyError otherwise).
    """

    __slots__ = ()
