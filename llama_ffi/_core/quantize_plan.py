"""What a quantization will do to each tensor, asked of llama.cpp itself by a dry run.

The rules by which it picks the types are llama.cpp's and change often; a dry run writes nothing and logs its
decision for every tensor. From these follows what the real run would die of: that is refused before.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import InvalidArgumentError, QuantizeError
from . import check, gguf_types
from .binding import Binding
from .gguf_types import TensorType

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ..gguf import GgufTensor

_TENSOR = re.compile(r"\[\s*(\d+)/\s*(\d+)\] (.*?)\s+- \[[^\]]*\], type =\s*(\w+),")
_TARGET = re.compile(r"size = .* -> .*\((\w+)\)")
_NOT_TARGETS = frozenset({"q8_1", "q8_k", "i8", "i16", "i32", "i64", "f64"})
"""Types that no weight can be quantized to; with some ggml asserts on a thread of its own."""


class Shape(NamedTuple):
    """A tensor of the input."""

    ne: tuple[int, ...]
    kind: TensorType


class Planned(NamedTuple):
    """What a tensor is and becomes."""

    before: str
    after: str


class Watcher:
    """Reads the log of a quantization line by line.

    Arguments:
        progress: called with 0.0 to 1.0 before each tensor; returning False raises.
    """

    def __init__(self, progress: Callable[[float], object] | None = None) -> None:
        self.tensors: dict[str, Planned] = {}
        self.remarks: list[str] = []
        self._progress = progress
        self._last = ""

    def __call__(self, line: str) -> bool:
        """Take a line; True where the run may be stopped."""
        found = _TENSOR.match(line)
        if found is not None:
            self._last = found[3]
            kind = found[4].lower()
            self.tensors[self._last] = Planned(kind, kind)
            done = (int(found[1]) - 1) / max(int(found[2]), 1)
            if self._progress is not None and self._progress(done) is False:
                raise QuantizeError("the progress callback cancelled it")
            return True
        target = _TARGET.search(line)
        if target is not None and self._last in self.tensors:
            self.tensors[self._last] = self.tensors[self._last]._replace(after=target[1].lower())
        elif line.startswith(("-> ", "(WARNING")) and self.remarks:  # one remark comes in pieces
            self.remarks[-1] = f"{self.remarks[-1]} {line.strip()}"
        elif "warning" in line.lower() or "did not find weights" in line:
            self.remarks.append(" ".join(line.split()))
        return False


def file_types(active: Binding) -> dict[str, Any]:
    """Return the values of ``enum llama_ftype`` by the names that llama.cpp's tool knows, in lower case."""
    named = {}
    for member in active.enum("llama_ftype"):
        kind, _, name = member.name.lower().partition("_")
        if kind in ("mostly", "all"):
            named[name] = member
    for name in ("q3_k", "q4_k", "q5_k"):
        if f"{name}_m" in named:
            named[name] = named[f"{name}_m"]
    return named


def tensor_type(name: str, value: str) -> int:
    """Return the number of the tensor type ``value``, which ``name`` asks for."""
    known = {key: each for key, each in gguf_types.tensor_types().items() if key not in _NOT_TARGETS}
    found = known.get(value.lower()) if isinstance(value, str) else None
    if found is None:
        raise InvalidArgumentError(
            f"{name} is {check.shown(value)}; choose one of: {', '.join(sorted(known))}"
        )
    return found.number


def check_rows(tensors: Mapping[str, Shape], names: Iterable[str], argument: str, wanted: int) -> None:
    """Raise if the rows of a tensor can't be cut into blocks of the type that was asked for."""
    kind = gguf_types.tensor_type(wanted)
    for name in names:
        if kind is not None and name in tensors and tensors[name].ne[0] % kind.block:
            raise InvalidArgumentError(
                f"{argument}: the rows of {name} have {tensors[name].ne[0]} values, which blocks of "
                f"{kind.block} ({kind.name}) don't divide"
            )


