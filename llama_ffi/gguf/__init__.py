"""GGUF files: read, write and edit them; nothing is believed that a file says.

    import llama_ffi as lf

    with lf.gguf.read("model.gguf") as file:
        file.metadata["general.architecture"]
        file.tensors["token_embd.weight"].shape       # numpy's order; .ne has ggml's
        file.tensors["token_embd.weight"].dequantize()

    lf.gguf.write("out.gguf", {"general.name": "mine"}, {"weights": array})
    lf.gguf.edit("model.gguf", "named.gguf", set={"general.name": "mine"}, remove=["general.url"])

:class:`GgufContext` is C's own object, which libllama takes and makes.

The reader and the writer are this package's own, in Python. Reading metadata, names and shapes needs no
library; how many bytes a quantized block takes is asked of ggml (see ``_core/gguf_types.py``).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .context import ContextTensor, GgufContext
    from .editing import edit
    from .reader import Field, GgufFile, Metadata, read
    from .tensor import GgufTensor
    from .values import Typed
    from .writer import GgufWriter, write

_HOME = {
    "ContextTensor": "context",
    "Field": "reader",
    "GgufContext": "context",
    "GgufFile": "reader",
    "GgufTensor": "tensor",
    "GgufWriter": "writer",
    "Metadata": "reader",
    "Typed": "values",
    "edit": "editing",
    "read": "reader",
    "write": "writer",
}

__all__ = [
    "ContextTensor",
    "Field",
    "GgufContext",
    "GgufFile",
    "GgufTensor",
    "GgufWriter",
    "Metadata",
    "Typed",
    "edit",
    "read",
    "write",
]


def __getattr__(name: str) -> Any:
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{home}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
