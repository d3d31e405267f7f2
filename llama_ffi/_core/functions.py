"""``raw.lib``: every C function under its C name, wherever it lives.

The functions are spread over libllama, libggml, libggml-base, the CPU back end and libmtmd. An attribute
is looked up once, in the library that the manifest names for it (then in the others, for builds that
are cut differently), and kept: the second access is a plain attribute.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .._lib.load import Opened
from ..errors import MissingFunctionError


class Functions:
    """The C functions and constants of one opened build; attributes are C names."""

    def __init__(
        self, ffi: Any, opened: Opened, home: Mapping[str, str], unavailable: Mapping[str, str], made_for: str
    ) -> None:
        """``made_for`` says in words which llama.cpp the bindings were made for."""
        self._ffi = ffi
        self._opened = opened
        self._home = home
        self._unavailable = unavailable
        self.made_for = made_for

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

    def has(self, name: str) -> bool:
        """Tell whether function ``name`` is declared and in one of the libraries."""
        return name in self._home and self.where(name) is not None

    def in_module(self, name: str) -> bool:
        """Tell whether function ``name`` is in a back-end module that was opened at run time."""
        return bool(self._opened.adopted) and self.where(name) in self._opened.adopted

    def library_of(self, name: str) -> str:
        """Return the file in which function ``name`` is or, by the headers, should be."""
        files = self._opened.set.files
        return str(files.get(self.where(name) or self._home.get(name, "llama"), files["llama"]))

    def version(self) -> str:
        """Return in words which llama.cpp it is: by its build manifest, else by what it says itself."""
        commit = (self._opened.set.manifest or {}).get("commit")
        if commit:
            return f"llama.cpp {str(commit)[:12]}"
        for name in ("llama_version", "ggml_commit"):  # newer libraries have both, older ones none
            text = (
                self._ffi.string(getattr(self, name)()).decode("utf-8", "replace") if self.has(name) else ""
            )
            if text not in ("", "unknown"):
                return f"llama.cpp {text}"
        return "a llama.cpp that doesn't tell its version"

    def found_via(self) -> str:
        """Return the step of the search that found the library."""
        return self._opened.set.found_via

    def versions(self) -> str:
        """Return the half of a sentence that says which library meets which bindings, and what to do."""
        return (
            f"this library is {self.version()} (found via {self.found_via()}), the bindings are "
            f"for {self.made_for}. Use a library of that version, or make bindings for this one with "
            f"`llama-ffi bind`"
        )

    def _has(self, key: str, name: str) -> bool:
        library = self._opened.get(key)
        try:
            return library is not None and getattr(library, name) is not None
        except (AttributeError, self._ffi.error):  # not declared; declared, but not in this file
            return False

    def _find(self, name: str) -> Any:
        if name not in self._home and name not in self._unavailable:
            return self._constant(name)
        key = self.where(name)
        if key is not None:
            return getattr(self._opened.get(key), name)
        reason = self._unavailable.get(name)
        if reason is not None:
            raise MissingFunctionError(f"{name} can't be called: {reason}")
        raise MissingFunctionError(self._not_there(name))

    def _not_there(self, name: str) -> str:
        from .features import used_by

        return f"{used_by(name)}{name} is not in {self.library_of(name)}; {self.versions()}"

    def _constant(self, name: str) -> Any:
        try:
            return getattr(self._opened.get("llama"), name)
        except AttributeError:
            pass
        except self._ffi.error:  # declared, and neither a constant nor known to the manifest
            raise MissingFunctionError(self._not_there(name)) from None
        from .._abi import manifest as pinned

        if name in pinned.FUNCTIONS:
            raise MissingFunctionError(self._not_there(name))
        import difflib

        close = difflib.get_close_matches(name, self._home, 3)
        hint = f"; did you mean {', '.join(close)}?" if close else ""
        raise AttributeError(
            f"there is no function or constant {name!r} in the bindings for {self.made_for}{hint}"
        )


def table(functions: Functions) -> dict[str, str]:
    """Return, for every bound function, the file name of its library, or why it can't be called."""
    opened, result = functions._opened, {}
    for name in sorted({*functions._home, *functions._unavailable}):
        key = functions.where(name)
        if key is not None:
            result[name] = opened.set.files[key].name
        else:
            result[name] = functions._unavailable.get(name) or functions._not_there(name)
    return result
