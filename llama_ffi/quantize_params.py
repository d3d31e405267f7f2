"""What goes into ``struct llama_model_quantize_params``: arguments, checked by what the input file is."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from . import gguf
from ._core import check, gguf_types, model_file
from ._core import quantize_plan as plans
from ._core import text as text_
from ._core.model_file import Path
from ._core.quantize_plan import Shape
from .errors import InvalidArgumentError
from .imatrix import ImportanceMatrix
from .overrides import KvOverride

if TYPE_CHECKING:
    from ._core.binding import Binding

_PART = re.compile(r"(.*)-(\d{5})-of-(\d{5})\.gguf")
_LAYER = re.compile(r"blk\.(\d+)\.")
_UINT32_MAX = 2**32 - 1
_WRITTEN_ALIGNMENT = 32


class Input(NamedTuple):
    """The model to quantize."""

    parts: tuple[str, ...]
    """its files"""
    tensors: Mapping[str, Shape]
    alignment: int
    layer_arrays: tuple[str, ...]
    """metadata with a value for each layer, which C doesn't shorten"""

    @property
    def n_layers(self) -> int:
        """Return the number of layers."""
        return 1 + max((layer_of(name) for name in self.tensors), default=-1)

    def names_after(self, pruned: Iterable[int]) -> dict[str, str]:
        """Return the names that tensors will have, and the ones they have now."""
        gone = set(pruned)
        left = [layer for layer in range(self.n_layers) if layer not in gone]
        moved = {old: new for new, old in enumerate(left)}
        names = {}
        for name in self.tensors:
            layer = layer_of(name)
            if layer < 0:
                names[name] = name
            elif layer in moved:
                names[_LAYER.sub(f"blk.{moved[layer]}.", name, count=1)] = name
        return names


def layer_of(name: str) -> int:
    """Return the number of the layer that a tensor belongs to, -1 for none."""
    found = _LAYER.search(name)
    return int(found[1]) if found else -1


def read_input(path: str) -> Input:
    """Look at all files of a model; raises what is wrong with one."""
    model_file.look_at(path)
    with gguf.read(path, mmap=False) as first:
        metadata = first.metadata
        arch = str(metadata.get("general.architecture", ""))
        count = metadata.get("split.count", 0)
        n_layers = metadata.get(f"{arch}.block_count", 0)
        arrays = [
            key
            for key, field in first.fields.items()
            if field.is_array and key.startswith(f"{arch}.") and len(field) == n_layers
        ]
        tensors = dict(_shapes(first))
        alignment = first.alignment
    parts = [path]
    name = _PART.fullmatch(path)
    if isinstance(count, int) and count > 1 and name is not None:
        parts = [f"{name[1]}-{number:05}-of-{name[3]}.gguf" for number in range(1, int(name[3]) + 1)]
        for part in parts:
            if part != path:
                model_file.look_at(part)
                with gguf.read(part, mmap=False) as file:
                    tensors.update(_shapes(file))
    return Input(tuple(parts), tensors, alignment, tuple(arrays))


def _shapes(file: gguf.GgufFile) -> Iterator[tuple[str, Shape]]:
    for name, tensor in file.tensors.items():
        yield name, Shape(tensor.ne, tensor.kind)


def file_type(active: Binding, value: str | int) -> tuple[int, str]:
    """Return the number of ``enum llama_ftype``, and the name, of the type that was asked for."""
    types = plans.file_types(active)
    if isinstance(value, str) and value.lower() == "copy":
        return types["f32"], "copy"
    number = check.choice("type", value, types)
    return number, value.lower() if isinstance(value, str) else next(
        n for n, t in types.items() if t == value
    )


