"""What newer C functions and fields were called before: stand-ins, down to the floor.

A stand-in is used only where the new form is absent and every function it leans on has exactly the older
signature that is written here. It does the same thing or gives the more cautious answer; what can't be said
in older words is a feature of :mod:`.features` instead.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

Call = Callable[..., Any]


class StandIn(NamedTuple):
    """One function in older words."""

    needs: Mapping[str, str]
    """older C function → its type, as a pointer"""
    make: Callable[[Any, Any], Call]
    """(ffi, lib) → the function to call instead"""


def _penalties(_ffi: Any, lib: Any) -> Call:
    init = lib.llama_sampler_init_penalties
    return lambda _n_vocab, *rest: init(*rest)


def _dry(_ffi: Any, lib: Any) -> Call:
    init = lib.llama_sampler_init_dry
    # the training context serves only penalty_last_n = -1, which the safe layer doesn't pass on
    return lambda vocab, *rest: init(vocab, 0, *rest)


def _set_adapters(_ffi: Any, lib: Any) -> Call:
    clear, add = lib.llama_clear_adapter_lora, lib.llama_set_adapter_lora

    def set_adapters(context: Any, adapters: Any, count: int, scales: Any) -> int:
        clear(context)
        for index in range(count):
            status = int(add(context, adapters[index], scales[index]))
            if status:
                return status
        return 0

    return set_adapters


def _set_control_vector(_ffi: Any, lib: Any) -> Call:
    apply: Call = lib.llama_apply_adapter_cvec
    return apply


def _causal(ffi: Any, lib: Any) -> Call:
    """As the model's metadata say: choosing otherwise is a feature that needs the getter."""

    def causal(context: Any) -> bool:
        model = lib.llama_get_model(context)
        arch = _metadata(ffi, lib, model, "general.architecture")
        return _metadata(ffi, lib, model, f"{arch}.attention.causal") != "false"

    return causal


def _sequence_room(_ffi: Any, lib: Any) -> Call:
    """The share of each sequence; one memory for all of them holds at least that."""
    return lambda context: lib.llama_n_ctx(context) // lib.llama_n_seq_max(context)


def _hybrid(ffi: Any, lib: Any) -> Call:
    """Whether the metadata describe recurrent layers of a model that isn't made of them only."""

    def hybrid(model: Any) -> bool:
        if lib.llama_model_is_recurrent(model):
            return False
        arch = _metadata(ffi, lib, model, "general.architecture")
        keys = (f"{arch}.ssm.conv_kernel", f"{arch}.shortconv.l_cache")
        return any(_metadata(ffi, lib, model, key) for key in keys)

    return hybrid


def _metadata(ffi: Any, lib: Any, model: Any, key: str) -> str:
    buffer = ffi.new("char[]", 128)
    if lib.llama_model_meta_val_str(model, key.encode(), buffer, 128) < 0:
        return ""
    return str(ffi.string(buffer).decode("utf-8", "replace"))


def _width(_ffi: Any, lib: Any) -> Call:
    width: Call = lib.llama_model_n_embd
    return width


def _none(_ffi: Any, _lib: Any) -> Call:
    return lambda _object: 0


_META = {
    "llama_model_meta_val_str": "int32_t(*)(const struct llama_model *, const char *, char *, size_t)",
}
_WIDTH = {"llama_model_n_embd": "int32_t(*)(const struct llama_model *)"}

FUNCTIONS: Mapping[str, StandIn] = {
    "llama_get_causal_attn": StandIn(
        {**_META, "llama_get_model": "const struct llama_model *(*)(const struct llama_context *)"}, _causal
    ),
    "llama_model_is_hybrid": StandIn(
        {**_META, "llama_model_is_recurrent": "bool(*)(const struct llama_model *)"}, _hybrid
    ),
    "llama_model_n_embd_inp": StandIn(_WIDTH, _width),
    "llama_model_n_embd_out": StandIn(_WIDTH, _width),
    "llama_model_n_layer_nextn": StandIn({}, _none),
    "llama_n_ctx_seq": StandIn(
        {
            "llama_n_ctx": "uint32_t(*)(const struct llama_context *)",
            "llama_n_seq_max": "uint32_t(*)(const struct llama_context *)",
        },
        _sequence_room,
    ),
    "llama_n_rs_seq": StandIn({}, _none),
    "llama_sampler_init_dry": StandIn(
        {
            "llama_sampler_init_dry": "struct llama_sampler *(*)(const struct llama_vocab *, int32_t, float, "
            "float, int32_t, int32_t, const char **, size_t)"
        },
        _dry,
    ),
    "llama_sampler_init_penalties": StandIn(
        {"llama_sampler_init_penalties": "struct llama_sampler *(*)(int32_t, float, float, float)"},
        _penalties,
    ),
    "llama_set_adapter_cvec": StandIn(
        {
            "llama_apply_adapter_cvec": "int32_t(*)(struct llama_context *, const float *, size_t, int32_t, "
            "int32_t, int32_t)"
        },
        _set_control_vector,
    ),
    "llama_set_adapters_lora": StandIn(
        {
            "llama_clear_adapter_lora": "void(*)(struct llama_context *)",
            "llama_set_adapter_lora": "int32_t(*)(struct llama_context *, "
            "struct llama_adapter_lora *, float)",
        },
        _set_adapters,
    ),
}
"""The newer function → how older versions did it."""

GRAPH_REUSE = "LLAMA_GRAPH_REUSE_DISABLE"


def prepare(has: Callable[[str], bool]) -> None:
    """Switch off what older versions do wrong, before the first context is made.

    Versions that set adapters one by one go on with the graph of the decode before, with the adapters and the
    control vector of then, without a word: they compare the place of the list, not what is in it. Contexts
    read the variable when they are made.
    """
    if has("llama_set_adapter_lora") and not has("llama_set_adapters_lora"):
        os.environ.setdefault(GRAPH_REUSE, "1")


FIELDS: Mapping[str, Mapping[str, Mapping[str, Any]]] = {
    "llama_context_params.flash_attn_type": {
        "DISABLED": {"flash_attn": False},
        "ENABLED": {"flash_attn": True},
    },
    "llama_model_params.load_mode": {
        "NONE": {"use_mmap": False, "use_mlock": False},
        "MMAP": {"use_mmap": True, "use_mlock": False},
        "MLOCK": {"use_mmap": False, "use_mlock": True},
        "MMAP_MLOCK": {"use_mmap": True, "use_mlock": True},
    },
}
"""The newer field → its values by name → the older fields that say it. The default needs no words."""
