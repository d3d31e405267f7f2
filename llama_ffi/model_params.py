"""Parameters of models: from Python values to ``struct llama_model_params``, with every check on the way.

The struct starts as what ``llama_model_default_params()`` returns, so a field that isn't mentioned here has
the library's own default. It points to arrays; whoever passes it to C keeps the list that comes with it for
as long as C may look.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ._core import check
from ._core import text as text_
from ._core.callbacks import Callback
from ._core.choices import members
from .errors import BackendError, InvalidArgumentError

if TYPE_CHECKING:
    from ._core.binding import Binding

KvOverride = bool | int | float | str
Progress = Callable[[float], object]


def model_params(
    active: Binding,
    *,
    n_gpu_layers: int | None,
    split_mode: str | int | None,
    main_gpu: int,
    tensor_split: Sequence[float] | None,
    devices: Iterable[str] | None,
    load_mode: str | int | None,
    lazy_mode: str | int | None,
    kv_overrides: Mapping[str, KvOverride] | None,
    progress: Progress | None,
    vocab_only: bool,
    check_tensors: bool,
    use_extra_bufts: bool,
    no_host: bool,
    load_mtp: bool,
) -> tuple[Any, list[Any], Callback | None]:
    """Return (``struct llama_model_params *``, what must live during the call, the progress callback)."""
    ffi, lib = active.ffi, active.lib
    params = active.fields(ffi.new("struct llama_model_params *", lib.llama_model_default_params()))
    keep: list[Any] = []
    if n_gpu_layers is not None:
        params.n_gpu_layers = check.integer("n_gpu_layers", n_gpu_layers)
    if split_mode is not None:
        params.split_mode = check.choice("split_mode", split_mode, members(active, "llama_split_mode"))
    if load_mode is not None:
        params.load_mode = check.choice("load_mode", load_mode, members(active, "llama_load_mode"))
    if lazy_mode is not None:
        params.lazy_mode = check.choice("lazy_mode", lazy_mode, members(active, "llama_lazy_mode"))
    params.main_gpu = check.integer("main_gpu", main_gpu)
    if tensor_split is not None:
        params.tensor_split = _tensor_split(active, tensor_split, keep)
    if devices is not None:
        params.devices = _devices(active, devices, keep)
    if kv_overrides:
        params.kv_overrides = _kv_overrides(active, kv_overrides, keep)
    callback = None
    if progress is not None:
        callback = _progress(active, progress)
        params.progress_callback = callback.pointer
        keep.append(callback)
    params.vocab_only = bool(vocab_only)
    params.check_tensors = bool(check_tensors)
    params.use_extra_bufts = bool(use_extra_bufts)
    params.no_host = bool(no_host)
    params.load_mtp = bool(load_mtp)
    return params, keep, callback


def _progress(active: Binding, function: Progress) -> Callback:
    def call(fraction: float, _user_data: Any) -> bool:
        return function(fraction) is not False  # a callback that returns nothing means "go on"

    return Callback(active.ffi, "llama_progress_callback", call, False)


def _tensor_split(active: Binding, shares: Sequence[float], keep: list[Any]) -> Any:
    room = int(active.lib.llama_max_devices())
    if len(shares) > room:
        raise InvalidArgumentError(
            f"tensor_split has {len(shares)} shares; this library knows {room} devices"
        )
    # C reads llama_max_devices() floats whatever is passed
    array = active.ffi.new("float[]", room)
    for index, share in enumerate(shares):
        array[index] = check.real(f"tensor_split[{index}]", share, 0.0)
    keep.append(array)
    return array


def _devices(active: Binding, names: Iterable[str], keep: list[Any]) -> Any:
    ffi, lib = active.ffi, active.lib
    known: dict[str, Any] = {}
    for index in range(lib.ggml_backend_dev_count()):
        device = lib.ggml_backend_dev_get(index)
        known[ffi.string(lib.ggml_backend_dev_name(device)).decode("utf-8", "replace")] = device
    wanted = [names] if isinstance(names, str) else [getattr(each, "name", each) for each in names]
    missing = [name for name in wanted if name not in known]
    if missing:
        raise BackendError(f"no device named {', '.join(map(repr, missing))}; there are: {', '.join(known)}")
    array = ffi.new("ggml_backend_dev_t[]", [known[name] for name in wanted] + [ffi.NULL])
    keep.append(array)
    return array


def _kv_overrides(active: Binding, overrides: Mapping[str, KvOverride], keep: list[Any]) -> Any:
    kinds = members(active, "llama_model_kv_override_type")
    array = active.ffi.new("struct llama_model_kv_override[]", len(overrides) + 1)  # ends with an empty key
    for entry, (key, value) in zip(array, overrides.items(), strict=False):
        data = text_.encode_c(key, "the key of kv_overrides")
        if not 0 < len(data) < 128:
            raise InvalidArgumentError(f"the key {key!r} of kv_overrides must have 1 to 127 bytes")
        entry.key = data
        if isinstance(value, bool):
            entry.tag, entry.val_bool = kinds["bool"], value
        elif isinstance(value, int):
            entry.tag = kinds["int"]
            entry.val_i64 = check.integer(f"kv_overrides[{key!r}]", value, -(2**63), 2**63 - 1)
        elif isinstance(value, float):
            entry.tag, entry.val_f64 = kinds["float"], value
        elif isinstance(value, str):
            string = text_.encode_c(value, f"kv_overrides[{key!r}]")
            if len(string) > 127:
                raise InvalidArgumentError(f"kv_overrides[{key!r}] has {len(string)} bytes; 127 are possible")
            entry.tag, entry.val_str = kinds["str"], string
        else:
            raise InvalidArgumentError(f"kv_overrides[{key!r}] must be bool, int, float or str")
    keep.append(array)
    return array
