"""The files of adapters, looked at before C sees them.

llama.cpp checks of a LoRA the architecture and two dimensions of each matrix. What it doesn't check ends in
an assertion, at loading (metadata of another type) or in the first decode (a third dimension, ranks of A and
B that differ, a type of numbers that can't be multiplied), some of them on a thread of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from . import gguf
from ._core import gguf_types, model_file
from ._core.model_file import Path
from .errors import AdapterError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_A, _B = ".lora_a", ".lora_b"

_DIRECTION = "direction."


def check_lora(path: Path, name: str, arch: str, metadata: Mapping[str, str], n_vocab: int) -> None:
    """Raise what is wrong with the LoRA file ``path`` for a model of these facts."""
    model_file.look_at(path)
    with gguf.read(path) as file:
        kind = _text(file, name, "general.type")
        if kind != "adapter":
            raise AdapterError(f"{name}: is a GGUF file of type {kind!r}, not an adapter")
        kind = _text(file, name, "adapter.type")
        if kind != "lora":
            raise AdapterError(f"{name}: is an adapter of type {kind!r}; llama.cpp has 'lora' only")
        for_arch = _text(file, name, "general.architecture")
        if for_arch != arch:
            raise AdapterError(f"{name}: was made for a {for_arch!r} model; this one is {arch!r}")
        alpha = file.fields.get("adapter.lora.alpha")
        if alpha is not None and (alpha.is_array or alpha.type != "f32" or not -1e30 < alpha.value < 1e30):
            raise AdapterError(f"{name}: adapter.lora.alpha must be a finite f32, not {alpha.type}")
        _check_alora(file, name, n_vocab)
        _check_pairs(file, name, int(metadata.get(f"{arch}.expert_count", "0") or 0))


def _text(file: gguf.GgufFile, name: str, key: str) -> str:
    field = file.fields.get(key)
    if field is None:
        return ""
    if field.is_array or field.type != "str":
        raise AdapterError(f"{name}: {key} must be text, not {field.type}")
    return str(field.value)


def _check_alora(file: gguf.GgufFile, name: str, n_vocab: int) -> None:
    field = file.fields.get("adapter.alora.invocation_tokens")
    if field is None:
        return
    if not field.is_array or field.type != "u32":
        raise AdapterError(f"{name}: adapter.alora.invocation_tokens must be a list of u32, not {field.type}")
    beyond = [token for token in field.value if token >= n_vocab]
    if beyond:
        raise AdapterError(
            f"{name}: its invocation token {beyond[0]} isn't one of the model's ids, 0 to {n_vocab - 1}"
        )


def _check_pairs(file: gguf.GgufFile, name: str, n_expert: int) -> None:
    pairs: dict[str, dict[str, gguf.GgufTensor]] = {}
    for tensor in file.tensors.values():
        base, suffix = tensor.name[: -len(_A)], tensor.name[-len(_A) :]
        if suffix in (_A, _B):
            pairs.setdefault(base, {})[suffix] = tensor
        elif not tensor.name.endswith("_norm.weight"):
            raise AdapterError(f"{name}: tensor {tensor.name!r} ends neither in .lora_a nor in .lora_b")
    if not pairs:
        raise AdapterError(f"{name}: holds no pair of LoRA matrices")
    for base, pair in pairs.items():
        if len(pair) != 2:
            there, missing = (_A, _B) if _A in pair else (_B, _A)
            raise AdapterError(f"{name}: there is {base}{there}, but no {base}{missing}")
        _check_pair(name, base, pair[_A], pair[_B], n_expert)


def _check_pair(name: str, base: str, a: gguf.GgufTensor, b: gguf.GgufTensor, n_expert: int) -> None:
    for tensor in (a, b):
        if not gguf_types.has_floats(tensor.type_number):  # C would call NULL
            raise AdapterError(f"{name}: {tensor.name} has the type {tensor.type}, which can't be multiplied")
    ne_a, ne_b = (tensor.ne + (1,) * (4 - len(tensor.ne)) for tensor in (a, b))
    layers = n_expert if "_exps" in base else 1
    if ne_a[2:] != (layers, 1) or ne_b[2:] != (layers, 1):
        raise AdapterError(
            f"{name}: the matrices for {base} have {ne_a[2] * ne_a[3]} and {ne_b[2] * ne_b[3]} layers, "
            f"the model {layers}"
        )
    rank_a = ne_a[0] if base.endswith("token_embd.weight") else ne_a[1]  # which is stored the other way round
    if rank_a != ne_b[0] or rank_a == 0:
        raise AdapterError(f"{name}: the matrices for {base} have the ranks {rank_a} and {ne_b[0]}")


def control_vector(path: Path, name: str) -> NDArray[np.float32]:
    """Return the directions of a control vector's file, one row per layer from 1 on."""
    import numpy as np

    model_file.look_at(path)
    with gguf.read(path) as file:
        found: dict[int, Any] = {}
        for tensor in file.tensors.values():
            head, _, digits = tensor.name.partition(_DIRECTION)
            if head or not digits.isascii() or not digits.isdigit() or not 1 <= int(digits) <= 100_000:
                raise AdapterError(f"{name}: tensor {tensor.name!r} isn't the direction of a layer from 1 on")
            if tensor.type != "f32" or len(tensor.ne) != 1 or not tensor.n_elements:
                raise AdapterError(f"{name}: {tensor.name} must be one row of f32")
            found[int(digits)] = np.array(tensor.data, np.float32)
    if not found:
        raise AdapterError(f"{name}: holds no tensors direction.1, direction.2 …: it is no control vector")
    widths = {len(row) for row in found.values()}
    if len(widths) != 1:
        raise AdapterError(f"{name}: its directions have different lengths: {sorted(widths)}")
    rows = np.zeros((max(found), widths.pop()), np.float32)
    for layer, row in found.items():
        rows[layer - 1] = row
    return rows
