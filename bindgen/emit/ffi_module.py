"""The out-of-line ABI module: what `ffi.emit_python_code` writes, produced in memory.

Importing it costs milliseconds, because cffi's C core reads ready-made tables; an in-line `cdef`
would parse C at every start.
"""

from __future__ import annotations

import io
import re

import cffi
from cffi import recompiler

from ..analyze import Bindings
from .cdef import emit_cdef

_HEADER = re.compile(r"\A# auto-generated file\n")


def emit_ffi_module(bindings: Bindings) -> str:
    """Return the source of `_ffi.py`.

    Raises cffi.CDefError if cffi does not accept our declarations: a defect of bindgen.
    """
    ffi = cffi.FFI()
    ffi.cdef(emit_cdef(bindings))
    ffi.set_source(bindings.config.module, None)
    writer = recompiler.Recompiler(ffi, bindings.config.module, target_is_python=True)
    writer.collect_type_table()
    writer.collect_step_tables()
    out = io.StringIO()
    writer.write_source_to_f(out, None)
    doc = '"""The C declarations as tables for cffi, in out-of-line ABI mode: `ffi`."""\n\n'
    return doc + _HEADER.sub("", out.getvalue())
