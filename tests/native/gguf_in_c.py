"""What C's own gguf.h makes of a file, through raw calls: the other opinion."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from llama_ffi._core import gguf_types as types
from llama_ffi.raw import ffi, lib

C_TYPES = {
    "u8": "uint8_t", "i8": "int8_t", "u16": "uint16_t", "i16": "int16_t", "u32": "uint32_t",
    "i32": "int32_t", "f32": "float", "u64": "uint64_t", "i64": "int64_t", "f64": "double",
}  # fmt: skip


def c_reads(path: Path) -> dict[str, Any]:
    """Everything that C says about a file, through its getters."""
    params = ffi.new("struct gguf_init_params *", {"no_alloc": True, "ctx": ffi.NULL})
    gguf = lib.gguf_init_from_file(os.fsencode(path), params[0])
    assert gguf != ffi.NULL, "C refuses the file"
    try:
        metadata = {}
        for index in range(lib.gguf_get_n_kv(gguf)):
            key = ffi.string(lib.gguf_get_key(gguf, index)).decode("utf-8", "surrogateescape")
            metadata[key] = c_value(gguf, index)
        tensors = {}
        for index in range(lib.gguf_get_n_tensors(gguf)):
            name = ffi.string(lib.gguf_get_tensor_name(gguf, index)).decode("utf-8", "surrogateescape")
            ne = tuple(lib.gguf_get_tensor_ne(gguf, index)[0:4])
            kind = int(lib.gguf_get_tensor_type(gguf, index))
            offset = lib.gguf_get_data_offset(gguf) + lib.gguf_get_tensor_offset(gguf, index)
            tensors[name] = (ne, kind, offset, lib.gguf_get_tensor_size(gguf, index))
        return {
            "version": lib.gguf_get_version(gguf),
            "alignment": lib.gguf_get_alignment(gguf),
            "data": lib.gguf_get_data_offset(gguf),
            "metadata": metadata,
            "tensors": tensors,
        }
    finally:
        lib.gguf_free(gguf)


def c_value(gguf: Any, index: int) -> tuple[str, Any]:
    kind = types.NAMES[lib.gguf_get_kv_type(gguf, index)]
    if kind == "str":
        return kind, c_text(lib.gguf_get_val_str(gguf, index))
    if kind != "arr":
        return kind, getattr(lib, f"gguf_get_val_{kind}")(gguf, index)
    item, count = types.NAMES[lib.gguf_get_arr_type(gguf, index)], lib.gguf_get_arr_n(gguf, index)
    if item == "str":
        return f"arr[{item}]", [c_text(lib.gguf_get_arr_str(gguf, index, at)) for at in range(count)]
    data = lib.gguf_get_arr_data(gguf, index)
    ctype = "int8_t" if item == "bool" else C_TYPES[item]
    values = list(ffi.cast(f"{ctype} *", data)[0:count])
    return f"arr[{item}]", [each != 0 for each in values] if item == "bool" else values


def c_text(pointer: Any) -> str:
    return str(ffi.string(pointer).decode("utf-8", "surrogateescape"))


def c_writes(
    path: Path, metadata: dict[str, tuple[str, Any]], tensors: list[tuple[str, str, tuple[int, ...], bytes]]
) -> None:
    """Write a file with C's own writer; arrays have the type "arr[…]"."""
    gguf = lib.gguf_init_empty()
    kept: list[Any] = []
    for key, (kind, value) in metadata.items():
        name = key.encode()
        if kind == "str":
            lib.gguf_set_val_str(gguf, name, value.encode("utf-8", "surrogateescape"))
        elif kind == "arr[str]":
            strings = [ffi.new("char[]", each.encode("utf-8", "surrogateescape")) for each in value]
            lib.gguf_set_arr_str(gguf, name, ffi.new("char *[]", strings), len(strings))
        elif kind.startswith("arr["):
            item = kind[4:-1]
            data = ffi.new(
                f"{C_TYPES.get(item, 'int8_t')}[]", [int(v) if item == "bool" else v for v in value]
            )
            lib.gguf_set_arr_data(gguf, name, types.NAMES.index(item), data, len(value))
        else:
            getattr(lib, f"gguf_set_val_{kind}")(gguf, name, value)
    size = sum(len(data) for *_, data in tensors) + (1 << 20)
    params = ffi.new(
        "struct ggml_init_params *", {"mem_size": size, "mem_buffer": ffi.NULL, "no_alloc": True}
    )
    context = lib.ggml_init(params[0])
    try:
        for name, kind, ne, data in tensors:
            number = types.tensor_types()[kind].number
            tensor = lib.ggml_new_tensor(context, number, len(ne), ffi.new("int64_t[]", ne))
            lib.ggml_set_name(tensor, name.encode())
            buffer = ffi.new("char[]", data)
            kept.append(buffer)
            tensor.data = buffer
            lib.gguf_add_tensor(gguf, tensor)
        assert lib.gguf_write_to_file(gguf, os.fsencode(path), False)
    finally:
        lib.ggml_free(context)
        lib.gguf_free(gguf)
