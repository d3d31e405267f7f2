"""Reports are read rightly: those on a small library with one error of each kind, loaded into Python."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.sanitizers import environment, known, reports

SOURCE = """
#include <stdlib.h>
namespace deep { template <class T> struct Box { static T beyond(T * p, int i) { return p[i]; } }; }
extern "C" int heap(int i) {
    int * p = (int *) malloc(4 * sizeof(int));
    p[0] = 1;
    int value = deep::Box<int>::beyond(p, i);
    free(p);
    return value;
}
extern "C" int shift(int by) { return 1 << by; }
"""
PROGRAM = "import ctypes, sys; lib = ctypes.CDLL(sys.argv[1]); lib.heap(4); lib.shift(40); lib.shift(41)"


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> list[reports.Finding]:
    folder = tmp_path_factory.mktemp("sanitized")
    source = folder / "llama.cpp" / "small.cpp"
    source.parent.mkdir()
    source.write_text(SOURCE)
    lib, place = folder / "libsmall.so", folder / "reports"
    place.mkdir()
    flags = [f"-fsanitize={environment.SANITIZERS}", "-fsanitize-recover=all", "-O1", "-g1", "-fno-inline"]
    subprocess.run(["c++", "-shared", "-fPIC", *flags, "-o", str(lib), str(source)], check=True)
    variables = environment.variables(None, place, folder)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(lib)], env=os.environ | variables, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return reports.collect(place)


@pytest.mark.skipif(
    sys.platform != "linux", reason="the sanitizers of GCC, before everything else in the process"
)
def test_errors_are_sorted_by_place(found: list[reports.Finding]) -> None:
    heap, shift = found
    assert (heap.kind, heap.place, heap.lines) == (
        "heap-buffer-overflow",
        "llama.cpp/small.cpp:deep::Box::beyond",
        {3},
    )
    assert "READ of size 4" in heap.example and heap.count == 1
    assert (shift.kind, shift.place) == (
        "shift exponent N is too large for N-bit type 'int'",
        "llama.cpp/small.cpp:shift",
    )


def test_the_list_of_what_is_known() -> None:
    finding = reports.Finding("heap-buffer-overflow", "llama.cpp/src/a.cpp", "llama_x::y")
    assert known.Known("heap", r"a\.cpp:llama_x", "").covers(finding)
    assert not known.Known("heap", r"a\.cpp:y", "").covers(finding)
    assert not known.Known("stack", "a", "").covers(finding)
    assert all(len(row.reason) > 20 for row in known.KNOWN)
