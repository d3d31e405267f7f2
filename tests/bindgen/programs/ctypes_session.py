"""A program written against ctypes; run in a process of its own, because it takes the log over."""

from __future__ import annotations

import ctypes
import json
import sys
from pathlib import Path

from llama_ffi._abi.manifest import FUNCTIONS
from llama_ffi.compat import _ctypes_api as api

native = Path(sys.argv[1])
manifest = json.loads((native / "manifest.json").read_text(encoding="utf-8"))
api.load({key: ctypes.CDLL(str(native / file)) for key, file in manifest["libraries"].items()})

# Handles to opaque structs are integers, NULL is None.
params = api.llama_model_default_params()
assert isinstance(params, ctypes.Structure)
gguf = api.gguf_init_empty()
assert type(gguf) is int
api.gguf_set_val_u32(gguf, b"answer", 42)
assert api.gguf_get_val_u32(gguf, api.gguf_find_key(ctx=gguf, key=b"answer")) == 42
api.gguf_free(gguf)

# Structures by value and by reference, keywords as in the header, bytes for strings, arrays.
assert api.ggml_type_name(type=api.GGML_TYPE_F16) == b"f16"
batch = api.llama_batch_init(n_tokens=4, embd=0, n_seq_max=1)
tokens = (api.llama_token * 3)(5, 6, 7)
single = api.llama_batch_get_one(tokens, len(tokens))
assert [single.token[i] for i in range(3)] == [5, 6, 7]
api.llama_batch_free(batch)
data = (api.llama_token_data * 2)(api.llama_token_data(0, 0.5, 0.0), api.llama_token_data(1, 2.5, 0.0))
candidates = api.llama_token_data_array(data, 2, -1, False)
sampler = api.llama_sampler_init_greedy()
api.llama_sampler_apply(sampler, ctypes.byref(candidates))
assert candidates.selected == 1
api.llama_sampler_free(sampler)
context_params = api.llama_context_default_params()
context_params.logits_all = False  # ctypes structures take unknown attributes, and programs rely on it
assert context_params.n_ctx == 512
try:
    api.ggml_type_name(kind=1)
except TypeError:
    pass
else:
    raise AssertionError("an unknown keyword was accepted")

# Callback types are decorators.
lines: list[bytes] = []


@api.ggml_log_callback
def log(level: int, text: bytes, user_data: int | None) -> None:
    lines.append(text)


api.llama_log_set(log, None)
assert api.llama_model_load_from_file(b"/nowhere.gguf", params) is None
assert any(b"/nowhere.gguf" in line for line in lines)

# The library is a real CDLL, and every function that a library has can be made.
assert isinstance(api._lib, ctypes.CDLL)
assert ctypes.cast(api._lib.llama_tokenize, ctypes.c_void_p).value
for name in FUNCTIONS:
    assert callable(getattr(api, name)), name
