"""A library that we didn't build: prove its struct layouts at run time, without a compiler.

Three questions, each harmless to ask a library of another version:

1. *Extent.* ``llama_*_default_params()`` and ``llama_batch_get_one()`` return a struct through a hidden
   pointer. Called with a pointer
   into an oversized buffer, twice, over two complementary patterns, it shows which bytes it writes: a byte
   that is equal afterwards was written. The last written byte is the end of the last field.
2. *Defaults.* Every field must hold the default that llama.cpp gives it: fields that moved hold others'.
3. *Effect.* Fields are set, a context is made, and its getters must answer what was set.

What remains are neighbours of equal size and equal default whose effect no getter shows;
:func:`indistinguishable` lists them.
"""

from __future__ import annotations

import itertools
import os
import platform
from collections.abc import Callable, Mapping
from typing import Any

from ..errors import AbiMismatchError
from .search import LibrarySet

_BUFFER = 4096
_PATTERNS = (0xAA, 0x55)
_ARGUMENTS = (0x10, 3)
"""What every function is called with: those that take nothing don't look, llama_batch_get_one takes a pointer
to tokens, which it only stores, and their number. The guard passes the same."""

DEFAULTS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "struct llama_model_params": (
        "llama_model_default_params",
        {"n_gpu_layers": -1, "split_mode": 1, "load_mode": -1, "lazy_mode": 1, "use_extra_bufts": True},
    ),
    "struct llama_context_params": (
        "llama_context_default_params",
        {
            "n_ctx": 512,
            "n_batch": 2048,
            "n_ubatch": 512,
            "n_seq_max": 1,
            "n_outputs_max_per_seq": 1,
            "n_threads": 4,
            "n_threads_batch": 4,
            "rope_scaling_type": -1,
            "pooling_type": -1,
            "attention_type": -1,
            "flash_attn_type": -1,
            "yarn_ext_factor": -1.0,
            "yarn_attn_factor": -1.0,
            "yarn_beta_fast": -1.0,
            "yarn_beta_slow": -1.0,
            "defrag_thold": -1.0,
            "type_k": 1,
            "type_v": 1,
            "offload_kqv": True,
            "no_perf": True,
            "op_offload": True,
            "swa_full": True,
        },
    ),
    "struct llama_model_quantize_params": (
        "llama_model_quantize_default_params",
        {
            "ftype": 7,
            "output_tensor_type": 43,
            "token_embedding_type": 43,
            "quantize_output_tensor": True,
            "max_buf_size": 8 << 30,
        },
    ),
    "struct llama_batch": ("llama_batch_get_one", {"token": _ARGUMENTS[0], "n_tokens": _ARGUMENTS[1]}),
}
"""What fills each struct, and its defaults other than zero. A test compares them with the library's."""

_EFFECTS: Mapping[str, tuple[int, str]] = {
    "n_ctx": (768, "llama_n_ctx"),
    "n_batch": (96, "llama_n_batch"),
    "n_ubatch": (48, "llama_n_ubatch"),
    "n_seq_max": (3, "llama_n_seq_max"),
    "n_threads": (7, "llama_n_threads"),
    "n_threads_batch": (5, "llama_n_threads_batch"),
    "pooling_type": (3, "llama_pooling_type"),
}
"""Context parameters that a getter shows: a value unlike every default and each other, and the getter."""


StructReturn = Callable[[Any, Any, Any], None]


def prove_layout(
    ffi: Any,
    lib: Any,
    libraries: LibrarySet,
    *,
    defaults_known: bool = True,
    struct_return: StructReturn | None = None,
) -> str:
    """Answer the first two questions for every struct that is passed by value and that a function fills.

    ``defaults_known`` is False for bindings of another version, whose defaults nobody has told us.
    ``struct_return(ffi, function, buffer)`` is the guard's way to let a function fill a buffer, needed where
    the hidden pointer isn't an argument like others (arm64 passes it in x8).

    Raises:
        AbiMismatchError: names the struct and the fields that differ.
    """
    if struct_return is None:
        if platform.machine().lower() not in ("x86_64", "amd64"):
            raise AbiMismatchError(
                f"{libraries.files['llama']} (found via {libraries.found_via}) has no build manifest, and on "
                f"{platform.machine()} its layouts can be tried out only through a guard library: make "
                f"bindings for it with `llama-ffi bind`, on a system with a C++ compiler"
            )
        struct_return = _first_argument
    fillers = {struct: getattr(lib, function, None) for struct, (function, _) in DEFAULTS.items()}
    tried = [struct for struct in DEFAULTS if fillers[struct] is not None]
    differences = [
        text
        for struct in tried
        for text in _differences(ffi, fillers[struct], struct, defaults_known, struct_return)
    ]
    if differences:
        raise AbiMismatchError(
            f"{libraries.files['llama']} (found via {libraries.found_via}) doesn't match the bindings: "
            f"{'; '.join(differences[:6])}. Make bindings for it with `llama-ffi bind`"
        )
    doubtful = len(indistinguishable(ffi, defaults_known=defaults_known))
    untried = len(DEFAULTS) - len(tried)
    how = "end and default as" if defaults_known else "end as"
    return (
        f"tried out: {len(tried)} structs {how} in the bindings, {doubtful} pairs of fields look alike"
        f"{f', {untried} structs have no function that fills them' if untried else ''}"
    )


