"""What each strength of verification catches, on libraries that were built to be wrong.

Each case changes the real headers, compiles the probe (for the build manifest) and a library of the
functions that fill structs with defaults (for the run-time trial) against the changed headers. The compiler
itself is asked as well: what the probe prints of them is compared with what bindgen made of the pinned ones.
A missing function is tried on copies of the real library.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bindgen.analyze import Bindings
from bindgen.layout import differences, facts
from bindgen.models import LP64
from bindgen.pipeline import load
from bindgen.probe import compiler_view
from llama_ffi._abi import manifest
from llama_ffi._abi._ffi import ffi
from llama_ffi._lib import foreign
from llama_ffi._lib.search import LibrarySet
from llama_ffi._lib.verify import data_model, verify
from llama_ffi.errors import AbiMismatchError

pytestmark = pytest.mark.native

ROOT = Path(__file__).resolve().parents[2]
HEADERS = ("ggml/include", "include", "tools/mtmd")

LIBRARY = """
#include "llama.h"
struct llama_model_params llama_model_default_params(void) {
    struct llama_model_params p = { .n_gpu_layers = -1, .split_mode = 1, .load_mode = -1, .lazy_mode = 1,
                                    .use_extra_bufts = true };
    return p;
}
struct llama_context_params llama_context_default_params(void) {
    struct llama_context_params p = { .n_ctx = 512, .n_batch = 2048, .n_ubatch = 512, .n_seq_max = 1,
        .n_outputs_max_per_seq = 1, .n_threads = 4, .n_threads_batch = 4, .rope_scaling_type = -1,
        .pooling_type = -1, .attention_type = -1, .flash_attn_type = -1, .yarn_ext_factor = -1,
        .yarn_attn_factor = -1, .yarn_beta_fast = -1, .yarn_beta_slow = -1, .defrag_thold = -1,
        .type_k = GGML_TYPE_F16, .type_v = GGML_TYPE_F16, .offload_kqv = true, .no_perf = true,
        .op_offload = true, .swa_full = true };
    return p;
}
struct llama_model_quantize_params llama_model_quantize_default_params(void) {
    struct llama_model_quantize_params p = { .ftype = 7, .output_tensor_type = GGML_TYPE_COUNT,
        .token_embedding_type = GGML_TYPE_COUNT, .quantize_output_tensor = true, .max_buf_size = 8ull << 30 };
    return p;
}
struct llama_batch llama_batch_get_one(llama_token * tokens, int32_t n_tokens) {
    struct llama_batch b = { .n_tokens = n_tokens, .token = tokens };
    return b;
}
"""


@dataclass(frozen=True)
class Case:
    """An edit of llama.h (a pattern and what replaces it), and what each strength must say about it.

    None: it can't see it.
    """

    name: str
    old: str
    new: str
    by_manifest: str | None
    by_trial: str | None


N_BATCH = "        uint32_t n_batch; "
SHRUNK = "        uint16_t n_batch; uint16_t extra; "
CASES = [
    Case("unchanged", N_BATCH, N_BATCH, None, None),
    Case(
        "a field inserted in the middle",
        N_BATCH,
        "        uint32_t extra;\n" + N_BATCH,
        "n_batch",
        "llama_context_params ends after 168 bytes in the library, after 160 in the bindings",
    ),
    Case(
        "one inserted with equal total size",
        N_BATCH,
        "        uint16_t extra; uint16_t n_batch; ",
        "n_batch",
        "llama_context_params.n_batch is 134217728 after llama_context_default_params, not 2048",
    ),
    Case(
        "one inserted with equal total size, behind a value that is small", N_BATCH, SHRUNK, "n_batch", None
    ),
    Case(
        "a field inserted into a batch",
        r"        float        \*  embd;",
        "        void * extra; float * embd;",
        "llama_batch",
        "llama_batch ends after 64 bytes in the library, after 56 in the bindings",
    ),
    Case(
        "two fields of a batch swapped",
        r"        llama_token  \*  token;\n        float        \*  embd;",
        "        float * embd; llama_token * token;",
        "llama_batch fields token",
        "llama_batch.token is 0 after llama_batch_get_one, not 16",
    ),
    Case(
        "two fields with different defaults swapped",
        r"n_batch;[^\n]*\n        uint32_t n_ubatch; ",
        "n_ubatch;\n        uint32_t n_batch; ",
        "n_batch",
        "llama_context_params.n_batch is 512 after llama_context_default_params, not 2048",
    ),
    Case(
        "two fields with equal defaults swapped",
        r"type_k;[^\n]*\n        enum ggml_type type_v; ",
        "type_v;\n        enum ggml_type type_k; ",
        "type_k",
        None,
    ),
    Case(
        "an enum member shifted",
        "        LLAMA_POOLING_TYPE_MEAN = 1,",
        "        LLAMA_POOLING_TYPE_OTHER = 1, LLAMA_POOLING_TYPE_MEAN = 5,",
        "LLAMA_POOLING_TYPE_MEAN is 5 in the library, 1 in the bindings",
        None,
    ),
    Case(
        "a function with another signature",
        r"    LLAMA_API int32_t llama_vocab_n_tokens\([^)]*\);",
        "    LLAMA_API int64_t llama_vocab_n_tokens(const struct llama_vocab * vocab, int32_t flags);",
        "llama_vocab_n_tokens has another type in the library",
        None,
    ),
]


@pytest.fixture(scope="session")
def source() -> Path:
    command = [sys.executable, str(ROOT / "vendor" / "fetch.py"), "--print-path"]
    return Path(
        subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip().splitlines()[-1]
    )


@pytest.fixture
def build(source: Path, tmp_path: Path) -> Callable[[Case], LibrarySet]:
    def build(case: Case) -> LibrarySet:
        for folder in HEADERS:
            (tmp_path / folder).mkdir(parents=True)
            for header in (source / folder).glob("*.h"):
                (tmp_path / folder / header.name).write_bytes(header.read_bytes())
        llama_h = tmp_path / "include" / "llama.h"
        text = llama_h.read_text()
        changed, count = re.subn(case.old, lambda _: case.new, text)
        assert count == 1, "the header has changed; adapt the case"
        llama_h.write_text(changed)
        includes = [f"-I{tmp_path / folder}" for folder in HEADERS]
        compiler = [os.environ.get("CC", "cc"), "-std=c11", "-w", *includes]
        probe = ROOT / "build_backends" / "native" / "probe.c"
        subprocess.run([*compiler, str(probe), "-o", str(tmp_path / "probe")], check=True)
        printed = subprocess.run([str(tmp_path / "probe")], capture_output=True, check=True).stdout
        (tmp_path / "probe.json").write_bytes(printed)
        (tmp_path / "library.c").write_text(LIBRARY)
        target = tmp_path / "libllama.so"
        subprocess.run(
            [*compiler, "-shared", "-fPIC", str(tmp_path / "library.c"), "-o", str(target)], check=True
        )
        built = {
            "commit": "f" * 40,
            "headers_sha256": "other",
            "probe_sha256": hashlib.sha256(printed).hexdigest(),
        }
        return LibrarySet(tmp_path, {"llama": target}, "LLAMA_FFI_LIB", built, {})

    return build


@pytest.fixture(scope="session")
def pinned_bindings(source: Path) -> Bindings:
    return load(source)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_is_caught(case: Case, build: Callable[[Case], LibrarySet], pinned_bindings: Bindings) -> None:
    libraries = build(case)
    built = libraries.manifest
    assert built is not None
    by_compiler = differences(facts(pinned_bindings, LP64), compiler_view(pinned_bindings, libraries.folder))
    subject = (case.by_manifest or "nothing").split()[0]
    assert any(subject in each for each in by_compiler) == (case.by_manifest is not None)
    says(case.by_manifest, lambda: verify(libraries, built, manifest))
    opened = ffi.dlopen(str(libraries.files["llama"]))
    says(case.by_trial, lambda: foreign.prove_layout(ffi, opened, libraries))


def says(words: str | None, question: Callable[[], object]) -> None:
    if words is None:
        question()
        return
    with pytest.raises(AbiMismatchError) as caught:
        question()
    assert words in str(caught.value)
    assert "llama-ffi bind" in str(caught.value)


def test_the_known_defaults_are_the_librarys() -> None:
    from llama_ffi.raw import lib

    for struct, (function, defaults) in foreign.DEFAULTS.items():
        arguments = (ffi.cast("llama_token *", 0x10), 3) if function == "llama_batch_get_one" else ()
        value = getattr(lib, function)(*arguments)
        for name, field in ffi.typeof(struct).fields:
            got: Any = getattr(value, name)
            if field.type.kind in ("pointer", "function"):
                got = int(ffi.cast("uintptr_t", got))
            assert got == defaults.get(name, 0), f"{struct}.{name}"


def test_the_pairs_that_look_alike_are_known() -> None:
    pairs = foreign.indistinguishable(ffi)
    assert ("llama_context_params", "type_k", "type_v") in pairs
    assert ("llama_context_params", "n_batch", "n_ubatch") not in pairs
    assert ("llama_context_params", "n_threads", "n_threads_batch") not in pairs, (
        "their getters tell them apart"
    )
    assert ("llama_batch", "token", "embd") not in pairs
    assert ("llama_batch", "pos", "n_seq_id") in pairs
    assert len(pairs) == 32


def test_a_getter_that_answers_otherwise_is_named() -> None:
    from llama_ffi import tiny_model_path
    from llama_ffi.raw import lib

    liar = SimpleNamespace(**{name: getattr(lib, name) for name in FOR_EFFECT})
    libraries = LibrarySet(Path(), {"llama": Path("libllama.so")}, "LLAMA_FFI_LIB", None, {})
    foreign.prove_effect(ffi, liar, tiny_model_path(), libraries)
    liar.llama_n_batch, liar.llama_n_ubatch = lib.llama_n_ubatch, lib.llama_n_batch
    with pytest.raises(AbiMismatchError, match="n_batch was set to 96, llama_n_batch says 48"):
        foreign.prove_effect(ffi, liar, tiny_model_path(), libraries)


FOR_EFFECT = [
    *("llama_model_default_params", "llama_model_load_from_file", "llama_model_free", "llama_pooling_type"),
    *("llama_context_default_params", "llama_init_from_model", "llama_free", "llama_n_ctx", "llama_n_batch"),
    *("llama_n_ubatch", "llama_n_seq_max", "llama_n_threads", "llama_n_threads_batch"),
]

FOREIGN = """
import llama_ffi as lf
info = lf.library_info()
assert info.libraries.manifest is None
print(info.verified_by)
print("".join(lf.generate("Once upon a time", max_tokens=8, temp=0)))
"""


def test_a_build_without_manifest_is_tried_out_and_runs(tmp_path: Path) -> None:
    from llama_ffi import library_paths

    for path in library_paths().values():
        (tmp_path / path.name).symlink_to(path)
    environment = {**os.environ, "LLAMA_FFI_LIB": str(tmp_path / library_paths()["llama"].name)}
    names = {
        "llama": "libllama.so",
        "ggml": "libggml.so",
        "ggml-base": "libggml-base.so",
        "ggml-cpu": "libggml-cpu.so",
    }
    for key, name in names.items():
        (tmp_path / name).symlink_to(library_paths()[key])
    environment["LLAMA_FFI_LIB"] = str(tmp_path / "libllama.so")
    done = subprocess.run([sys.executable, "-c", FOREIGN], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("tried out: 4 structs")


WITHOUT = """
import llama_ffi as lf
info = lf.library_info()
print(info.verified_by)
assert "".join(lf.generate("Once upon a time", max_tokens=4, temp=0))
try:
    getattr(lf.raw.lib, MISSING)
