"""What llama.cpp writes as a state, read by us before it goes back to C.

libllama believes most of what a state says about its cells: a negative position, a sequence twice in one
cell or a length of four gigabytes reach its data structures unchecked (its own checks are assertions that
release builds leave out). So the form is walked here first; keys and values themselves are numbers, any of
which is as good as another, and are skipped.

A state is the architecture's name (only that of a whole context), then one part after another:

==============================  ========================================================
memory of the model             parts
==============================  ========================================================
keys and values                 kv
with a sliding window           kv of all layers that see everything, kv of the others
recurrent                       recurrent
hybrid                          one or two kv, then recurrent
==============================  ========================================================

Which of them a context has, and how the rows of its recurrent part look, is seen in the state of a sequence
that is empty: :meth:`Form.of`. Other memories (DeepSeek V4's) have forms that are not known here.
"""

from __future__ import annotations

import itertools
import struct
from dataclasses import dataclass
from typing import Any

from ..errors import StateDamagedError, UnsupportedError

_U32 = struct.Struct("<I")
_CELL = struct.Struct("<iI")
_SECTION = struct.Struct("<iQ")
_TRANSPOSED = struct.Struct("<iII")
_LAYOUT = struct.Struct("<II")
_TWO_DIMENSIONS = 12  # bytes: x, y and the token
_LARGEST_ROW = 1 << 32
_MOST_TYPES = 256
_MOST_LAYERS = 1 << 16
_MOST_SEQUENCES = 256


@dataclass(frozen=True)
class Form:
    """How the state of a context is put together."""

    kv_parts: int
    n_stream: int
    """streams of each kv part: one, or one per sequence"""
    recurrent: tuple[tuple[int, int], ...] | None
    """(ggml type, bytes of a row) of each section of the recurrent part, None without one"""

    @classmethod
    def of(cls, empty: bytes) -> Form:
        """Read the form from the state of an empty sequence, without magic and number.

        Raises:
            UnsupportedError: it has none of the known forms.
        """
        try:
            return cls._read(empty)
        except struct.error:
            raise UnsupportedError(
                f"the memory of this model has a form whose states can't be checked ({len(empty)} bytes for "
                f"an empty sequence)"
            ) from None

    @classmethod
    def _read(cls, empty: bytes) -> Form:
        at, streams = 0, []
        while at < len(empty):
            (n_stream,) = _U32.unpack_from(empty, at)
            if not n_stream:
                break
            counts = struct.unpack_from(f"<{min(n_stream, 257)}I", empty, at + 4)
            if n_stream > 256 or any(counts):
                raise struct.error
            streams.append(n_stream)
            at += 4 * (1 + n_stream)
        if len(streams) > 2 or len(set(streams)) > 1:
            raise struct.error
        rows: tuple[tuple[int, int], ...] | None = None
        if at < len(empty):
            _count, transposed, _layers = struct.unpack_from("<III", empty, at)
            sections = empty[at + 12 :]
            if transposed or len(sections) % _SECTION.size:
                raise struct.error
            rows = tuple(_SECTION.iter_unpack(sections))
            if any(not 0 <= kind < _MOST_TYPES or row >= _LARGEST_ROW for kind, row in rows):
                raise struct.error
        if not streams and rows is None:
            raise struct.error
        return cls(len(streams), streams[0] if streams else 0, rows)


@dataclass(frozen=True)
class Limits:
    """What the context that is to take a state can hold."""

    n_seq_max: int
    n_cells: int
    """cells of one stream"""


@dataclass(frozen=True)
class Cell:
    """One token's place in the memory, or one recurrent state."""

    position: int
    sequences: tuple[int, ...]


Part = tuple[tuple[Cell, ...], ...]
"""the cells of one part, by stream"""


def read(view: memoryview, form: Form, limits: Limits, *, arch: str | None) -> tuple[Part, ...]:
    """Walk a state to its last byte and return its cells.

    Arguments:
        view: bytes of the state, without the magic and the number of a sequence.
        arch: the model's architecture: the state is that of a whole context; None: that of one sequence.

    Raises:
        StateDamagedError: C would have to believe what can't be; the message names the place.
    """
    # Two facts that the form of an empty sequence doesn't show: whether cells carry two-dimensional
    # positions, and whether there are values besides the keys. The answer that ends with the last byte is
    # right; if none does, the one that came farthest says what is wrong.
    farthest: _Damage | None = None
    for extension, has_values in itertools.product((0, _TWO_DIMENSIONS), (True, False)):
        # Released at once: a traceback that is kept must not keep a file mapped.
        with view.cast("B") as flat:
            try:
                return _Walk(flat, limits, arch is not None, extension, has_values).state(form, arch)
            except _Damage as damage:
                if farthest is None or damage.at > farthest.at:
                    farthest = damage
        if not form.kv_parts:
            break
    assert farthest is not None
    raise StateDamagedError(f"the state is damaged at byte {farthest.at} of {len(view)}: {farthest}")


class _Damage(Exception):
    """What is wrong, and where."""

    def __init__(self, at: int, what: str) -> None:
        super().__init__(what)
        self.at = at


