"""``raw.lib``: every C function under its C name, wherever it lives.

The functions are spread over libllama, libggml, libggml-base, the CPU back end and libmtmd. An attribute
is looked up once, in the library that the manifest names for it (then in the others, for builds that
are cut differently), and kept: the second access is a plain attribute.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .._lib.load import Opened, missing_symbol
from ..errors import MissingFunctionError


class Functions:
    """The C functions and constants of one opened build; attributes are C names."""

    def __init__(
        self, ffi: Any, opened: Opened, home: Mapping[str, str], unavailable: Mapping[str, str], commit: str
    ) -> None:
        self._ffi = ffi
        self._opened = opened
        self._home = home
        self._unavailable = unavailable
        self._commit = commit

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        value = self._find(name)
        setattr(self, name, value)
        return value

    def __dir__(self) -> list[str]:
        return sorted({*self._home, *super().__dir__()})

    def __repr__(self) -> str:
        return f"<llama_ffi raw.lib: {self._opened.set.folder}>"

    def library(self, key: str) -> Any:
        """Return the cffi library of ``key`` ("llama", "ggml-base", …), for ``ffi.addressof(library, name)``.

        Raises:
            MissingFunctionError: this build has no such library.
        """
        library = self._opened.get(key)
        if library is None:
            raise MissingFunctionError(
                f"this build has no library {key!r}; it has {', '.join(self._opened.keys())}"
            )
        return library

    def where(self, name: str) -> str | None:
        """Return the key of the library that holds function ``name``, or None."""
        first = self._home.get(name)
        keys = self._opened.keys()
        for key in [first, *keys] if first in keys else keys:
            if key is not None and self._has(key, name):
                return key
        return None

    def _has(self, key: str, name: str) -> bool:
        library = self._opened.get(key)
        try:
            return library is not None and getattr(library, name) is not None
        except (AttributeError, self._ffi.error):  # not declared; declared, but not in this file
            return False

    def _find(self, name: str) -> Any:
        if name not in self._home:
            return self._constant(name)
        key = self.where(name)
        if key is not None:
            return getattr(self._opened.get(key), name)
        reason = self._unavailable.get(name)
        if reason is not None:
            raise MissingFunctionError(f"{name} can't be called: {reason}")
        raise MissingFunctionError(missing_symbol(name, self._opened.set, self._commit))

    def _constant(self, name: str) -> Any:
        try:
            return getattr(self._opened.get("llama"), name)
        except AttributeError:
            pass
        import difflib

        close = difflib.get_close_matches(name, self._home, 3)
        hint = f"; did you mean {', '.join(close)}?" if close else ""
        raise AttributeError(f"llama.cpp {self._commit[:12]} has no function or constant {name!r}{hint}")


def table(functions: Functions) -> dict[str, str]:
    """Return, for every bound function, the file name of its library, or why it can't be called."""
    opened, result = functions._opened, {}
    for name in sorted(functions._home):
        key = functions.where(name)
        if key is not None:
            result[name] = opened.set.files[key].name
        else:
            result[name] = functions._unavailable.get(name) or missing_symbol(
                name, opened.set, functions._commit
            )
    return result
