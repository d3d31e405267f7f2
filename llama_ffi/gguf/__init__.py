"""GGUF, the file format of llama.cpp: metadata of twelve types, arrays of them, and tensors.

:class:`GgufContext` is C's own object for it, which libllama takes and makes.
"""

from __future__ import annotations

from .context import ContextTensor, GgufContext
from .values import Typed

__all__ = ["ContextTensor", "GgufContext", "Typed"]
