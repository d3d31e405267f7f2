"""Names of older llama.cpp versions that programs for llama-cpp-python still use, on today's functions.

What was renamed or moved keeps working under its old name; what is gone says so by name.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from typing import Any

from . import _library

_MEMORY = ("llama_kv_self_", "llama_kv_cache_")
"""What llama_memory_* was called before it took the memory and not the context."""

_NOW_ALONE = ("defrag", "update")
"""What llama.cpp does by itself today: the old functions return without doing anything."""

FIELDS = {
    "llama_model_params": ("use_mmap", "use_mlock", "use_direct_io"),
    "llama_context_params": ("flash_attn",),
}
"""Members of older structs that are properties here, on the members which took their place."""

_AUTO, _NONE, _MMAP, _MLOCK, _BOTH, _DIRECT = -1, 0, 1, 2, 3, 4
"""enum llama_load_mode; a test compares them with the library's."""

_WITH_MMAP = {_NONE: _MMAP, _MLOCK: _BOTH, _DIRECT: _MMAP}
_WITHOUT_MMAP = {_AUTO: _NONE, _MMAP: _NONE, _BOTH: _MLOCK}
_WITH_MLOCK = {_AUTO: _BOTH, _NONE: _MLOCK, _MMAP: _BOTH, _DIRECT: _MLOCK}
_WITHOUT_MLOCK = {_MLOCK: _NONE, _BOTH: _MMAP}
_WITHOUT_DIRECT = {_DIRECT: _AUTO}
_WITH_DIRECT = dict.fromkeys((_AUTO, _NONE, _MMAP, _MLOCK, _BOTH), _DIRECT)


def add_fields(api: Any) -> None:
    """Give the structs of today the members that older ones had, where they lack them."""
    properties = {
        "use_mmap": _load_mode((_AUTO, _MMAP, _BOTH), _WITH_MMAP, _WITHOUT_MMAP),
        "use_mlock": _load_mode((_MLOCK, _BOTH), _WITH_MLOCK, _WITHOUT_MLOCK),
        "use_direct_io": _load_mode((_DIRECT,), _WITH_DIRECT, _WITHOUT_DIRECT),
        "flash_attn": property(
            lambda params: params.flash_attn_type == 1,
            lambda params, value: setattr(params, "flash_attn_type", int(bool(value))),
        ),
    }
    for struct, fields in FIELDS.items():
        kind = getattr(api, struct)
        for field in fields:
            target = "flash_attn_type" if field == "flash_attn" else "load_mode"
            if not hasattr(kind, field) and hasattr(kind, target):
                setattr(kind, field, properties[field])


def _load_mode(yes: tuple[int, ...], turn_on: dict[int, int], turn_off: dict[int, int]) -> property:
    def get(params: Any) -> bool:
        return params.load_mode in yes

    def put(params: Any, value: object) -> None:
        params.load_mode = (turn_on if value else turn_off).get(params.load_mode, params.load_mode)

    return property(get, put)


def older_names() -> list[str]:
    """Return the older names of functions that there are today under another."""
    operations = [n.removeprefix("llama_memory_") for n in _library.api()._FUNCTIONS if "llama_memory_" in n]
    return [prefix + operation for prefix in _MEMORY for operation in (*operations, *_NOW_ALONE)]


def older(name: str) -> Callable[..., Any] | None:
    """Return what an older function does today, or None if its name says nothing to us."""
    prefix = next((p for p in _MEMORY if name.startswith(p)), None)
    if prefix is None:
        return None
    operation = name.removeprefix(prefix)
    if operation in _NOW_ALONE:
        return lambda ctx: None
    if f"llama_memory_{operation}" not in _library.api()._FUNCTIONS:
        return None
    return _on_memory(operation)


def _on_memory(operation: str) -> Callable[..., Any]:
    memory: Any = _library.function("llama_get_memory")
    function: Any = _library.function(f"llama_memory_{operation}")
    if operation == "clear":  # it had no second argument, and cleared the data as well
        return lambda ctx: function(memory(ctx), True)
    return lambda ctx, *arguments: function(memory(ctx), *arguments)


def _penalties(
    penalty_last_n: int, penalty_repeat: float, penalty_freq: float, penalty_present: float, /
) -> Any:
    """Make today's sampler from the old arguments, which lacked the size of the vocabulary.

    Only a sampler that a back end runs looks at it, and llama-cpp-python attaches none.
    """
    make: Any = _library.function("llama_sampler_init_penalties")
    return make(1, penalty_last_n, penalty_repeat, penalty_freq, penalty_present)


def _dry(vocab: int, n_ctx_train: int, *arguments: Any) -> Any:
    """Make today's sampler from the old arguments, where -1 last tokens meant the context's length."""
    make: Any = _library.function("llama_sampler_init_dry")
    multiplier, base, allowed_length, last_n, breakers, count = arguments
    return make(
        vocab, multiplier, base, allowed_length, n_ctx_train if last_n == -1 else last_n, breakers, count
    )


CHANGED: dict[tuple[str, int], Callable[..., Any]] = {
    ("llama_sampler_init_penalties", 4): _penalties,
    ("llama_sampler_init_dry", 8): _dry,
}
"""Functions with other arguments than they had: (name, how many it took) → the old form of it."""


def gone(name: str) -> str:
    """Return why there is no such name, and what may be meant."""
    from ..library import library_info

    known = [*vars(_library.api()), *_library.api()._FUNCTIONS]
    close = difflib.get_close_matches(name, known, 3)
    hint = f"; did you mean {', '.join(close)}?" if close else ""
    commit = library_info().commit[:12] or "of another version"
    return (
        f"llama_ffi's llama_cpp has no {name}: it is neither in the headers of llama.cpp {commit} nor among "
        f"what llama-cpp-python adds to them (python -m llama_ffi.compat check lists what a program may "
        f"miss){hint}"
    )
