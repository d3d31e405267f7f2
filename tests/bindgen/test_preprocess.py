"""The preprocessor's output becomes standard C without losing what matters."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bindgen.analyze import Bindings
from bindgen.errors import BindgenError
from bindgen.preprocess import find_compiler

Bind = Callable[..., Bindings]


def test_deprecations_belong_to_the_declaration_they_stand_on(bind: Bind) -> None:
    bindings = bind(
        """
        #define OLD(f, hint) f __attribute__((deprecated(hint)))
        int before(void);
        OLD(int in_front(int a), "use " "other");
        int after(void) __attribute__((deprecated));
        __attribute__((visibility("default"), deprecated("first"))) extern int leading(void);
        struct s { int kept; int gone __attribute__((deprecated("no field"))); int last; };
        static inline __attribute__((always_inline, deprecated("x"))) int helper(int a) { return a + 1; }
        int end(void);
        """
    )
    hints = {f.name: f.deprecated for f in bindings.unit.functions}
    assert hints == {"before": None, "in_front": "use other", "after": "", "leading": "first", "end": None}
    assert [f.deprecated for f in bindings.unit.records[0].fields or ()] == [None, "no field", None]


def test_places_are_those_of_the_header(bind: Bind) -> None:
    bindings = bind("int one(void);\n\n/* a\n comment */ int two(\n  int a);\n#define M 1\n")
    assert {f.name: str(f.location) for f in bindings.unit.functions} == {"one": "x.h:1", "two": "x.h:4"}
    assert str(bindings.unit.constants[0].location) == "x.h:6"


def test_headers_may_include_each_other(bind: Bind) -> None:
    bindings = bind(
        a='#pragma once\n#include "b.h"\nint a(struct b * b);\n', b="#pragma once\nstruct b { int x; };\n"
    )
    assert [str(d.location) for d in bindings.unit.declarations] == ["b.h:2", "a.h:3"]


def test_a_packed_struct_is_not_laid_out_as_if_it_were_not(bind: Bind) -> None:
    bindings = bind(
        """
        struct packed { char c; int i; } __attribute__((packed));
        typedef struct { char c; int i; } __attribute__((__packed__)) packed_t;
        #pragma pack(push, 1)
        struct pragma { char c; int i; };
        #pragma pack(pop)
        struct plain { char c; int i; };
        int take(struct packed value);
        int point(struct packed * value, packed_t * other);
        """
    )
    reasons = {s.name: s.reason for s in bindings.skipped}
    assert "attribute packed changes the layout" in reasons["packed"]
    assert "changes the layout" in reasons["packed_t"]
    assert "attribute pack changes the layout" in reasons["pragma"]
    assert "by value" in reasons["take"]
    assert [f.name for f in bindings.unit.functions] == ["point"]
    assert [name for name, _ in bindings.named_records()] == ["struct plain"]


def test_gnu_spellings_are_understood(bind: Bind) -> None:
    bindings = bind(
        """
        extern __inline__ int gone(void) { return 1; }
        __extension__ typedef unsigned long long big;
        int f(const char * __restrict a, __const int b) __asm__("other_name");
        _Noreturn void stop(void);
        int aligned(void) __attribute__((ms_abi));
        big g(big a);
        """
    )
    reasons = {s.name: s.reason for s in bindings.skipped}
    assert reasons["gone"].startswith("defined in the header")
    assert reasons["f"] == 'attribute asm "other_name" is not understood'
    assert reasons["aligned"] == "attribute ms_abi is not understood"
    assert [f.name for f in bindings.unit.functions] == ["stop", "g"]


def test_a_missing_include_is_named(bind: Bind) -> None:
    with pytest.raises(BindgenError, match=r"nowhere\.h"):
        bind('#include "nowhere.h"\n')


def test_an_error_directive_is_named(bind: Bind) -> None:
    with pytest.raises(BindgenError, match=r"x\.h:2.*not for you"):
        bind("\n#error not for you\n")


def test_the_compiler_is_found_or_the_message_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "ccache some-cc -m64")
    assert find_compiler() == ["ccache", "some-cc", "-m64"]
    monkeypatch.delenv("CC")
    monkeypatch.setenv("PATH", "")
    with pytest.raises(BindgenError, match="set CC, or install one of cc, gcc, clang"):
        find_compiler()


def test_a_compiler_that_cannot_run_is_an_error(monkeypatch: pytest.MonkeyPatch, bind: Bind) -> None:
    monkeypatch.setenv("CC", "/nonexistent/cc")
    with pytest.raises(BindgenError, match="cannot run the C preprocessor"):
        bind("int f(void);")
