"""Quantize model files: fewer bits per weight.

llama.cpp plans and does the work; before it starts, its own plan is looked at, so that what it would abort
on, or refuse half-way, is an error at once. The new file takes its name when it is complete.
"""

from __future__ import annotations

import math
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from . import gguf
from ._core import binding, check, gguf_types, logs, model_file
from ._core import quantize_plan as plans
from ._core import text as text_
from ._core.durable import Replacement
from ._core.model_file import Path
from ._core.quantize_plan import Watcher
from .errors import InvalidArgumentError, ModelFileError, NativeAbortError, QuantizeError
from .imatrix import ImportanceMatrix
from .model_params import Progress
from .overrides import KvOverride, override_array
from .quantize_params import (
    Input,
    file_type,
    imatrix_array,
    matrix_of,
    overrides_of,
    pruned_layers,
    read_input,
    type_array,
)

if TYPE_CHECKING:
    from ._core.binding import Binding

_TOKEN_EMBEDDINGS = ("token_embd.weight", "per_layer_token_embd.weight")


class QuantizedTensor(NamedTuple):
    """What became of one tensor."""

    name: str
    """its name in the new file"""
    type_before: str
    """"f32", "q8_0" …"""
    type_after: str
    """the same if it was copied"""
    size_before: int
    """bytes"""
    size_after: int
    """bytes"""


class QuantizeResult(NamedTuple):
    """What :func:`quantize` did, or with ``dry_run=True`` would do."""

    paths: tuple[str, ...]
    """the files that were written; of a dry run none"""
    type: str
    """the type that was asked for"""
    size_before: int
    """bytes of all tensors before"""
    size_after: int
    """bytes of all tensors after"""
    bits_per_weight: float
    """of the result, all tensors together"""
    tensors: Mapping[str, QuantizedTensor]
    """name → what became of it"""
    warnings: tuple[str, ...]
    """what llama.cpp remarked: tensors whose rows don't fit the type and got another one …"""


