"""Bindings for headers that are not the pinned ones: a fork, another version, another library.

The result is a package folder with the same modules as `llama_ffi/_abi`, which can be imported under
any name.  Known headers are found by name in the include folders; others are bound when asked for.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from .analyze import Bindings
from .config import LLAMA_CPP, Config, Header
from .emit.ctypes_module import emit_ctypes
from .emit.enums import emit_enums, emit_enums_stub
from .emit.ffi_module import emit_ffi_module
from .emit.manifest import emit_layout, emit_manifest
from .emit.probe import emit_probe
from .emit.stubs import emit_stubs
from .errors import BindgenError
from .files import write
from .pipeline import load_present
from .report import emit_report
from .seal import seal

_PACKAGE = {
    "_ffi.py": emit_ffi_module,
    "enums.py": emit_enums,
    "enums.pyi": emit_enums_stub,
    "c_api.pyi": emit_stubs,
    "manifest.py": emit_manifest,
    "layout.py": emit_layout,
    "ctypes_api.py": emit_ctypes,
    "probe.c": emit_probe,
    "REPORT.md": emit_report,
}
_INIT = '"""Bindings for the headers named in REPORT.md."""\n'


def load_custom(includes: Sequence[Path], headers: Sequence[str] = ()) -> tuple[Bindings, Path]:
    """Bind headers found in the folders `includes`, and return the bindings and their source root.

    `headers` are file names; without them, those of llama.cpp that are there.  A header of another
    library is expected in a library of the header's own name.  Raises BindgenError if nothing is
    found, or for a header that cannot be read.
    """
    folders = [folder.resolve() for folder in includes]
    for folder in folders:
        if not folder.is_dir():
            raise BindgenError(f"{folder} is not a folder")
    known = {Path(header.path).name: header.library for header in LLAMA_CPP.headers}
    wanted = list(headers) or list(known)
    found = {name: path for name in wanted if (path := _find(name, folders))}
    missing = [name for name in headers if name not in found]
    if missing or not found:
        places = ", ".join(str(folder) for folder in folders)
        if headers:
            raise BindgenError(f"no {' and no '.join(missing)} in {places}")
        raise BindgenError(
            f"no llama.h and no other header of llama.cpp in {places}; they are in the folders include and "
            f"ggml/include of its source: --include DIR --include DIR"
        )
    root = Path(os.path.commonpath([*folders, *(path.parent for path in found.values())]))
    config = Config(
        headers=tuple(
            Header(path.relative_to(root).as_posix(), known.get(path.name, path.stem))
            for path in found.values()
        ),
        module="_ffi",
        elsewhere=LLAMA_CPP.elsewhere,
        include=tuple(folder.relative_to(root).as_posix() for folder in folders),
    )
    return load_present(root, config), root


def write_package(bindings: Bindings, out: Path, commit: str = "") -> list[str]:
    """Write the bindings as a package into the folder `out`, and return the files written.

    `commit` is what is known about the library's version; it appears in messages only.
    """
    named = replace(bindings, commit=commit)
    rendered = {name: seal(emit(named), Path(name).suffix) for name, emit in _PACKAGE.items()}
    return write({**rendered, "__init__.py": seal(_INIT, ".py")}, out)


def _find(name: str, folders: Sequence[Path]) -> Path | None:
    return next((folder / name for folder in folders if (folder / name).is_file()), None)
