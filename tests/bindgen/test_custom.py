"""`bindgen bind`: bindings for other headers, as a package that works with a library of their own."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from bindgen.__main__ import main
from bindgen.custom import load_custom, write_package
from bindgen.errors import BindgenError
from bindgen.preprocess import find_compiler

# A library with the idioms of llama.cpp's C API, by nobody in particular.
HEADER = """
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "shapes-types.h"
#define SHAPES_API __attribute__((visibility("default")))
#define SHAPES_DEFAULT_SIDES 4
struct shapes_context;
typedef void (*shapes_log_callback)(enum shapes_level level, const char * text, void * user_data);
struct shapes_params { int32_t n_sides; float scale; bool closed; shapes_log_callback log; void * log_data; };
SHAPES_API struct shapes_params shapes_default_params(void);
SHAPES_API struct shapes_context * shapes_init(struct shapes_params params);
SHAPES_API double shapes_area(const struct shapes_context * ctx);
SHAPES_API void shapes_free(struct shapes_context * ctx);
"""
TYPES = "#pragma once\nenum shapes_level { SHAPES_LEVEL_INFO = 1 << 1, SHAPES_LEVEL_ERROR = 1 << 2 };\n"
SOURCE = """
#include "shapes.h"
#include <stdlib.h>
struct shapes_context { struct shapes_params params; };
struct shapes_params shapes_default_params(void) {
    struct shapes_params params = { SHAPES_DEFAULT_SIDES, 1.5f, true, NULL, NULL };
    return params;
}
struct shapes_context * shapes_init(struct shapes_params params) {
    if (params.log) params.log(SHAPES_LEVEL_INFO, "made", params.log_data);
    struct shapes_context * ctx = malloc(sizeof *ctx);
    ctx->params = params;
    return ctx;
}
double shapes_area(const struct shapes_context * ctx) {
    return ctx->params.n_sides * (double) ctx->params.scale;
}
void shapes_free(struct shapes_context * ctx) { free(ctx); }
"""


@pytest.fixture
def library(tmp_path: Path) -> Path:
    """The folder with the library's headers in two places, and the library built."""
    for path, text in {"api/shapes.h": HEADER, "types/shapes-types.h": TYPES, "shapes.c": SOURCE}.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(text, encoding="utf-8")
    folders = [f"-I{tmp_path / 'api'}", f"-I{tmp_path / 'types'}"]
    command = [*find_compiler(), "-shared", "-fPIC", "-std=c11", *folders, str(tmp_path / "shapes.c")]
    subprocess.run([*command, "-o", str(tmp_path / "libshapes.so")], check=True)
    return tmp_path


def test_a_library_that_is_not_llama_cpp_works(library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = [
        "bind",
        "--include",
        str(library / "api"),
        "--include",
        str(library / "types"),
        "--header",
        "shapes.h",
    ]
    assert main([*arguments, "--out", str(library / "shapes_bindings"), "--check"]) == 0
    monkeypatch.syspath_prepend(str(library))
    ffi = importlib.import_module("shapes_bindings._ffi").ffi
    enums = importlib.import_module("shapes_bindings.enums")
    manifest = importlib.import_module("shapes_bindings.manifest")
    assert manifest.FUNCTIONS["shapes_area"] == "shapes"
    assert enums.ShapesLevel.ERROR == 4

    lib = ffi.dlopen(str(library / "libshapes.so"))
    params = lib.shapes_default_params()
    assert (params.n_sides, params.scale, params.closed) == (lib.SHAPES_DEFAULT_SIDES, 1.5, True)
    said: list[tuple[int, bytes]] = []

    @ffi.callback("shapes_log_callback")  # type: ignore[untyped-decorator]
    def log(level: int, text: object, user_data: object) -> None:
        said.append((level, ffi.string(text)))

    params.log, params.n_sides = log, 6
    context = lib.shapes_init(params)
    assert lib.shapes_area(context) == 9.0
    lib.shapes_free(context)
    assert said == [(enums.ShapesLevel.INFO, b"made")]


def test_llama_headers_are_found_by_name(source: Path, tmp_path: Path) -> None:
    bindings, root = load_custom([source / "include", source / "ggml" / "include"])
    assert root == source.resolve()
    assert {header.library for header in bindings.config.headers} == {
        "llama",
        "ggml-base",
        "ggml-cpu",
        "ggml-rpc",
    }
    assert len([f for f in bindings.unit.functions if f.location.file == "include/llama.h"]) == 255
    written = write_package(bindings, tmp_path / "own", "a-fork")
    assert "manifest.py" in written
    assert 'COMMIT = "a-fork"' in (tmp_path / "own/manifest.py").read_text(encoding="utf-8")
    assert write_package(bindings, tmp_path / "own", "a-fork") == []


def test_a_shifted_enum_gets_its_own_values(source: Path, tmp_path: Path) -> None:
    """The header of a fork: one enumerator and one field more than ours."""
    text = (source / "include/llama.h").read_text(encoding="utf-8")
    pooling = "LLAMA_POOLING_TYPE_NONE = 0,"
    field = "int32_t      *  n_seq_id;"
    assert pooling in text
    assert field in text
    fork = tmp_path / "fork"
    fork.mkdir()
    changed = text.replace(pooling, "LLAMA_POOLING_TYPE_FORK = 0, LLAMA_POOLING_TYPE_NONE = 1,").replace(
        "LLAMA_POOLING_TYPE_MEAN = 1", "LLAMA_POOLING_TYPE_MEAN = 2"
    )
    (fork / "llama.h").write_text(changed.replace(field, f"int64_t extra; {field}"), encoding="utf-8")
    bindings, _ = load_custom([fork, source / "ggml" / "include"])
    values = {m.name: m.value for _, enum in bindings.named_enums() for m in enum.members}
    assert values["LLAMA_POOLING_TYPE_MEAN"] == 2
    layout = bindings.scope.layout(dict(bindings.named_records())["struct llama_batch"])
    assert [name for name, *_ in layout.fields].index("extra") == 4
    assert layout.size == 64


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        BindgenError, match=r"no llama\.h and no other header of llama\.cpp in .*--include DIR"
    ):
        load_custom([tmp_path])
    with pytest.raises(BindgenError, match=r"no whisper\.h in"):
        load_custom([tmp_path], ["whisper.h"])
    with pytest.raises(BindgenError, match="is not a folder"):
        load_custom([tmp_path / "nowhere"])


def test_the_generator_runs_under_another_name(tmp_path: Path) -> None:
    """As it does from the wheel, where it is packed in as `llama_ffi/_bindgen`."""
    package = tmp_path / "outer" / "inner"
    package.parent.mkdir()
    (package.parent / "__init__.py").touch()
    (tmp_path / "x.h").write_text("int f(void);", encoding="utf-8")
    package.symlink_to(Path(main.__code__.co_filename).parent)
    arguments = ["bind", "--include", str(tmp_path), "--header", "x.h", "--out", str(tmp_path / "out")]
    done = subprocess.run(
        [sys.executable, "-m", "outer.inner", *arguments], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "_ffi.py").is_file()
