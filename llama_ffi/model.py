"""Models: load, look at, save, and make contexts from.

A file is looked at before C sees it, for a better message than "failed to load model"; what llama.cpp
says while failing goes into the error too. The C object is freed when the model is closed and its last
context, sampler or adapter is gone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from . import model_memory, model_saving
from ._core import binding, check, model_file, model_source
from ._core import isolate as isolate_
from ._core.gate import Gate
from ._core.handle import Handle
from ._core.model_file import Path
from .errors import (
    InvalidArgumentError,
)
from .model_params import BufferOverrides, GpuLayers, Progress, check_patterns, model_params
from .model_uses import ModelUses
from .overrides import Hearing, KvOverride
from .vocab import Vocab

if TYPE_CHECKING:
    from .backends import Device
    from .gguf import GgufContext


class Model(ModelUses):
    """A loaded model.

    C: struct llama_model, owned.

    Use it in a ``with``, or ``close()`` it; contexts made from it keep its C object alive.

    Threads: any number may read, tokenize and make contexts at a time.
    """

    __slots__ = ("_gate", "_reordered", "path", "vocab")

    path: str
    """where it was loaded from; "" if it was made in memory"""
    vocab: Vocab
    """its vocabulary"""
    _reordered: str | None
    """the memory in which weights are kept in an order of its own, "" if there is none, None = unknown"""

    def __init__(
        self,
        pointer: Any,
        path: str = "",
        *,
        vocab_only: bool = False,
        no_alloc: bool = False,
        keep: Iterable[Any] = (),
    ) -> None:
        """Take over a ``struct llama_model *`` that raw code made; use :meth:`load` for files.

        Arguments:
            pointer: the model; owned from now on.
            path: where it came from, for messages.
            vocab_only: whether it has no weights.
            no_alloc: whether its weights were only counted.
            keep: what must live as long as it does.

        Raises:
            InvalidArgumentError: the pointer is NULL.
        """
        active = binding.active()
        if pointer == active.NULL:
            raise InvalidArgumentError("the model pointer is NULL")
        self._ffi = active.ffi
        self._lib = active.lib
        self._handle = Handle(active.ffi, pointer, active.lib.llama_model_free, "model", keep=keep)
        self._gate = Gate()
        self._metadata = None
        self._sources = (path,) if path else ()
        self._changes = {}
        self._fingerprint = ""
        self.path = path
        self._vocab_only = vocab_only
        self._no_alloc = no_alloc
        self._reordered = None
        self.vocab = Vocab(self._handle, active.lib.llama_model_get_vocab(pointer))

    @classmethod
    def load(
        cls,
        path: Path | Sequence[Path] | BinaryIO | int,
        *,
        offset: int | None = None,
        n_gpu_layers: GpuLayers = None,
        split_mode: str | int | None = None,
        main_gpu: int = 0,
        tensor_split: Sequence[float] | None = None,
        devices: Iterable[str | Device] | None = None,
        fit_context: Mapping[str, Any] | None = None,
        tensor_buft_overrides: BufferOverrides | None = None,
        load_mode: str | int | None = None,
        lazy_mode: str | int | None = None,
        kv_overrides: Mapping[str, KvOverride] | None = None,
        progress: Progress | None = None,
        vocab_only: bool = False,
        check_tensors: bool = False,
        use_extra_bufts: bool = True,
        no_host: bool = False,
        no_alloc: bool = False,
        load_mtp: bool = False,
        rpc: str | Iterable[str] | None = None,
        isolate: bool | float = False,
    ) -> Model:
        """Load a model from a GGUF file, the parts of a split one, or an open file.

        C: llama_model_load_from_file, llama_model_load_from_splits, llama_model_load_from_file_ptr,
        struct llama_model_params, llama_max_devices, llama_max_tensor_buft_overrides

        Arguments:
            path: the file; of a split model the first part (the others are found by their names), or a list
                of all parts in their order; or a file that is open for reading in binary mode, or its
                descriptor. It must be a real file; it may be closed afterwards, and its position is kept.
            offset: where in the file the model begins, in bytes; None = at the open file's position, of a
                path 0. At an odd place (no multiple of 32) it is read into memory instead of mapped.
            n_gpu_layers: layers to keep on GPUs; None = all, 0 = none; "auto" = as many as fit into the
                devices' free memory together with a context, see :func:`plan_layers <llama_ffi.plan_layers>`.
            split_mode: how to spread over several GPUs: "none", "layer", "row" or "tensor".
            main_gpu: the one GPU for split_mode "none", -1 = none.
            tensor_split: the share of each device.
            devices: the devices to use, or their names (see :func:`llama_ffi.devices`); an empty list = CPU
                only.
            fit_context: with "auto", the parameters of the context that must fit in as well: ``{"n_ctx":
                8192, "type_k": "q8_0"}``; None = up to 4096 tokens.
            tensor_buft_overrides: where to keep the tensors whose names match a regular expression, by
                pattern: a device, a buffer type, or the name of one: ``{r"ffn_.*_exps": "CPU"}``. The first
                pattern that is found anywhere in a name counts.
            load_mode: "auto", "none", "mmap", "mlock", "mmap_mlock" or "direct_io".
            lazy_mode: read rows of large tensors when needed: "off", "auto" or "on".
            kv_overrides: metadata to replace, by key; the value's Python type must match. A key that
                llama.cpp doesn't look at for this model is refused (not with ``vocab_only``).
            progress: called with 0.0 to 1.0; returning False cancels. What it raises, ``load`` raises.
            vocab_only: only the vocabulary and the metadata, no weights: no contexts can be made.
            check_tensors: look for NaNs and damaged blocks in the weights.
            use_extra_bufts: let back ends repack weights.
            no_host: don't use host buffers of GPUs.
            no_alloc: read the metadata and plan the memory, but load no weights: for :meth:`measure`.
            load_mtp: load the layers for multi-token prediction.
            rpc: workers ("host:port", see :mod:`llama_ffi.rpc`) whose devices come before the local ones;
                with ``devices=[]`` there are no local ones. **A worker that goes away ends this process**;
                with ``isolate`` it is an RpcWorkerLostError.
            isolate: let another process run the risk. Without ``rpc`` that is the load: the other process
                loads the model and decodes a token first, and what would end this one ends that one, and is a
                ModelFileError. For files from strangers: it takes as long as a second start. With ``rpc`` the
                risk lasts as long as the model, so the model stays in that process: what is returned is an
                :class:`~llama_ffi.IsolatedModel`. A number = seconds to wait for the load, True = 600.

        Returns:
            the model, owned; with ``rpc`` and ``isolate`` an :class:`~llama_ffi.IsolatedModel`.

        Raises:
            ModelNotFoundError, ModelPermissionError: no such file; it may not be read.
            ModelFileError: not a GGUF file, empty, cut off, or a directory.
            ModelLoadError: llama.cpp refused it (``.log`` has its words), or ``progress`` cancelled.
            InvalidArgumentError, BackendError: a parameter can't be; no device of that name; a pattern that
                matches no tensor; a pipe or a closed file instead of a real one.
            RpcConnectError: a worker isn't there, is busy or speaks another version of the protocol.
            ArgumentTypeError: ``path`` is neither a path nor a binary file.

        Threads: any; ``progress`` is called on this one. Loads from open files take turns, because a file has
        only one position; nobody else may move it meanwhile.
        """
        if rpc is not None and isolate is not False:
            from .isolated import IsolatedModel

            isolated = IsolatedModel.load(
                path,
                rpc=rpc,
                timeout=isolate_.SECONDS if isolate is True else check.seconds("isolate", isolate),
                progress=progress,
                offset=offset,
                n_gpu_layers=n_gpu_layers,
                split_mode=split_mode,
                main_gpu=main_gpu,
                tensor_split=tensor_split,
                devices=devices,
                fit_context=fit_context,
                tensor_buft_overrides=tensor_buft_overrides,
                load_mode=load_mode,
                lazy_mode=lazy_mode,
                kv_overrides=kv_overrides,
                vocab_only=vocab_only,
                check_tensors=check_tensors,
                use_extra_bufts=use_extra_bufts,
                no_host=no_host,
                no_alloc=no_alloc,
                load_mtp=load_mtp,
            )
            return cast(Model, isolated)  # who wants its type calls IsolatedModel.load
        active = binding.active()
        lib = active.lib
        vocab_only = check.truth("vocab_only", vocab_only)
        source = model_source.source(path, offset)
        if kv_overrides is not None:
            check.mapping("kv_overrides", kv_overrides)
        model_file.check_overrides(kv_overrides or {})
        if not vocab_only:  # to look at it is safe
            model_file.check_model(source.name, source.headers(), kv_overrides or {})
        if isolate is not False:
            isolate_.probe(
                source.name,
                source.by_path(),
                offset=offset,
                vocab_only=bool(vocab_only),
                overrides=kv_overrides or {},
                seconds=isolate_.SECONDS if isolate is True else check.seconds("isolate", isolate),
            )
        with ExitStack() as undone:
            if rpc is not None:
                from .rpc import Use

                workers = Use(rpc)
                undone.callback(workers.end)
                devices = workers.devices(devices)
            if isinstance(n_gpu_layers, str) and n_gpu_layers == "auto":
                from . import device_plan, layer_plan  # few need it

                devices = layer_plan.chosen(devices)
                n_gpu_layers = device_plan.automatic(
                    path,
                    offset,
                    source.headers(),
                    fit_context,
                    {
                        "split_mode": split_mode,
                        "main_gpu": main_gpu,
                        "tensor_split": tensor_split,
                        "devices": devices,
                        "tensor_buft_overrides": tensor_buft_overrides,
                        "kv_overrides": kv_overrides,
                        "use_extra_bufts": use_extra_bufts,
                        "no_host": no_host,
                        "load_mtp": load_mtp,
                    },
                )
            elif fit_context is not None:
                raise InvalidArgumentError("fit_context is for n_gpu_layers='auto' only")
            params, keep, callback = model_params(
                active,
                n_gpu_layers=n_gpu_layers,
                split_mode=split_mode,
                main_gpu=main_gpu,
                tensor_split=tensor_split,
                devices=devices,
                tensor_buft_overrides=tensor_buft_overrides,
                load_mode=load_mode if load_mode is not None or source.mappable else "none",
                lazy_mode=lazy_mode,
                kv_overrides=kv_overrides,
                progress=progress,
                vocab_only=vocab_only,
                check_tensors=check_tensors,
                use_extra_bufts=use_extra_bufts,
                no_host=no_host,
                no_alloc=no_alloc,
                load_mtp=load_mtp,
            )
            if tensor_buft_overrides:
                check_patterns(tensor_buft_overrides, source.tensor_names())
            hearing = Hearing(kv_overrides)
            with hearing.capture() as lines:
                pointer = source.load(active, params[0])
            if pointer == active.NULL:
                if callback is not None:
                    callback.reraise()
                refused = [line for line in lines if "regular expression" in line or "regex" in line]
                if tensor_buft_overrides and refused:
                    raise InvalidArgumentError(
                        f"tensor_buft_overrides: {model_file.words(refused[-1])}", log=lines
                    )
                raise model_file.load_error(source.name, lines, progress is not None)
            try:
                hearing.check(active, source.headers()[0].values, vocab_only=vocab_only)
            except InvalidArgumentError:
                lib.llama_model_free(pointer)
                raise
            # devices are kept by C as pointers into its own registry; every other array was only read. The
            # callback isn't called any more: kept, a program that the model is part of could never be
            # collected.
            needed = [each for each in keep if each is not callback]
            if rpc is not None:
                needed.append(workers)
            model = cls(
                pointer, source.name, vocab_only=bool(vocab_only), no_alloc=bool(no_alloc), keep=needed
            )
            undone.pop_all()
            model._sources = source.files
            model._reordered = model_saving.reordered(lines)
            model._changes = dict(kv_overrides or {})
            if callback is not None:
                callback.reraise()
            return model

    @classmethod
    def from_metadata(
        cls,
        metadata: Mapping[str, Any] | GgufContext,
        fill: model_memory.Fill | None = None,
        *,
        n_gpu_layers: int | None = None,
        split_mode: str | int | None = None,
        main_gpu: int = 0,
        tensor_split: Sequence[float] | None = None,
        devices: Iterable[str] | None = None,
        kv_overrides: Mapping[str, KvOverride] | None = None,
        vocab_only: bool = False,
        no_host: bool = False,
    ) -> Model:
        """Make a model in memory: metadata describes it, a function gives each tensor's values.

        C: llama_model_init_from_user

        Arguments:
            metadata: what a GGUF file would say, the vocabulary included: key → value (see
                :meth:`GgufContext.set <llama_ffi.gguf.GgufContext.set>` for types), or a
                :class:`~llama_ffi.gguf.GgufContext`. All tensors are f32, but for those that the context
                names with another type.
            fill: ``fill(name, shape, type)`` is called once for each tensor, the optional ones included,
                and returns its values: an array of that shape (the rows' length last), which is converted
                to the type; a number for all elements; or bytes as C has them.
            n_gpu_layers, split_mode, main_gpu, tensor_split, devices, kv_overrides, no_host: as for
                :meth:`load`.
            vocab_only: only the vocabulary and the metadata; ``fill`` isn't called.

        Returns:
            the model, owned. Its ``n_params`` and ``size`` are 0: libllama counts what files hold.

        Raises:
            InvalidArgumentError: metadata that can't be; values of the wrong shape or size.
            ArgumentTypeError: a value of a type that GGUF doesn't have; values that aren't numbers.
            ModelLoadError: libllama refused it (``.log`` has its words): a key is missing, for example.
            and whatever ``fill`` raises.

        Threads: any; ``fill`` is called on this one.
        """
        active = binding.active()
        params, keep, _ = model_params(
            active,
            n_gpu_layers=n_gpu_layers,
            split_mode=split_mode,
            main_gpu=main_gpu,
            tensor_split=tensor_split,
            devices=devices,
            tensor_buft_overrides=None,
            load_mode=None,
            lazy_mode=None,
            kv_overrides=kv_overrides,
            progress=None,
            vocab_only=vocab_only,
            check_tensors=False,
            use_extra_bufts=False,
            no_host=no_host,
            no_alloc=False,
            load_mtp=False,
        )
        pointer, weights = model_memory.build(active, metadata, fill, params)
        model = cls(pointer, vocab_only=bool(vocab_only), keep=keep)
        model._reordered = ""  # use_extra_bufts is off
        model._changes = {**(kv_overrides or {}), "weights": weights}
        return model

    def __repr__(self) -> str:
        if self.closed:
            return "<llama_ffi.Model, closed>"
        what = f"{self.arch}, vocabulary only" if self.vocab_only else self.desc
        return f"<llama_ffi.Model {what}: {self.path or 'in memory'}>"

    # --- what it is ---

    @property
    def vocab_only(self) -> bool:
        """Whether only the vocabulary and the metadata were loaded."""
        return self._vocab_only

    @property
    def no_alloc(self) -> bool:
        """Whether no weights were loaded, only their memory was planned."""
        return self._no_alloc

    # --- saving ---

    def save_to_file(self, path: Path) -> None:
        """Write the model as one GGUF file; an existing file is replaced only when the new one is complete.

        C: llama_model_save_to_file

        Arguments:
            path: the file.

        Raises:
            UnsupportedError: a vocabulary alone, an architecture that llama.cpp can't save, or weights that
                are kept in another order (load it with ``use_extra_bufts=False``).
            ModelSaveError: the file can't be written.
            ClosedError: the model is closed.

        Threads: any.
        """
        model_saving.save(self, path)
