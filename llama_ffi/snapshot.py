"""Snapshots: what a sequence's memory was, in this process, to go back to.

The bytes are C's own, which it hardly checks when it reads them. So they never leave the object that holds
them, and go back only into a context where C would have written the same form: the same one, or one of the
same model that was made with the same parameters. Files are :class:`StateFile`'s business.

A snapshot on the device costs no transfer: C keeps the values in buffers of the context, one set for each
sequence, so a newer one of the sequence takes the place of the older.
"""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Any, SupportsIndex

from ._core import check, logs
from .context_adapters import ContextAdapters
from .decode_failures import reason
from .errors import ClosedError, InvalidArgumentError, MemoryOperationError, UnsupportedError

if TYPE_CHECKING:
    from .memory import Memory
    from .outputs import Outputs

_NO_MATTER = frozenset(
    {
        "embeddings",
        "n_batch",
        "n_outputs_max",
        "n_outputs_max_per_seq",
        "n_threads",
        "n_threads_batch",
        "n_ubatch",
        "no_perf",
    }
)
"""Parameters of a context that leave no trace in its memory."""


class Snapshot:
    """The state of one sequence; obtained as ``ctx.snapshot(seq_id)``, used by ``ctx.restore(snapshot)``.

    Threads: any; it doesn't change.
    """

    __slots__ = (
        "_context",
        "_data",
        "_facts",
        "_flags",
        "_home",
        "on_device",
        "partial",
        "pos_max",
        "seq_id",
    )

    seq_id: int
    """the sequence it was taken of"""
    pos_max: int
    """the largest position of the sequence, -1 if it was empty"""
    partial: bool
    """without what can be cut back instead (keys and values of full attention)"""
    on_device: bool
    """its values lie in buffers of the context"""

    def __init__(
        self,
        data: Any,
        facts: dict[str, Any],
        flags: int,
        home: dict[int, Any],
        *,
        context: Any,
        seq_id: int,
        pos_max: int,
        partial: bool,
        on_device: bool,
    ) -> None:
        """Made by :meth:`Context.snapshot`."""
        self._data = data
        self._facts = facts
        self._flags = flags
        self._home = home
        self._context = context
        self.seq_id = seq_id
        self.pos_max = pos_max
        self.partial = partial
        self.on_device = on_device

    def __repr__(self) -> str:
        state = "closed" if self.closed else f"{self.size} bytes" + ", invalid" * (not self.valid)
        return f"<llama_ffi.Snapshot of sequence {self.seq_id}, up to position {self.pos_max}: {state}>"

    @property
    def size(self) -> int:
        """Return how many bytes it takes in the process's memory; on a device C takes more."""
        return 0 if self._data is None else len(self._data)

    @property
    def valid(self) -> bool:
        """Whether it can be restored: not closed, and no newer one has taken its place on the device."""
        return self._data is not None and (not self.on_device or self._home.get(self.seq_id) is self._data)

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        return self._data is None

    def close(self) -> None:
        """Free its bytes; a second call does nothing. Dropping the last reference does the same.

        Threads: any.
        """
        self._data = self._context = None

    def __enter__(self) -> Snapshot:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.close()