def check_plan(
    active: Binding,
    plan: Mapping[str, Planned],
    requantize: bool,
    importance: Mapping[str, int],
    originals: Mapping[str, str],
) -> None:
    """Raise for what the real run would end with.

    Arguments:
        plan: what becomes of each tensor.
        requantize: tensors that are quantized already may be quantized again.
        importance: weights of the importance matrix → number of their values.
        originals: names of tensors → what they were before layers were pruned.
    """
    kinds = gguf_types.tensor_types()
    changed = {name: each for name, each in plan.items() if each.before != each.after}
    again = [name for name, each in changed.items() if kinds[each.before].block > 1]
    if again and not requantize:
        raise InvalidArgumentError(
            f"{again[0]} is quantized already ({plan[again[0]].before}), and {len(again) - 1} more; take "
            f"an f16, bf16 or f32 file, or accept the loss with allow_requantize=True"
        )
    for name, each in changed.items():
        needs = active.lib.ggml_quantize_requires_imatrix(kinds[each.after].number)
        if needs and originals[name] not in importance:
            raise InvalidArgumentError(
                f"{name} would become {each.after}, which needs an importance matrix with that weight "
                f"(imatrix=…); or choose another type for it (tensor_types, token_embedding_type …)"
            )


_BF16_SHIFT = 16
_PLAIN_LARGEST = {"f16": 65504.0}
_QUANTIZED_LARGEST = 65504.0 * 128
_LARGEST = 1e17
"""Beyond it, products overflow in the search for an iq type's grid point, which ends in an assertion."""


def is_extreme(tensor: GgufTensor, importance: NDArray[np.float32] | None) -> bool:
    """Return whether a tensor's values, or their importance, are too large for the iq types' arithmetic."""
    import numpy as np

    factor = 256.0 if importance is None else 256.0 * max(1.0, float(importance.max()))
    kind = tensor.type
    bound = _PLAIN_LARGEST.get(kind, 0.0 if kind in ("f32", "bf16") else _QUANTIZED_LARGEST)
    if bound and bound * bound * factor <= _LARGEST:
        return False
    if kind not in ("f32", "f16", "bf16"):
        return True
    limit = math.sqrt(_LARGEST / factor)
    for piece in tensor.pieces():
        if kind == "bf16":
            values = (np.frombuffer(piece, "u2").astype("u4") << _BF16_SHIFT).view("f4")
        else:
            values = np.frombuffer(piece, "f4" if kind == "f32" else "f2")
        if max(-float(values.min()), float(values.max())) > limit:
            return True
    return False


def check_importance(tensors: Mapping[str, Shape], importance: Mapping[str, int]) -> None:
    """Raise if a weight of the importance matrix belongs to another model's tensor."""
    for name, count in importance.items():
        if name in tensors and not name.endswith("token_embd.weight"):
            ne = tensors[name].ne
            wanted = ne[0] * (ne[2] if len(ne) > 2 else 1)
            if count != wanted:
                raise InvalidArgumentError(
                    f"imatrix: {name} has {count} values where the model's tensor has {wanted} columns; "
                    f"it was made for another model"
                )


def check_patterns(patterns: Iterable[str]) -> None:
    """Raise for a pattern that is no use in a tensor's name, or too deep for C++'s recursive compiler."""
    for pattern in patterns:
        if not pattern or len(pattern) > 512:
            raise InvalidArgumentError(
                f"tensor_types: a pattern has 1 to 512 characters, and this one {len(pattern)}"
            )


def check_matches(patterns: Iterable[str], names: Iterable[str]) -> None:
    """Raise for a pattern that is found in no tensor's name; C would leave it out without a word.

    What Python can't read, or reads otherwise than C++ (``[[:alpha:]]``), is left to C.
    """
    listed = list(names)
    for pattern in patterns:
        if "[[" in pattern:
            continue
        try:
            expression = re.compile(pattern, re.ASCII)
        except re.error:
            continue
        if not any(expression.search(name) for name in listed):
            raise InvalidArgumentError(
                f"tensor_types: {pattern!r} is in no tensor's name; the names are like {listed[0]!r}, "
                f"{listed[-1]!r}"
            )
