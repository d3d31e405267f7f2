"""Cut a model file into parts, as llama.cpp's tools do it: with gguf's own C functions."""

from __future__ import annotations

from pathlib import Path

from llama_ffi.raw import ffi, lib


def split(path: Path, targets: list[Path]) -> None:
    """Write the tensors of ``path`` into the files ``targets``, the metadata into the first."""
    data = ffi.new("struct ggml_context **")
    params = ffi.new("struct gguf_init_params *", {"no_alloc": False, "ctx": data})
    whole = lib.gguf_init_from_file(str(path).encode(), params[0])
    assert whole != ffi.NULL
    count = lib.gguf_get_n_tensors(whole)
    for number, target in enumerate(targets):
        part = lib.gguf_init_empty()
        if number == 0:
            lib.gguf_set_kv(part, whole)
        lib.gguf_set_val_u16(part, b"split.no", number)
        lib.gguf_set_val_u16(part, b"split.count", len(targets))
        lib.gguf_set_val_i32(part, b"split.tensors.count", count)
        for index in range(number, count, len(targets)):
            name = lib.gguf_get_tensor_name(whole, index)
            lib.gguf_add_tensor(part, lib.ggml_get_tensor(data[0], name))
        assert lib.gguf_write_to_file(part, str(target).encode(), False)
        lib.gguf_free(part)
    lib.gguf_free(whole)
    lib.ggml_free(data[0])