class ContextSnapshots(ContextAdapters):
    """The part of :class:`Context` that takes and restores snapshots."""

    __slots__ = ("_on_device", "_options")

    if TYPE_CHECKING:  # the context has them
        _outputs: Outputs
        n_seq_max: int

        @property
        def memory(self) -> Memory: ...

    _options: dict[str, Any]
    """the parameters that it was made with"""
    _on_device: dict[int, Any]
    """of each sequence: the data of its newest snapshot on the device"""

    def snapshot(
        self, seq_id: SupportsIndex = 0, *, partial: bool = False, on_device: bool = False
    ) -> Snapshot:
        """Keep what the memory holds of a sequence, to :meth:`restore` it later.

        C: llama_state_seq_get_size_ext, llama_state_seq_get_data_ext

        Arguments:
            seq_id: the sequence, 0 to n_seq_max - 1.
            partial: only what can't be cut back: the sliding windows, the recurrent state. Much smaller; to
                be restored while the memory still holds the sequence up to there.
            on_device: leave the values in buffers of the context, where its memory is. Faster; a newer
                snapshot of the sequence on the device takes its place.

        Returns:
            the snapshot, a copy. On the device it keeps the context's C object alive.

        Raises:
            SequenceRangeError: no such sequence.
            MemoryOperationError: a copy between sequences waits for the next decode; or C keeps no snapshot
                of this memory on the device.
            UnsupportedError: contexts of this model have no memory; or C can't keep its types on a device.
            ClosedError, BusyError.

        Threads: one call at a time.
        """
        sequence = check.sequence(seq_id, self.n_seq_max)
        partial, on_device = check.truth("partial", partial), check.truth("on_device", on_device)
        memory = self.memory
        ffi, lib, flags = self._ffi, self._lib, 0
        if partial:
            flags |= lib.LLAMA_STATE_SEQ_FLAGS_PARTIAL_ONLY
        if on_device:
            flags |= _device_flag(lib)
            self._check_types()
        with self._handle as ctx, logs.capture() as lines:
            if memory.copy_pending:
                raise MemoryOperationError(
                    "a copy between sequences is done by the next decode only; until then C would keep what "
                    "the target was before it; decode first"
                )
            if on_device:
                self._on_device.pop(sequence, None)  # whatever happens now, the older one is gone
            length = int(lib.llama_state_seq_get_size_ext(ctx, sequence, flags))
            data = ffi.new("uint8_t[]", length)
            written = int(lib.llama_state_seq_get_data_ext(ctx, data, length, sequence, flags))
            if not length or written != length:
                raise MemoryOperationError(
                    f"sequence {sequence} can't be kept{' on the device' * on_device}: {reason(lines)}",
                    log=lines,
                )
            pos_max = int(lib.llama_memory_seq_pos_max(memory.ptr, sequence))
            if on_device:
                self._on_device[sequence] = data
        return Snapshot(
            data,
            self._form(),
            flags,
            self._on_device,
            context=ctx if on_device else None,
            seq_id=sequence,
            pos_max=pos_max,
            partial=partial,
            on_device=on_device,
        )

    def restore(self, snapshot: Snapshot, seq_id: SupportsIndex | None = None) -> None:
        """Make a sequence what it was when the snapshot was taken; others stay as they are.

        Logits are no part of it: decode at least one token before sampling. To decode the last one again,
        ``memory.seq_rm(seq_id, snapshot.pos_max, -1)`` takes it out first.

        C: llama_state_seq_set_data_ext

        Arguments:
            snapshot: one of this context; one that isn't on the device can be another context's, of the same
                model and with the same parameters.
            seq_id: the sequence that becomes it, None = the one it was taken of. A partial one goes back to
                its own.

        Raises:
            ClosedError: the snapshot is closed, or a newer one on the device has taken its place; or the
                context is closed.
            InvalidArgumentError: the snapshot is of another model, context or form; or partial, and the
                memory doesn't hold its sequence that far any more.
            MemoryOperationError: there is no room; the sequence is empty now.
            SequenceRangeError, BusyError.

        Threads: one call at a time.
        """
        check.instance("snapshot", snapshot, Snapshot)
        sequence = check.sequence(snapshot.seq_id if seq_id is None else seq_id, self.n_seq_max)
        memory = self.memory
        lib = self._lib
        with self._handle as ctx, logs.capture() as lines:
            data = self._check_snapshot(snapshot, sequence)
            if snapshot.partial:
                held = lib.llama_memory_seq_pos_max(memory.ptr, sequence)
                if held < snapshot.pos_max:
                    raise InvalidArgumentError(
                        f"the snapshot is partial, and sequence {sequence} ends at {held} now, before the "
                        f"snapshot's {snapshot.pos_max}"
                    )
            self._outputs.invalidate()
            if not snapshot.partial or snapshot.pos_max < 0:
                lib.llama_memory_seq_rm(memory.ptr, sequence, -1, -1)  # of an empty one C would leave it
            if snapshot.pos_max < 0:
                return
            read = lib.llama_state_seq_set_data_ext(ctx, data, len(data), sequence, snapshot._flags)
            if read != len(data):
                lib.llama_memory_seq_rm(memory.ptr, sequence, -1, -1)
                raise MemoryOperationError(
                    f"the snapshot can't be restored: {reason(lines)}; sequence {sequence} is empty now",
                    log=lines,
                )
            if snapshot.partial:
                lib.llama_memory_seq_rm(memory.ptr, sequence, snapshot.pos_max + 1, -1)

    def _form(self) -> dict[str, Any]:
        """Return what must be equal where a snapshot is restored."""
        options = {name: value for name, value in self._options.items() if name not in _NO_MATTER}
        return {"model": self.model._gate, **options}  # what a model has alone, and doesn't keep it alive

    def _check_types(self) -> None:
        for name in ("type_k", "type_v"):
            if self._options[name] not in ("f32", "f16", "bf16"):
                raise UnsupportedError(
                    f"C can't keep quantized values on a device ({name} is {self._options[name]!r}); "
                    f"take the snapshot with on_device=False"
                )

    def _check_snapshot(self, snapshot: Snapshot, sequence: int) -> Any:
        data = snapshot._data
        if data is None:
            raise ClosedError("this snapshot is closed")
        if not snapshot.valid:
            raise ClosedError(
                f"this snapshot lay on the device, and a newer one of sequence {snapshot.seq_id} has taken "
                f"its place"
            )
        if snapshot._home is self._on_device:  # it is this context's own
            if snapshot.partial and sequence != snapshot.seq_id:
                raise InvalidArgumentError(
                    f"a partial snapshot goes back to the sequence it was taken of, {snapshot.seq_id}"
                )
            return data
        if snapshot.on_device or snapshot.partial:
            kind = "lies on the device of" if snapshot.on_device else "is a part of the memory of"
            raise InvalidArgumentError(f"the snapshot {kind} another context")
        theirs = snapshot._facts
        for name, value in self._form().items():
            if theirs[name] == value:
                continue
            if name == "model":
                raise InvalidArgumentError("the snapshot is of another model")
            raise InvalidArgumentError(
                f"the snapshot's context was made with {name}={theirs[name]!r}, this one with {value!r}"
            )
        return data


def _device_flag(lib: Any) -> int:
    try:
        return int(lib.LLAMA_STATE_SEQ_FLAGS_ON_DEVICE)
    except AttributeError:
        raise UnsupportedError("this llama.cpp keeps no snapshots on devices") from None
