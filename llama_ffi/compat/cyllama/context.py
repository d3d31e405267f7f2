"""cyllama's contexts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...context import Context
from ...errors import ArgumentTypeError, NoOutputsError, UnsupportedError
from ...errors import CancelledError as Cancelled
from ...errors import NoKvSlotError as NoKvSlot
from .batch import LlamaBatch, safe_batch
from .errors import CancelledError, NoKvSlotError
from .model import LlamaAdapterLora, LlamaModel, safe_model
from .params import LlamaContextParams
from .states import KeepsStates
from .threads import GgmlThreadPool, safe_pool
from .values import Int


class LlamaContext(KeepsStates):
    """What computes with a model.

    Arguments:
        model: the model.
        params: None = the usual ones.
        verbose: without effect.

    Errors as those of :class:`llama_ffi.Context`, whose methods these are.

    Threads: one call at a time.
    """

    __slots__ = ("_loras", "_wants_cancel", "model", "n_tokens", "params", "safe", "verbose")

    safe: Context
    """llama_ffi's context under it"""
    model: LlamaModel
    params: LlamaContextParams
    verbose: bool
    n_tokens: int
    """tokens of the last batch"""

    def __init__(
        self,
        *,
        model: LlamaModel,
        params: LlamaContextParams | None = None,
        verbose: bool = True,
    ) -> None:
        if params is not None and not isinstance(params, LlamaContextParams):
            raise ArgumentTypeError(f"params must be LlamaContextParams, not {type(params).__name__}")
        self.params = params or LlamaContextParams()
        self.safe = Context(safe_model(model), **self.params.options())
        self.model = model
        self.verbose = verbose
        self.n_tokens = 0
        self._wants_cancel = False
        self._loras: list[tuple[LlamaAdapterLora, float]] = []

    def __repr__(self) -> str:
        return f"<llama_ffi.compat.cyllama.LlamaContext of {self.safe!r}>"

    @staticmethod
    def default_params() -> LlamaContextParams:
        """Return the usual parameters."""
        return LlamaContextParams()

    def close(self) -> None:
        """Free the context; a second call does nothing."""
        self._loras = []
        self.safe.close()

    # --- sizes: values that can be called, see compat.cyllama.values ---

    @property
    def n_ctx(self) -> Int:
        """Return the tokens that it can hold."""
        return Int(self.safe.n_ctx)

    @property
    def n_ctx_seq(self) -> Int:
        """Return the tokens that one sequence can have."""
        return Int(self.safe.n_ctx_seq)

    @property
    def n_batch(self) -> Int:
        """Return the tokens that one decode can take."""
        return Int(self.safe.n_batch)

    @property
    def n_ubatch(self) -> Int:
        """Return the tokens that are computed at a time."""
        return Int(self.safe.n_ubatch)

    @property
    def n_seq_max(self) -> Int:
        """Return the number of sequences."""
        return Int(self.safe.n_seq_max)

    @property
    def pooling_type(self) -> Int:
        """Return how embeddings are pooled, a ``LLAMA_POOLING_TYPE_*``."""
        return Int(self.safe.pooling_type)

    # --- computing ---

    def decode(self, batch: LlamaBatch) -> int:
        """Compute a batch.

        Arguments:
            batch: the batch.

        Returns:
            0; everything else is an error.

        Raises:
            NoKvSlotError (a ValueError too): no room; nothing has changed.
            CancelledError (an InterruptedError too): ``cancel`` was set.
            InvalidBatchError (a ValueError), TokenRangeError, DecodeError (a RuntimeError) …: as
                :meth:`llama_ffi.Context.decode`.
        """
        safe = safe_batch(batch)
        if self._wants_cancel:
            self.safe.cancel()
        try:
            self.safe.decode(safe)
        except NoKvSlot as error:
            raise NoKvSlotError(str(error), code=error.code, log=error.log) from error
        except Cancelled as error:
            raise CancelledError(str(error), code=error.code, log=error.log) from error
        self.n_tokens = len(safe)
        return 0

    def encode(self, batch: LlamaBatch) -> int:
        """Run the encoder over ``batch``; errors as :meth:`llama_ffi.Context.encode`. Return 0."""
        self.safe.encode(safe_batch(batch))
        return 0

    @property
    def cancel(self) -> bool:
        """Whether decodes are to stop; set it to True from any thread, and to False to go on."""
        return self._wants_cancel

    @cancel.setter
    def cancel(self, value: bool) -> None:
        self._wants_cancel = bool(value)
        if value:
            self.safe.cancel()

    def install_cancel_callback(self) -> None:
        """Do nothing: ``cancel`` always works."""

    def set_abort_callback(self, py_abort_callback: Callable[[], object] | None) -> None:
        """Refuse a function in Python: it would be asked at every node, and waits for the GIL each time.

        Arguments:
            py_abort_callback: None does nothing.

        Raises:
            UnsupportedError: it is a function; ``ctx.cancel = True`` stops a decode from any thread.
        """
        if py_abort_callback is not None:
            raise UnsupportedError(
                "an abort callback in Python would be called at every node of the graph; set "
                "ctx.cancel = True from a thread or a signal handler instead"
            )

    def synchronize(self) -> None:
        """Wait until everything is computed."""
        self.safe.synchronize()

    def set_n_threads(self, n_threads: int, n_threads_batch: int) -> None:
        """Compute single tokens with ``n_threads``, several with ``n_threads_batch``."""
        self.safe.set_n_threads(n_threads, n_threads_batch)

    def n_threads(self) -> int:
        """Return the threads for one token."""
        return self.safe.n_threads

    def n_threads_batch(self) -> int:
        """Return the threads for several tokens."""
        return self.safe.n_threads_batch

    def attach_threadpool(self, threadpool: GgmlThreadPool, threadpool_batch: GgmlThreadPool) -> None:
        """Compute single tokens with ``threadpool``, several with ``threadpool_batch``."""
        self.safe.attach_threadpool(safe_pool(threadpool), safe_pool(threadpool_batch))

    def detach_threadpool(self) -> None:
        """Compute with threads of its own again."""
        self.safe.detach_threadpool()

    def set_embeddings_mode(self, embeddings: bool) -> None:
        """Make embeddings besides logits, or stop; ``embeddings`` says which."""
        self.safe.set_embeddings(embeddings)

    def set_causal_attn(self, causal_attn: bool) -> None:
        """Let tokens see earlier ones only (``causal_attn``), or all of their batch."""
        self.safe.set_causal_attn(causal_attn)

    # --- reading ---

    def get_logits(self) -> list[float] | None:
        """Return the logits of the first output of the last batch, None if there are no outputs."""
        try:
            with self.safe.borrow_logits() as rows:
                numbers: list[float] = rows[0].tolist()
        except NoOutputsError:
            return None
        return numbers

    def get_logits_ith(self, i: int) -> list[float]:
        """Return the logits of the token at ``i`` of the last batch, -1 = of the last output.

        Raises:
            NoOutputsError: there are none.
        """
        numbers: list[float] = self.safe.logits(i).tolist()
        return numbers

    def get_embeddings(self) -> list[float] | None:
        """Return the embeddings of all outputs, in a row; None if there are none or they are pooled."""
        try:
            with self.safe.borrow_embeddings() as rows:
                numbers: list[float] = rows.ravel().tolist()
        except (NoOutputsError, UnsupportedError):
            return None
        return numbers

    def get_embeddings_ith(self, i: int) -> list[float]:
        """Return the embedding of the token at ``i`` of the last batch, -1 = of the last output.

        Raises:
            NoOutputsError: there is none.
            UnsupportedError: the context pools; use ``ctx.safe.embeddings_seq(seq_id)``.
        """
        numbers: list[float] = self.safe.embeddings(i).tolist()
        return numbers

    # --- memory ---

    def kv_cache_clear(self, clear_data: bool = True) -> None:
        """Forget everything; ``clear_data`` zeroes the buffers as well."""
        self.safe.memory.clear(clear_data)

    def memory_seq_rm(self, seq_id: int, p0: int, p1: int) -> bool:
        """Forget the tokens of ``seq_id`` (-1 = of all) in [p0, p1); return False if this memory can't."""
        return self.safe.memory.seq_rm(seq_id, p0, p1)

    def memory_seq_cp(self, seq_id_src: int, seq_id_dst: int, p0: int, p1: int) -> None:
        """Copy the tokens of ``seq_id_src`` in [p0, p1) to ``seq_id_dst``."""
        self.safe.memory.seq_cp(seq_id_src, seq_id_dst, p0, p1)

    def memory_seq_keep(self, seq_id: int) -> None:
        """Forget every sequence but ``seq_id``."""
        self.safe.memory.seq_keep(seq_id)

    def memory_seq_add(self, seq_id: int, p0: int, p1: int, delta: int) -> None:
        """Add ``delta`` to the positions of ``seq_id`` in [p0, p1)."""
        self.safe.memory.seq_add(seq_id, p0, p1, delta)

    def memory_seq_div(self, seq_id: int, p0: int, p1: int, d: int) -> None:
        """Divide the positions of ``seq_id`` in [p0, p1) by ``d``."""
        self.safe.memory.seq_div(seq_id, p0, p1, d)

    def memory_seq_pos_min(self, seq_id: int) -> int:
        """Return the smallest position of ``seq_id``, -1 if it is empty."""
        return self.safe.memory.seq_pos_min(seq_id)

    def memory_seq_pos_max(self, seq_id: int) -> int:
        """Return the largest position of ``seq_id``, -1 if it is empty."""
        return self.safe.memory.seq_pos_max(seq_id)

    # the names of early releases
    kv_cache_seq_rm = memory_seq_rm
    kv_cache_seq_cp = memory_seq_cp
    kv_cache_seq_keep = memory_seq_keep
    kv_cache_seq_shift = memory_seq_add
    kv_cache_seq_div = memory_seq_div
    kv_cache_seq_pos_max = memory_seq_pos_max

    # --- adapters: methods of early releases ---

    def lora_adapter_set(self, adapter: LlamaAdapterLora, scale: float) -> None:
        """Compute with ``adapter`` too, with the weight ``scale``."""
        if not isinstance(adapter, LlamaAdapterLora):
            raise ArgumentTypeError(f"adapter must be a LlamaAdapterLora, not {type(adapter).__name__}")
        self._set_loras([*(each for each in self._loras if each[0] is not adapter), (adapter, scale)])

    def lora_adapter_remove(self, adapter: LlamaAdapterLora) -> None:
        """Compute without ``adapter``.

        Raises:
            UnsupportedError: it wasn't set.
        """
        rest = [each for each in self._loras if each[0] is not adapter]
        if len(rest) == len(self._loras):
            raise UnsupportedError("this adapter isn't set on the context")
        self._set_loras(rest)

    def lora_adapter_clear(self) -> None:
        """Compute without adapters."""
        self._set_loras([])

    def _set_loras(self, loras: list[tuple[LlamaAdapterLora, float]]) -> None:
        self.safe.set_loras([(adapter.safe, scale) for adapter, scale in loras])
        self._loras = loras

    # --- what it costs ---

    def get_perf_data(self) -> dict[str, Any]:
        """Return :meth:`llama_ffi.Context.perf` by cyllama's names; zeros if nothing is measured."""
        names = ("start_ms", "load_ms", "p_eval_ms", "eval_ms")
        counts = ("n_p_eval", "n_eval", "n_reused")
        try:
            perf = self.safe.perf()
        except UnsupportedError:  # no_perf=True
            return {f"t_{name}": 0.0 for name in names} | dict.fromkeys(counts, 0)
        return {f"t_{name}": getattr(perf, name) for name in names} | {
            name: getattr(perf, name) for name in counts
        }

    def print_perf_data(self) -> None:
        """Print what was measured."""
        for name, value in self.get_perf_data().items():
            print(f"{name} = {value}")

    def reset_perf_data(self) -> None:
        """Measure from zero."""
        self.safe.reset_perf()


def llama_attach_threadpool(
    ctx: LlamaContext, threadpool: GgmlThreadPool, threadpool_batch: GgmlThreadPool
) -> None:
    """Do :meth:`LlamaContext.attach_threadpool` on ``ctx``, with ``threadpool`` and ``threadpool_batch``.

    Threads: one call at a time.
    """
    safe_context(ctx).attach_threadpool(safe_pool(threadpool), safe_pool(threadpool_batch))


def llama_detach_threadpool(ctx: LlamaContext) -> None:
    """Let ``ctx`` compute with threads of its own again.

    Threads: one call at a time.
    """
    safe_context(ctx).detach_threadpool()


def safe_context(ctx: LlamaContext) -> Context:
    """Return llama_ffi's context of ``ctx``, or raise what it is instead."""
    if not isinstance(ctx, LlamaContext):
        raise ArgumentTypeError(f"ctx must be a LlamaContext, not {type(ctx).__name__}")
    return ctx.safe
