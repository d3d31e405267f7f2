"""Metadata that a program replaces while a model is loaded (``kv_overrides``).

llama.cpp looks at an override only where it reads that key: one that it never asks for, a misspelt one for
example, changes nothing and isn't mentioned. It logs the ones that it takes, so what it took is known here.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from typing import Any

from ._core import check, logs, model_file
from ._core import text as text_
from ._core.binding import Binding
from ._core.choices import members
from .errors import InvalidArgumentError

KvOverride = bool | int | float | str

_TAKEN = re.compile(r"Using metadata override \( *\w+\) '(.*)' = ")
_WRONG = "Bad metadata override"


def override_array(active: Binding, overrides: Mapping[str, KvOverride], keep: list[Any]) -> Any:
    """Return an array of ``struct llama_model_kv_override`` that ends with an empty key."""
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


class Hearing:
    """Hears what llama.cpp says of overrides while it loads: ``with hearing.capture() as lines``."""

    def __init__(self, overrides: Mapping[str, KvOverride] | None) -> None:
        self._overrides = overrides or {}
        self._said: list[str] = []

    def capture(self) -> logs.capture:
        """Collect the lines of a load. A large model's would push those about overrides out."""
        return logs.capture(self._hear if self._overrides else None)

    def _hear(self, line: str) -> bool:
        if "etadata override" in line:
            self._said.append(line)
        return False

    def check(self, active: Binding, keys: Iterable[str], *, vocab_only: bool) -> None:
        """Raise for overrides that weren't taken.

        Arguments:
            keys: the metadata that the model has, to find what was meant.
            vocab_only: the rest of the model wasn't read; an override of it says nothing then.
        """
        wrong = [model_file.words(line) for line in self._said if _WRONG in line]
        if wrong:  # C warns and goes on without them
            raise InvalidArgumentError(f"kv_overrides: {'; '.join(wrong)}", log=self._said)
        if vocab_only or active.other is not None:  # another llama.cpp may log other words
            return
        taken = {found[1] for line in self._said if (found := _TAKEN.search(line))}
        known = list(keys)
        for key in self._overrides:
            if key in taken:
                continue
            if key in known:
                why = "llama.cpp doesn't read it from overrides; change it in a copy of the file (gguf.edit)"
            else:
                close = difflib.get_close_matches(key, known, 1)
                why = f"nothing in this model is called that{f'; {close[0]!r} is' if close else ''}"
            raise InvalidArgumentError(f"kv_overrides[{key!r}] would change nothing: {why}", log=self._said)
