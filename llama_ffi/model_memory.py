"""Models that come from no file: metadata describes them, a Python function gives each tensor its values.

libllama makes every tensor that the architecture may have, the optional ones too, and calls back once for
each. Values arrive as numpy arrays of the tensor's shape and are converted to its type here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from ._core import logs, model_checks, model_file
from ._core.callbacks import Callback
from .errors import (
    ArgumentTypeError,
    InvalidArgumentError,
    ModelLoadError,
    NativeAbortError,
    UnsupportedError,
)
from .gguf import GgufContext

if TYPE_CHECKING:
    from ._core.binding import Binding

Fill = Callable[[str, tuple[int, ...], str], Any]
"""Called with a tensor's name, its shape (rows' length last) and its type; returns its values."""


def build(
    active: Binding, metadata: Mapping[str, Any] | GgufContext, fill: Fill | None, params: Any
) -> tuple[Any, str]:
    """Return (a new ``struct llama_model *``, the SHA-256 of its tensors' names and values).

    Arguments:
        metadata: what describes the model; types of tensors come from the tensors of a ``GgufContext``.
        fill: gives each tensor's values; None only with ``vocab_only``.
        params: ``struct llama_model_params *``.

    Raises:
        InvalidArgumentError: metadata that libllama would abort on; values of the wrong shape or size.
        ModelLoadError: libllama refused it.
        anything that ``fill`` raises.
    """
    ffi, lib = active.ffi, active.lib
    if fill is None and not params.vocab_only:
        raise InvalidArgumentError("fill is None: without it only a model with vocab_only=True can be made")
    if fill is not None and not callable(fill):
        raise ArgumentTypeError(f"fill must be a function, not {type(fill).__name__}")
    digest = sha256()
    gguf = metadata if isinstance(metadata, GgufContext) else GgufContext(metadata)
    try:
        _check(gguf, bool(params.vocab_only))
        callback = Callback(
            ffi, "llama_model_set_tensor_data_t", lambda tensor, _: _set(active, tensor, fill, digest), None
        )
        with gguf._handle as context, logs.capture() as lines:
            try:
                pointer = lib.llama_model_init_from_user(context, callback.pointer, ffi.NULL, params[0])
            except NativeAbortError as error:  # no object is involved that could be poisoned
                raise ModelLoadError(f"the metadata: {error}", log=lines) from error
    finally:
        if gguf is not metadata:
            gguf.close()
    if callback.failed:
        if pointer != active.NULL:
            lib.llama_model_free(pointer)
        callback.reraise()
    if pointer == active.NULL:
        raise model_file.load_error("the metadata", lines, False)
    return pointer, digest.hexdigest()


def _check(gguf: GgufContext, vocab_only: bool) -> None:
    """Raise for what libllama asserts on."""
    arch = gguf.get("general.architecture")
    if not isinstance(arch, str):
        raise InvalidArgumentError('the metadata has no "general.architecture", a str such as "llama"')
    if vocab_only:
        return

    problem = model_checks.metadata_problem(arch, gguf.get, gguf)
    if problem:
        raise InvalidArgumentError(problem)


def _set(active: Binding, tensor: Any, fill: Any, digest: Any) -> None:
    ffi, lib = active.ffi, active.lib
    name = ffi.string(lib.ggml_get_name(tensor)).decode("utf-8", "replace")
    extents = tensor.ne[0 : lib.ggml_n_dims(tensor)]
    shape = tuple(int(each) for each in reversed(list(extents)))
    type_name = ffi.string(lib.ggml_type_name(tensor.type)).decode()
    size = int(lib.ggml_nbytes(tensor))
    given = fill(name, shape, type_name)
    if isinstance(given, bytes | bytearray | memoryview):
        data: Any = given
    else:
        data = _convert(active, name, shape, int(tensor.type), type_name, given)
    source = ffi.from_buffer(data)
    if len(source) != size:
        raise InvalidArgumentError(f"tensor {name!r} needs {size} bytes ({type_name}), not {len(source)}")
    lib.ggml_backend_tensor_set(tensor, source, 0, size)
    digest.update(f"{name} {type_name} {shape} ".encode())
    digest.update(ffi.buffer(source))


_PLAIN = {"f32": "f4", "f16": "f2", "f64": "f8", "i8": "i1", "i16": "i2", "i32": "i4", "i64": "i8"}

_NO_QUANTIZER = ("q8_1", "q8_K")


def _convert(
    active: Binding, name: str, shape: tuple[int, ...], type: int, type_name: str, given: Any
) -> Any:
    """Return the values as a buffer of the tensor's type."""
    import numpy as np

    if given is None:
        raise ArgumentTypeError(f"fill returned None for tensor {name!r}; return an array of shape {shape}")
    ffi, lib = active.ffi, active.lib
    wanted = _PLAIN.get(type_name)
    try:
        array = np.asarray(given)
        if array.dtype.kind not in "biuf" or (wanted and wanted[0] == "i" and array.dtype.kind == "f"):
            raise TypeError(f"{array.dtype} can't be converted to {type_name}")
        values = np.ascontiguousarray(array, dtype=wanted or "f4")
    except (TypeError, ValueError) as error:
        raise ArgumentTypeError(f"the values for tensor {name!r}: {error}") from None
    if array.ndim == 0:
        values = np.full(shape, array, dtype=values.dtype)
    elif array.shape != shape:
        raise InvalidArgumentError(f"the values for tensor {name!r} have shape {array.shape}, not {shape}")
    if wanted:
        return values
    if lib.ggml_quantize_requires_imatrix(type) or type_name in _NO_QUANTIZER:
        raise UnsupportedError(
            f"tensor {name!r} is of type {type_name}, which values can't be converted to without an "
            f"importance matrix; return its bytes"
        )
    if not np.isfinite(values).all():
        raise InvalidArgumentError(f"the values for tensor {name!r} hold NaN or infinity")
    data = np.empty(lib.ggml_row_size(type, shape[-1]) * (values.size // shape[-1]), np.uint8)
    source, target = ffi.from_buffer("float[]", values), ffi.from_buffer("char[]", data)
    if type_name == "bf16":
        lib.ggml_fp32_to_bf16_row(source, ffi.cast("ggml_bf16_t *", target), values.size)
    else:
        lib.ggml_quantize_chunk(type, source, target, 0, values.size // shape[-1], shape[-1], ffi.NULL)
    return data
