"""What each strength of verification catches, on libraries that were built to be wrong.

Each case changes the real headers, compiles the probe (for the build manifest) and a library of the
functions that fill structs with defaults (for the run-time trial) against the changed headers.
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
    Case("one inserted with equal total size", N_BATCH, SHRUNK, "n_batch", None),
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
        "llama_vocab_n_tokens is None in the library",
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


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_is_caught(case: Case, build: Callable[[Case], LibrarySet]) -> None:
    libraries = build(case)
    built = libraries.manifest
    assert built is not None
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
        value = getattr(lib, function)()
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
    assert len(pairs) == 28


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
    assert done.stdout.startswith("tried out: 3 structs")


def test_data_model() -> None:
    assert data_model() in manifest.LAYOUT_SHA256
    assert json.dumps(manifest.probe(data_model()), sort_keys=True, separators=(",", ":"))
