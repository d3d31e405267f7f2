"""arm64, under emulation: the compiler's layout there, and the guard's way to fill a struct there.

Opt-in: it needs a cross compiler and qemu (Debian: gcc-aarch64-linux-gnu, g++-aarch64-linux-gnu, qemu-user).
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from bindgen.__main__ import main
from bindgen.analyze import Bindings
from bindgen.layout import digest
from bindgen.models import LP64
from bindgen.probe import compiler_view

TOOLS = ("aarch64-linux-gnu-gcc", "aarch64-linux-gnu-g++", "qemu-aarch64")
ROOT = Path(__file__).resolve().parents[2]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(any(shutil.which(tool) is None for tool in TOOLS), reason=f"needs {', '.join(TOOLS)}"),
]

TRIAL = r"""
// Called as Python would call it: through the guard, into a buffer with a pattern.
#include "guard.hpp"
#include "llama.h"
#include <cstdio>
#include <cstring>

static void show(const char * name, void * function) {
    unsigned char images[2][LLAMA_FFI_STRUCT_RETURN_SIZE];
    for (int i = 0; i < 2; ++i) {
        memset(images[i], i ? 0x55 : 0xAA, sizeof images[i]);
        llama_ffi_struct_return(function, images[i]);
    }
    int extent = 0;
    for (int i = 0; i < LLAMA_FFI_STRUCT_RETURN_SIZE; ++i) {
        if (images[0][i] == images[1][i]) extent = i + 1;
    }
    printf("%s %d %d\n", name, extent, *(int *) images[0]);
}

int main() {
    show("llama_model_params", (void *) llama_model_default_params);
    show("llama_context_params", (void *) llama_context_default_params);
}
"""
LIBRARY = r"""
#include "llama.h"
struct llama_model_params llama_model_default_params(void) {
    struct llama_model_params p = { .n_gpu_layers = -1 }; return p; }
struct llama_context_params llama_context_default_params(void) {
    struct llama_context_params p = { .n_ctx = 512, .n_batch = 2048 }; return p; }
"""
REST = """
#include "guard.hpp"
#include "ggml.h"
ggml_abort_callback_t ggml_set_abort_callback(ggml_abort_callback_t callback) { return callback; }
namespace llama_ffi { const GuardedFunction guarded_functions[] = {{ "", nullptr }};
const unsigned guarded_function_count = 0; }
"""


@pytest.fixture
def cross(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", f"{TOOLS[0]} -static")


@pytest.mark.usefixtures("cross")
def test_the_layout_is_that_of_lp64(bindings: Bindings, source: Path) -> None:
    from llama_ffi._abi import manifest

    view = compiler_view(bindings, source, ["qemu-aarch64"])
    assert view["data_model"] == LP64.name
    assert digest(view) == manifest.LAYOUT_SHA256[LP64.name], "what every struct, enum, constant and type is"


@pytest.mark.usefixtures("cross")
def test_the_command(source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["probe", "--runner", "qemu-aarch64", "--source", str(source)]) == 0
    assert "names compared, 0 differences" in capsys.readouterr().out


@pytest.mark.parametrize("inserted", [False, True], ids=["as it is", "a field inserted"])
def test_a_struct_that_comes_through_x8(source: Path, tmp_path: Path, inserted: bool) -> None:
    from llama_ffi._abi._ffi import ffi

    (tmp_path / "include").mkdir()
    header = (source / "include" / "llama.h").read_text(encoding="utf-8")
    batch = "        uint32_t n_batch; "
    assert header.count(batch) == 1
    changed = header.replace(batch, "        uint32_t extra;\n" + batch) if inserted else header
    (tmp_path / "include" / "llama.h").write_text(changed, encoding="utf-8")
    guard = ROOT / "build_backends" / "native" / "guard"
    folders = (tmp_path / "include", source / "ggml" / "include", guard)
    includes = [f"-I{folder}" for folder in folders]
    for name, text in {"trial.cpp": TRIAL, "rest.cpp": REST, "library.c": LIBRARY}.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    library = str(tmp_path / "library.o")
    subprocess.run([TOOLS[0], "-c", "-w", *includes, str(tmp_path / "library.c"), "-o", library], check=True)
    sources = [str(tmp_path / "trial.cpp"), str(tmp_path / "rest.cpp"), str(guard / "guard.cpp")]
    command = [TOOLS[1], "-std=c++17", "-O2", "-w", "-static", *includes, *sources, library]
    subprocess.run([*command, "-o", str(tmp_path / "trial")], check=True)
    done = subprocess.run(
        ["qemu-aarch64", str(tmp_path / "trial")], capture_output=True, text=True, check=True
    )
    printed = {
        name: (int(extent), int(first)) for name, extent, first in map(str.split, done.stdout.splitlines())
    }
    ends = {}
    for name in printed:
        fields = ffi.typeof(f"struct {name}").fields
        ends[name] = max(field.offset + ffi.sizeof(field.type) for _, field in fields)
    # the compiler may write padding at the end as well
    assert 0 <= printed["llama_model_params"][0] - ends["llama_model_params"] < 8
    difference = printed["llama_context_params"][0] - ends["llama_context_params"]
    assert difference == (8 if inserted else 0)
    assert printed["llama_context_params"][1] == 512