def prove_effect(ffi: Any, lib: Any, model: str | os.PathLike[str], libraries: LibrarySet) -> None:
    """Answer the third question with a small model.

    Raises:
        AbiMismatchError: a getter answers something else than was set.
    """
    model_params, params = lib.llama_model_default_params(), lib.llama_context_default_params()
    known = {name for name, _ in ffi.typeof("struct llama_context_params").fields}
    effects = {
        field: (value, getter)
        for field, (value, getter) in _EFFECTS.items()
        if field in known and getattr(lib, getter, None) is not None
    }
    for field, (value, _) in effects.items():
        setattr(params, field, value)
    loaded = lib.llama_model_load_from_file(os.fsencode(model), model_params)
    if loaded == ffi.NULL:
        raise AbiMismatchError(
            f"{libraries.files['llama']} can't load {model}, with which its layout is tried out"
        )
    try:
        context = lib.llama_init_from_model(loaded, params)
        if context == ffi.NULL:
            raise AbiMismatchError(
                f"{libraries.files['llama']} makes no context from parameters that must work"
            )
        try:
            wrong = [
                f"{field} was set to {value}, {getter} says {answer}"
                for field, (value, getter) in effects.items()
                if (answer := int(getattr(lib, getter)(context))) != value
            ]
        finally:
            lib.llama_free(context)
    finally:
        lib.llama_model_free(loaded)
    if wrong:
        raise AbiMismatchError(
            f"{libraries.files['llama']} (found via {libraries.found_via}) reads other fields of "
            f"llama_context_params than the bindings write: {'; '.join(wrong)}. "
            f"Make bindings for it with `llama-ffi bind`"
        )


def indistinguishable(ffi: Any, *, defaults_known: bool = True) -> list[tuple[str, str, str]]:
    """Return (struct, field, field) for neighbours whose exchange none of the three questions shows."""
    pairs = []
    for struct, (_, defaults) in DEFAULTS.items():
        known = defaults if defaults_known else {}
        fields = ffi.typeof(struct).fields
        for (left, a), (right, b) in itertools.pairwise(fields):
            same = ffi.sizeof(a.type) == ffi.sizeof(b.type) and known.get(left, 0) == known.get(right, 0)
            shown = struct == "struct llama_context_params" and (left in _EFFECTS or right in _EFFECTS)
            if same and not shown:
                pairs.append((struct.removeprefix("struct "), left, right))
    return pairs


def _differences(
    ffi: Any, filler: Any, struct: str, defaults_known: bool, struct_return: StructReturn
) -> list[str]:
    function, defaults = DEFAULTS[struct]
    fields = ffi.typeof(struct).fields
    image, written = _image(ffi, filler, struct_return)
    name = struct.removeprefix("struct ")
    end = max(field.offset + ffi.sizeof(field.type) for _, field in fields)
    extent = max((index + 1 for index, is_written in enumerate(written) if is_written), default=0)
    if end < extent <= ffi.sizeof(struct) and not any(image[end:extent]):
        extent = end  # a compiler may copy the padding at the end too, as zeros
    if extent != end:
        return [f"{name} ends after {extent} bytes in the library, after {end} in the bindings"]
    value = ffi.cast(f"{struct} *", image)
    differences = []
    for field_name, field in fields:
        size = ffi.sizeof(field.type)
        if not all(written[field.offset : field.offset + size]):
            differences.append(f"{name}.{field_name} (at byte {field.offset}) is padding in the library")
            continue
        if not defaults_known:
            continue
        got, expected = getattr(value, field_name), defaults.get(field_name, 0)
        if field.type.kind in ("pointer", "function"):
            got = int(ffi.cast("uintptr_t", got))
        if got != expected:
            differences.append(f"{name}.{field_name} is {got} after {function}, not {expected}")
    return differences


def _first_argument(ffi: Any, function: Any, buffer: Any) -> None:
    """On x86-64 the hidden pointer is passed as if it were the first argument."""
    tokens, count = _ARGUMENTS
    ffi.cast("void *(*)(void *, void *, int)", function)(buffer, ffi.cast("void *", tokens), count)


def _image(ffi: Any, function: Any, struct_return: StructReturn) -> tuple[Any, list[bool]]:
    """Call ``function`` into two patterned buffers; return the struct and which bytes were written."""
    images = []
    for pattern in _PATTERNS:
        buffer = ffi.new("unsigned char[]", _BUFFER)
        ffi.memmove(buffer, bytes([pattern]) * _BUFFER, _BUFFER)
        struct_return(ffi, function, buffer)
        images.append(buffer)
    first, second = (bytes(ffi.buffer(image)) for image in images)
    return images[0], [a == b for a, b in zip(first, second, strict=False)]