def pruned_layers(layers: Iterable[int], source: Input) -> list[int]:
    """Return the layers to leave out, in the order that C relies on."""
    count = source.n_layers
    wanted = sorted(
        {
            check.integer("prune_layers", each, 0, count - 1)
            for each in check.listed("prune_layers", layers, "layer numbers")
        }
    )
    if wanted and len(wanted) == count:
        raise InvalidArgumentError(f"prune_layers names all {count} layers; one must stay")
    if wanted and source.layer_arrays:
        raise InvalidArgumentError(
            f"prune_layers: {source.layer_arrays[0]} has a value for each of the {count} layers, which "
            f"llama.cpp doesn't shorten; the result couldn't be loaded"
        )
    return wanted


def type_array(active: Binding, patterns: Mapping[str, str], keep: list[Any]) -> Any:
    """Return an array of ``struct llama_model_tensor_override`` that ends with NULL."""
    ffi = active.ffi
    array = ffi.new("struct llama_model_tensor_override[]", len(patterns) + 1)
    for entry, (pattern, kind) in zip(array, patterns.items(), strict=False):
        data = ffi.new("char[]", text_.encode_c(pattern, "a pattern of tensor_types"))
        entry.pattern = data
        entry.type = plans.tensor_type(f"tensor_types[{pattern!r}]", kind)
        keep.append(data)
    plans.check_patterns(patterns)
    array[len(patterns)].type = ffi.integer_const("GGML_TYPE_COUNT")
    keep.append(array)
    return array


def matrix_of(value: ImportanceMatrix | Path | None) -> tuple[ImportanceMatrix | None, str]:
    """Return an importance matrix and where it comes from; one without weights counts as none."""
    if value is None:
        return None, ""
    if isinstance(value, ImportanceMatrix):
        return (value if value.entries else None), "memory"
    return ImportanceMatrix.load(value), os.fsdecode(text_.encode_path(value, "imatrix"))


def imatrix_array(active: Binding, matrix: ImportanceMatrix, keep: list[Any]) -> Any:
    """Return an array of ``struct llama_model_imatrix_data`` that ends with NULL."""
    ffi = active.ffi
    array = ffi.new("struct llama_model_imatrix_data[]", len(matrix.entries) + 1)
    for entry, name in zip(array, matrix.entries, strict=False):
        values = matrix.values(name)
        data, string = ffi.from_buffer("float[]", values), ffi.new("char[]", text_.encode_c(name))
        entry.name, entry.data, entry.size = string, data, len(values)
        keep += [data, string]
    keep.append(array)
    return array


def overrides_of(
    given: Mapping[str, KvOverride], matrix: ImportanceMatrix | None, origin: str, source: Input
) -> dict[str, KvOverride]:
    """Return the metadata to set: what was asked for, where the importance matrix is from, the alignment."""
    overrides: dict[str, KvOverride] = {}
    if matrix is not None:
        overrides["quantize.imatrix.file"] = _short(origin)
        if matrix.datasets:
            overrides["quantize.imatrix.dataset"] = _short(matrix.datasets[0])
        overrides["quantize.imatrix.entries_count"] = len(matrix.entries)
        if matrix.chunk_count:
            overrides["quantize.imatrix.chunks_count"] = matrix.chunk_count
    if source.alignment != _WRITTEN_ALIGNMENT:  # C copies the key and aligns by 32 all the same
        overrides[gguf_types.ALIGNMENT_KEY] = _WRITTEN_ALIGNMENT
    for key, value in given.items():
        if key == gguf_types.ALIGNMENT_KEY and value != _WRITTEN_ALIGNMENT:
            raise InvalidArgumentError(
                f"kv_overrides: llama.cpp aligns by {_WRITTEN_ALIGNMENT}, not by {value}"
            )
        if isinstance(value, int) and not isinstance(value, bool):
            check.integer(f"kv_overrides[{key!r}]", value, 0, _UINT32_MAX, "it is written as a u32")
        overrides[key] = value
    return overrides


def _short(text: str) -> str:
    return text.encode("utf-8", "replace")[:127].decode("utf-8", "ignore")