def quantize(
    input: Path,
    output: Path | None,
    type: str | int,
    *,
    n_threads: int | None = None,
    output_tensor_type: str | None = None,
    token_embedding_type: str | None = None,
    tensor_types: Mapping[str, str] | None = None,
    allow_requantize: bool = False,
    quantize_output_tensor: bool = True,
    only_copy: bool = False,
    pure: bool = False,
    keep_split: bool = False,
    imatrix: ImportanceMatrix | Path | None = None,
    kv_overrides: Mapping[str, KvOverride] | None = None,
    prune_layers: Iterable[int] = (),
    max_buf_size: int = 0,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> QuantizeResult:
    """Write a model file with its weights in a smaller type.

    C: llama_model_quantize, llama_model_quantize_default_params, struct llama_model_quantize_params,
    ggml_quantize_requires_imatrix

    Arguments:
        input: the GGUF file, best with f16, bf16 or f32 weights; of a split model the first part.
        output: the file to write, which is replaced when the new one is complete; with ``keep_split`` the
            beginning of the parts' names. None with ``dry_run``.
        type: as llama.cpp's tool spells it, in any case: "q4_k_m", "q8_0", "iq3_s", "f16" …; "copy" copies.
        n_threads: threads, 1 to 512; None = one per processor.
        output_tensor_type: type for output.weight, "q6_k" for example; None = by ``type``.
        token_embedding_type: type for the token embeddings; None = by ``type``.
        tensor_types: regular expression (ECMAScript's, searched in the tensor's name) → type; the first one
            that matches counts, one that is in no name is an error. Without effect if ``type`` is
            "f32", "f16" or "bf16".
        allow_requantize: quantize tensors again that are quantized already; that costs quality.
        quantize_output_tensor: False leaves output.weight as it is.
        only_copy: copy all tensors as they are; changes metadata, layers or splits only.
        pure: every tensor in the same type, instead of more bits where they matter most.
        keep_split: write as many files as there are; else one.
        imatrix: an importance matrix, or its file; types below 3 bits need one.
        kv_overrides: metadata to set, by key; int (written as u32), float, bool or str up to 127 bytes.
        prune_layers: numbers of layers to leave out; the others move up.
        max_buf_size: bytes of rows that are held in memory at a time; 0 = 8 GiB.
        dry_run: write nothing, only say what would be written; what a real run would refuse is no error.
        progress: called with 0.0 to 1.0; returning False cancels. What it raises, ``quantize`` raises.

    Returns:
        what became of each tensor, and the sizes.

    Raises:
        ModelNotFoundError, ModelPermissionError, ModelFileError: the input can't be read, or isn't GGUF.
        InvalidArgumentError: an unknown type, blocks that don't divide the rows, tensors that are quantized
            already, a missing or unfit importance matrix …; nothing has been written.
        QuantizeError: llama.cpp refused or failed, or ``progress`` cancelled; ``.log`` has its words. What
            was at ``output`` before is still there.

    Threads: any; ``progress`` is called on this one. The GIL is released while C works. Ctrl-C and a cancel
    stop it before the next tensor; without the guard library the call runs to its end first.
    """
    active = binding.active()
    check.function("progress", progress)
    source_name = text_.encode_path(input, "input")
    source = read_input(os.fsdecode(source_name))
    target = None if output is None else os.fsdecode(text_.encode_path(output, "output"))
    dry_run = check.truth("dry_run", dry_run)
    if target is None and not dry_run:
        raise InvalidArgumentError("output is None; only a dry run writes nothing")
    if target is not None and any(_same(target, part) for part in source.parts):
        raise InvalidArgumentError(f"input and output are the same file: {target}")
    pointer = active.ffi.new(
        "struct llama_model_quantize_params *", active.lib.llama_model_quantize_default_params()
    )
    params = active.fields(pointer)
    keep: list[Any] = []
    params.ftype, name = file_type(active, type)
    if n_threads is not None:
        params.nthread = check.integer("n_threads", n_threads, 1, 512)
    params.only_copy = check.truth("only_copy", only_copy) or name == "copy"
    params.allow_requantize = allow_requantize = check.truth("allow_requantize", allow_requantize)
    params.quantize_output_tensor = check.truth("quantize_output_tensor", quantize_output_tensor)
    params.pure = check.truth("pure", pure)
    params.keep_split = check.truth("keep_split", keep_split)
    wanted = check.integer("max_buf_size", max_buf_size, 0, 2**62)
    if wanted:
        params.max_buf_size = wanted
    if output_tensor_type is not None:
        params.output_tensor_type = kind = plans.tensor_type("output_tensor_type", output_tensor_type)
        plans.check_rows(source.tensors, ["output.weight"], "output_tensor_type", kind)
    if token_embedding_type is not None:
        params.token_embedding_type = kind = plans.tensor_type("token_embedding_type", token_embedding_type)
        plans.check_rows(source.tensors, _TOKEN_EMBEDDINGS, "token_embedding_type", kind)
    if tensor_types is not None and check.mapping("tensor_types", tensor_types):
        params.tt_overrides = type_array(active, tensor_types, keep)
        plans.check_matches(tensor_types, source.tensors)
    pruned = pruned_layers(prune_layers, source)
    if pruned:
        keep.append(active.ffi.new("int32_t[]", [*pruned, -1]))
        params.prune_layers = keep[-1]
    matrix, origin = matrix_of(imatrix)
    importance: dict[str, int] = {}
    if matrix is not None:
        importance = {each: len(entry.sums) for each, entry in matrix.entries.items()}
        plans.check_importance(source.tensors, importance)
        params.imatrix = imatrix_array(active, matrix, keep)
    given = kv_overrides if kv_overrides is not None and check.mapping("kv_overrides", kv_overrides) else {}
    overrides = overrides_of(given, matrix, origin, source)
    if overrides:
        params.kv_overrides = override_array(active, overrides, keep)

    names = source.names_after(pruned)
    plan = Watcher()
    plannable = active.other is None or not active.other.lacks_field("llama_model_quantize_params", "dry_run")
    if dry_run or plannable:
        params.dry_run = True
        _run(active, source_name, b"", pointer, plan, hidden=True)
        params.dry_run = False
    if dry_run:
        types = {new: each.after for new, each in plan.tensors.items()}
        return _result((), name, types, source, names, plan.remarks)
    if plan.tensors.keys() == names.keys():
        plans.check_plan(active, plan.tensors, allow_requantize, importance, names)
    extreme = _extreme(source, plan, names, matrix)
    if extreme is None or extreme:  # what it would assert on comes on this thread then, which is guarded
        params.nthread = 1
        if extreme and active.guard is None:
            raise _too_large(extreme)
    watcher = Watcher(progress)
    assert target is not None
    write = _write_parts if keep_split else _write
    try:
        paths, types = write(target, lambda path: _run(active, source_name, path, pointer, watcher))
    except (NativeAbortError, QuantizeError) as error:
        if extreme and "ASSERT" in str(error):
            raise _too_large(extreme) from error
        raise
    if progress is not None:
        progress(1.0)
    return _result(paths, name, types, source, names, watcher.remarks)


def _run(
    active: Binding, source: bytes, target: bytes, pointer: Any, watcher: Watcher, *, hidden: bool = False
) -> None:
    with logs.capture(watcher, hidden=hidden) as lines:
        code = active.lib.llama_model_quantize(source, target, pointer)
    if code != 0:
        said = [model_file.words(line) for line in lines]
        reason = next((line for line in reversed(said) if line.startswith("failed to quantize")), "")
        reason = reason.removeprefix("failed to quantize: ").strip() or "llama.cpp gave no reason"
        hint = "; is the disk full?" if "iostream error" in reason else ""
        raise QuantizeError(f"{os.fsdecode(source)}: {reason}{hint}", code=code, log=lines)


def _extreme(
    source: Input, plan: Watcher, names: Mapping[str, str], matrix: ImportanceMatrix | None
) -> str | None:
    """Return the first tensor with values too large for its iq type; "" for none, None without a plan."""
    if plan.tensors.keys() != names.keys():
        return None
    new = [
        name
        for name, each in plan.tensors.items()
        if each.after.startswith("iq") and each.before != each.after
    ]
    wanted = {names[name] for name in new}
    for part in source.parts if wanted else ():
        with gguf.read(part, mmap=False) as file:
            for name in wanted & file.tensors.keys():
                importance = matrix.values(name) if matrix is not None and name in matrix.entries else None
                if plans.is_extreme(file.tensors[name], importance):
                    return name
    return ""


def _too_large(name: str) -> QuantizeError:
    return QuantizeError(
        f"{name} has values, or an importance, too large for the arithmetic of this type; choose another "
        f"one for it (tensor_types={{{name!r}: 'q8_0'}})"
    )


def _write(target: str, run: Callable[[bytes], None]) -> tuple[tuple[str, ...], dict[str, str]]:
    """Write one file; return its path and the types of its tensors."""
    try:
        with Replacement(target, 0o666) as new:
            run(os.fsencode(new.part))
            types = _types(new.part)
            new.commit()
    except OSError as error:
        raise _failed(target, error) from error
    return (target,), types


def _write_parts(target: str, run: Callable[[bytes], None]) -> tuple[tuple[str, ...], dict[str, str]]:
    """Write as many files as the input has, in a folder of their own at first."""
    folder, name = os.path.split(os.path.abspath(target))
    try:
        temporary = tempfile.mkdtemp(prefix=".llama_ffi-", dir=folder)
    except OSError as error:
        raise _failed(target, error) from error
    try:
        run(os.fsencode(os.path.join(temporary, name.removesuffix(".gguf"))))
        parts = sorted(os.listdir(temporary))
        types: dict[str, str] = {}
        for part in parts:
            types.update(_types(os.path.join(temporary, part)))
        for part in parts:
            os.replace(os.path.join(temporary, part), os.path.join(folder, part))
    except OSError as error:
        raise _failed(target, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return tuple(os.path.join(folder, part) for part in parts), types


def _types(path: str) -> dict[str, str]:
    """Return the types of the tensors in a file that C wrote; raise if it isn't complete."""
    try:
        header = model_file.look_at(path)
    except ModelFileError as error:
        raise QuantizeError(
            f"llama.cpp wrote a file that isn't complete; is the disk full? {error}"
        ) from error
    kinds = {each.number: name for name, each in gguf_types.tensor_types().items()}
    return {name: kinds[each.type] for name, each in header.tensors.items()}


def _failed(target: str, error: OSError) -> QuantizeError:
    if isinstance(error, QuantizeError):
        return error
    return QuantizeError(f"{target}: can't be written: {error.strerror or error}")


def _same(target: str, source: str) -> bool:
    try:
        return os.path.samefile(target, source)
    except OSError:
        return False  # there is no target yet


def _result(
    paths: tuple[str, ...],
    name: str,
    types: Mapping[str, str],
    source: Input,
    names: Mapping[str, str],
    remarks: Iterable[str],
) -> QuantizeResult:
    kinds = gguf_types.tensor_types()
    tensors, values = {}, 0
    for new, kind in types.items():
        shape = source.tensors[names.get(new, new)]
        before, after = (gguf_types.n_bytes(each, shape.ne) for each in (shape.kind, kinds[kind]))
        tensors[new] = QuantizedTensor(new, shape.kind.name.lower(), kind, before, after)
        values += math.prod(shape.ne)
    total = sum(each.size_after for each in tensors.values())
    return QuantizeResult(
        paths,
        name,
        sum(each.size_before for each in tensors.values()),
        total,
        8 * total / values if values else 0.0,
        MappingProxyType(tensors),
        tuple(remarks),
    )
