"""The ctypes module states the same facts, and behaves as ctypes programs expect."""

from __future__ import annotations

import ctypes
import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from bindgen.analyze import Bindings
from bindgen.ctypes_view import ctypes_facts, ctypes_view
from bindgen.emit.ctypes_module import emit_ctypes
from bindgen.layout import differences
from bindgen.pipeline import ROOT
from bindgen.probe import compiler_view

NATIVE = ROOT / "llama_ffi" / "_native"


def fresh(path: Path = ROOT / "llama_ffi/compat/_ctypes_api.py") -> ModuleType:
    """A module of its own: loading libraries into it must not touch the package's."""
    spec = importlib.util.spec_from_file_location("ctypes_api_under_test", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_ctypes_agrees_on_every_name(bindings: Bindings) -> None:
    view = ctypes_view(bindings)
    assert list(differences(ctypes_facts(bindings), view)) == []
    assert len(view["functions"]) == 1012
    assert len(view["structs"]) > 50


def test_the_module_in_the_repository_agrees_with_the_compiler(bindings: Bindings, source: Path) -> None:
    module = fresh()
    for name, struct in compiler_view(bindings, source)["structs"].items():
        cls = getattr(module, name.rpartition(" ")[2])
        assert ctypes.sizeof(cls) == struct["size"], name
        for field, (offset, size, _) in struct["fields"].items():
            owner, at = cls, 0
            for part in field.split("."):
                found = getattr(owner, part)
                at, last = at + found.offset, found.size
                owner = dict(owner._fields_).get(part)
            assert (at, last) == (offset, size), (name, field)


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("ctypes.c_int32", "ctypes.c_uint32"),
        ('("y", ctypes.c_float)', '("yy", ctypes.c_float)'),
        ("LIMIT = 8", "LIMIT = 9"),
    ],
)
def test_a_wrong_module_is_seen(
    bind: Callable[[str], Bindings], monkeypatch: pytest.MonkeyPatch, wrong: str, right: str
) -> None:
    bindings = bind(
        "#include <stdint.h>\n#define LIMIT 8\nstruct p { int32_t x; float y; };\nint32_t f(struct p * p);"
    )
    assert list(differences(ctypes_facts(bindings), ctypes_view(bindings))) == []
    text = emit_ctypes(bindings)
    assert wrong in text
    monkeypatch.setattr("bindgen.ctypes_view.emit_ctypes", lambda _: text.replace(wrong, right))
    try:
        found = list(differences(ctypes_facts(bindings), ctypes_view(bindings)))
    except (AttributeError, KeyError):
        return  # a field that does not exist cannot be asked for its offset
    assert found


@pytest.mark.native
def test_a_program_written_against_ctypes_runs() -> None:
    command = [sys.executable, str(Path(__file__).parent / "programs" / "ctypes_session.py"), str(NATIVE)]
    done = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_an_unloaded_library_is_named() -> None:
    with pytest.raises(AttributeError, match="llama_decode: the library 'llama' is not loaded"):
        _ = fresh().llama_decode
    with pytest.raises(AttributeError, match="no attribute 'llama_nonsense'"):
        _ = fresh().llama_nonsense


def test_nested_and_anonymous_members(bind: Callable[[str], Bindings], tmp_path: Path) -> None:
    bindings = bind(
        """
        #include <stdint.h>
        typedef struct {
            int8_t tag;
            union { int64_t number; double real; };
            struct { char a; short b[2]; } in;
        } box;
        struct holder {
            box first;
            struct { int q; } many[3];
            struct holder * next;
            int (*call)(box * b, int n);
        };
        void take(struct holder value, box * where, int (*each)(struct holder * h));
        """
    )
    assert list(differences(ctypes_facts(bindings), ctypes_view(bindings))) == []
    (tmp_path / "api.py").write_text(emit_ctypes(bindings), encoding="utf-8")
    module = fresh(tmp_path / "api.py")
    value = module.holder()
    value.first.number = 7
    value.many[2].q = 5
    assert (value.first.number, value.many[2].q) == (7, 5)


def test_what_programs_hold_as_addresses(bind: Callable[[str], Bindings], tmp_path: Path) -> None:
    bindings = bind(
        """
        struct tensor { struct tensor * next; int n; };
        typedef struct tensor * tensor_t;
        typedef void (*seen)(const struct tensor * t, int n);
        struct holder { struct tensor ** all; int * numbers; char * data; char * name; seen callback; };
        int use(tensor_t t, struct holder * h, int * here, char * out, const char ** rows);
        """
    )
    policy = replace(
        bindings.config,
        handles=("tensor",),
        addresses=("holder.numbers", "use.here"),
        buffers=("holder.data", "use.rows"),
    )
    loose = replace(bindings, config=policy)
    assert list(differences(ctypes_facts(loose), ctypes_view(loose))) == []
    (tmp_path / "api.py").write_text(emit_ctypes(loose), encoding="utf-8")
    module = fresh(tmp_path / "api.py")
    members = dict(module.holder._fields_)
    address, byte = ctypes.c_void_p, ctypes.POINTER(ctypes.c_char)
    assert members["all"] is ctypes.POINTER(address) and members["numbers"] is address
    assert members["data"] is byte and members["name"] is ctypes.c_char_p
    assert module.seen._argtypes_ == (address, ctypes.c_int32) == members["callback"]._argtypes_
    assert [kind for _, kind in module._FUNCTIONS["use"][2]] == [
        address,
        ctypes.POINTER(module.holder),
        address,
        ctypes.c_char_p,
        ctypes.POINTER(byte),
    ]
    assert dict(module.tensor._fields_)["next"] is address