class _Walk:
    """One way through a state, from its first byte to its last."""

    def __init__(
        self, view: memoryview, limits: Limits, whole: bool, extension: int, has_values: bool
    ) -> None:
        self.view = view
        self.at = 0
        self.limits = limits
        self.whole = whole
        self.extension = extension
        self.has_values = has_values

    def state(self, form: Form, arch: str | None) -> tuple[Part, ...]:
        if arch is not None:
            self.arch(arch)
        parts = [self.kv(form.n_stream) for _ in range(form.kv_parts)]
        if form.recurrent is not None:
            parts.append((self.recurrent(form.recurrent),))
        if self.at != len(self.view):
            raise _Damage(self.at, f"{len(self.view) - self.at} bytes more than its lengths say")
        return tuple(parts)

    def take(self, form: struct.Struct, what: str) -> tuple[Any, ...]:
        if self.at + form.size > len(self.view):
            raise _Damage(len(self.view), f"it ends inside {what}")
        values = form.unpack_from(self.view, self.at)
        self.at += form.size
        return values

    def skip(self, count: int, what: str) -> None:
        if self.at + count > len(self.view):
            raise _Damage(self.at, f"{what} of {count} bytes goes beyond the end")
        self.at += count

    def arch(self, expected: str) -> None:
        (length,) = self.take(_U32, "the architecture's name")
        begin = self.at
        self.skip(length, "the architecture's name")
        name = bytes(self.view[begin : begin + min(length, 64)])
        if name != expected.encode():
            raise _Damage(begin, f"it is of architecture {name!r}, the model of {expected!r}")

    # --- keys and values ---

    def kv(self, n_stream: int) -> Part:
        (streams,) = self.take(_U32, "the number of streams")
        if streams != n_stream:
            raise _Damage(self.at - 4, f"{streams} streams, the context has {n_stream}")
        found = tuple(self.stream(index if n_stream > 1 else None) for index in range(n_stream))
        if not self.whole and sum(map(bool, found)) > 1:
            raise _Damage(self.at, "one sequence in several streams")
        return found

    def stream(self, index: int | None) -> tuple[Cell, ...]:
        (count,) = self.take(_U32, "the number of cells")
        if count > self.limits.n_cells:
            raise _Damage(self.at - 4, f"{count} cells, the context has {self.limits.n_cells}")
        if not count:
            return ()
        cells: list[Cell] = []
        places: set[tuple[int, int]] = set()
        for _ in range(count):
            begin = self.at
            cell = self.cell(self.extension, range(1, self.limits.n_seq_max + 1 if self.whole else 2))
            for sequence in cell.sequences:
                # An image's tokens share a position and differ in x and y.
                if not self.extension and (sequence, cell.position) in places:
                    raise _Damage(begin, f"position {cell.position} of sequence {sequence} a second time")
                places.add((sequence, cell.position))
                if self.whole and index is not None and sequence != index:
                    raise _Damage(begin, f"a cell of sequence {sequence} in the stream of sequence {index}")
            cells.append(cell)
        self.layers(count)
        return tuple(cells)

    def cell(self, extension: int, allowed: range) -> Cell:
        position, n_sequences = self.take(_CELL, "its cells")
        if position < 0:
            raise _Damage(self.at - _CELL.size, f"a cell at position {position}")
        if n_sequences not in allowed:
            raise _Damage(self.at - 4, f"a cell of {n_sequences} sequences")
        self.skip(extension, "a two-dimensional position")
        begin = self.at
        self.skip(4 * n_sequences, "the list of a cell's sequences")
        sequences = struct.unpack_from(f"<{n_sequences}i", self.view, begin)
        # A sequence's own state keeps the number that it had; C puts the new one in its place.
        limit = self.limits.n_seq_max if self.whole else _MOST_SEQUENCES
        if any(not 0 <= each < limit for each in sequences) or len(set(sequences)) != n_sequences:
            raise _Damage(begin, f"a cell of the sequences {list(sequences[:8])}; they are 0 to {limit - 1}")
        return Cell(position, sequences)

    def layers(self, count: int) -> None:
        """Skip the keys and values of ``count`` cells."""
        transposed, n_layer = self.take(_LAYOUT, "its layout")
        if transposed > 1 or n_layer > _MOST_LAYERS:
            raise _Damage(self.at - _LAYOUT.size, f"layout {transposed} with {n_layer} layers")
        for _ in range(n_layer):
            kind, row = self.take(_SECTION, "a layer's keys")
            self.rows(kind, row, count)
        for _ in range(n_layer if self.has_values else 0):
            if transposed:
                kind, element, width = self.take(_TRANSPOSED, "a layer's values")
                self.rows(kind, element * width, count)
            else:
                kind, row = self.take(_SECTION, "a layer's values")
                self.rows(kind, row, count)

    def rows(self, kind: int, row: int, count: int) -> None:
        if not 0 <= kind < _MOST_TYPES or not 0 < row < _LARGEST_ROW:
            raise _Damage(self.at, f"a layer of type {kind} with rows of {row} bytes")
        self.skip(count * row, f"a layer of {count} rows")

    # --- recurrent ---

    def recurrent(self, rows: tuple[tuple[int, int], ...]) -> tuple[Cell, ...]:
        (count,) = self.take(_U32, "the number of recurrent states")
        most = self.limits.n_seq_max if self.whole else 1
        if count > most:
            raise _Damage(self.at - 4, f"{count} recurrent states, {most} are possible")
        cells: list[Cell] = []
        owners: set[int] = set()
        for _ in range(count):
            begin = self.at
            cell = self.cell(0, range(1, self.limits.n_seq_max + 1) if self.whole else range(1))
            if owners & set(cell.sequences):
                raise _Damage(begin, f"a second recurrent state of the sequences {list(cell.sequences)}")
            owners.update(cell.sequences)
            cells.append(cell)
        transposed, _n_layer = self.take(_LAYOUT, "its layout")
        if transposed:
            raise _Damage(self.at - _LAYOUT.size, "a recurrent state that is transposed")
        for expected in rows:
            section = self.take(_SECTION, "its recurrent layers")
            if section != expected:
                raise _Damage(
                    self.at, f"recurrent rows of (type, bytes) {section}, the model's are {expected}"
                )
            self.skip(count * section[1], "a recurrent layer")
        return tuple(cells)