except lf.errors.MissingFunctionError as error:
    print(error)
finding = next(each for each in lf.diagnose() if each.topic == "functions")
print(MISSING in finding.details, lf.raw.lib.llama_max_devices() > 0)
"""


@pytest.mark.parametrize("strength", ["build manifest", "tried out"])
def test_a_missing_function_disables_itself_alone(strength: str, tmp_path: Path) -> None:
    """The real library, with one name in its table of symbols changed, which takes the function out of it."""
    from llama_ffi import library_info, library_paths

    for path in library_paths().values():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    native = library_paths()["llama"].parent
    by_manifest = strength == "build manifest"
    for name in ("manifest.json", "probe.json") if by_manifest else ():
        (tmp_path / name).write_bytes((native / name).read_bytes())
    for key, path in library_paths().items() if not by_manifest else ():
        (tmp_path / f"lib{key}.so").symlink_to(path.name)
    missing = "llama_vocab_get_add_sep"
    llama = tmp_path / library_paths()["llama"].name
    data = llama.read_bytes()
    assert data.count(f"\0{missing}\0".encode()) == 1
    llama.write_bytes(data.replace(f"\0{missing}\0".encode(), b"\0" + missing[::-1].encode() + b"\0"))
    place = tmp_path if by_manifest else tmp_path / "libllama.so"
    code = f"MISSING = {missing!r}\n" + WITHOUT
    environment = {**os.environ, "LLAMA_FFI_LIB": str(place)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    verified, error, listed = done.stdout.splitlines()
    assert verified.startswith(strength)
    assert f"{missing} is not in {place if not by_manifest else llama}" in error
    version = library_info().commit[:12] if by_manifest else library_info().version
    assert f"this library is llama.cpp {version} (found via LLAMA_FFI_LIB)" in error
    assert f"the bindings are for llama.cpp {manifest.COMMIT[:12]}" in error
    assert listed == "True True"


def test_data_model() -> None:
    assert data_model() in manifest.LAYOUT_SHA256
    assert json.dumps(manifest.probe(data_model()), sort_keys=True, separators=(",", ":"))
