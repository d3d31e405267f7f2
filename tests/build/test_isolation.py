"""Two llama.cpp builds in one process stay apart, because the libraries' names are their own.

The second build is a copy of the first under other names: a name in an ELF file is overwritten by one that
is not longer, which also changes the commit that its ggml reports, so that each can be told from the other.
A control shows what happens without names of one's own. The slow test compiles a second build with other
flags and upstream's names.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from build_backends import build
from build_backends.settings import parse_settings

ROOT = Path(__file__).resolve().parents[2]
NATIVE = ROOT / "llama_ffi" / "_native"

pytestmark = [
    pytest.mark.model,
    pytest.mark.skipif(sys.platform != "linux", reason="rewrites ELF files and uses dladdr"),
]

CHILD = """\
import ctypes, json, os, sys
from llama_ffi import tiny_model_path
from llama_ffi._abi._ffi import ffi

class Where(ctypes.Structure):
    _fields_ = [("file", ctypes.c_char_p), ("base", ctypes.c_void_p)]
    _fields_ += [("name", ctypes.c_char_p), ("at", ctypes.c_void_p)]

def folder_of(pointer):
    found = Where()
    ctypes.CDLL(None).dladdr(ctypes.c_void_p(int(ffi.cast("uintptr_t", pointer))), ctypes.byref(found))
    return os.path.dirname(found.file.decode())

class Copy:
    def __init__(self, llama, prompt):
        self.lib = lib = ffi.dlopen(llama, ffi.RTLD_NOW | ffi.RTLD_LOCAL)
        self.quiet = ffi.callback("void(enum ggml_log_level, char *, void *)", lambda *line: None)
        lib.llama_log_set(self.quiet, ffi.NULL)
        lib.llama_backend_init()
        path = os.fsencode(tiny_model_path())
        self.model = lib.llama_model_load_from_file(path, lib.llama_model_default_params())
        assert self.model != ffi.NULL
        params = lib.llama_context_default_params()
        params.n_ctx = 256
        params.n_threads = params.n_threads_batch = 1
        self.context = lib.llama_init_from_model(self.model, params)
        assert self.context != ffi.NULL
        self.vocab = lib.llama_model_get_vocab(self.model)
        tokens = ffi.new("llama_token[]", 64)
        n = lib.llama_tokenize(self.vocab, prompt, len(prompt), tokens, 64, True, False)
        assert n > 0
        assert lib.llama_decode(self.context, lib.llama_batch_get_one(tokens, n)) == 0
        self.token = ffi.new("llama_token[]", 1)
        self.sampler = lib.llama_sampler_init_greedy()
        self.text = b""

    def step(self):
        self.token[0] = self.lib.llama_sampler_sample(self.sampler, self.context, -1)
        piece = ffi.new("char[]", 64)
        n = self.lib.llama_token_to_piece(self.vocab, self.token[0], piece, 64, 0, True)
        self.text += ffi.buffer(piece, n)[:]
        assert self.lib.llama_decode(self.context, self.lib.llama_batch_get_one(self.token, 1)) == 0

copies = [Copy(path, b"Once upon a time") for path in sys.argv[1:]]
for _ in range(40):
    for copy in copies:
        copy.step()
print(json.dumps([{
    "text": copy.text.decode(errors="replace"),
    "commit": ffi.string(copy.lib.ggml_commit()).decode(),
    "folder_of_ggml": folder_of(ffi.addressof(copy.lib, "ggml_backend_reg_count")),
    "folder_of_base": folder_of(ffi.addressof(copy.lib, "ggml_init")),
    "folder_of_cpu": folder_of(ffi.addressof(copy.lib, "ggml_backend_cpu_init")),
} for copy in copies]))
"""


def ours_tag() -> str:
    """Return what stands between name and suffix of our libraries; the pinned build's tag is its commit."""
    name = json.loads((NATIVE / "manifest.json").read_text())["libraries"]["llama"]
    return str(name.removeprefix("libllama-").removesuffix(".so"))


def run(*libraries: Path) -> list[dict[str, str]]:
    """Load each libllama in one child process, generate from all in turns, and return what each one said."""
    done = subprocess.run(
        [sys.executable, "-c", CHILD, *map(str, libraries)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    answers: list[dict[str, str]] = json.loads(done.stdout)
    return answers


def copy_under(folder: Path, suffix: str, commit: str) -> Path:
    """Copy our libraries to `folder` with another suffix in their names; return the new libllama."""
    tag = ours_tag()
    folder.mkdir()
    old = f"-{tag}.so".encode()
    new = f"{suffix}.so".encode().ljust(len(old), b"\0")
    for file in NATIVE.glob(f"*-{tag}.so"):
        content = file.read_bytes().replace(old, new).replace(tag.encode(), commit.encode())
        (folder / file.name.replace(f"-{tag}.so", f"{suffix}.so")).write_bytes(content)
    return folder / f"libllama{suffix}.so"


@pytest.fixture(scope="module")
def ours() -> Path:
    return NATIVE / json.loads((NATIVE / "manifest.json").read_text())["libraries"]["llama"]


def assert_apart(answers: list[dict[str, str]], libraries: list[Path]) -> None:
    for answer, library in zip(answers, libraries, strict=True):
        folders = {answer["folder_of_ggml"], answer["folder_of_base"], answer["folder_of_cpu"]}
        assert folders == {str(library.parent)}
    texts = {answer["text"] for answer in answers}
    assert len(texts) == 1
    assert len(texts.pop()) > 40


def test_two_commits_side_by_side(ours, tmp_path) -> None:
    other = copy_under(tmp_path / "other", "-fffffffff", "fffffffff")
    answers = run(ours, other)
    assert [answer["commit"] for answer in answers] == [ours_tag(), "fffffffff"]
    assert_apart(answers, [ours, other])
    assert answers[0]["text"] == run(ours)[0]["text"]


@pytest.mark.parametrize("first", ["ours", "theirs"])
def test_beside_upstreams_names(ours, tmp_path, first) -> None:
    theirs = copy_under(tmp_path / "theirs", "", "eeeeeeeee")
    libraries = [ours, theirs] if first == "ours" else [theirs, ours]
    answers = run(*libraries)
    assert {answer["commit"] for answer in answers} == {ours_tag(), "eeeeeeeee"}
    assert_apart(answers, libraries)


def test_without_names_of_their_own_they_mix(tmp_path) -> None:
    """The control: the same names twice, and the second libllama runs on the first one's ggml."""
    one = copy_under(tmp_path / "one", "", "111111111")
    two = copy_under(tmp_path / "two", "", "222222222")
    # glibc knows a library by its SONAME, so libllama itself is given another one to be loaded twice.
    moved = two.with_name("libllamb.so")
    moved.write_bytes(two.read_bytes().replace(b"libllama.so", b"libllamb.so"))
    answers = run(one, moved)
    assert [answer["commit"] for answer in answers] == ["111111111", "111111111"]
    assert answers[1]["folder_of_ggml"] == str(one.parent)


@pytest.mark.slow
def test_beside_a_build_with_other_flags(ours, tmp_path) -> None:
    """Compiles a second llama.cpp (minutes; cached): portable, upstream's names, another commit."""
    settings = parse_settings(
        {
            "cmake.define.GGML_NATIVE": "OFF",
            "cmake.define.GGML_LLAMAFILE": "OFF",
            "cmake.define.LLAMA_FFI_TAG": "",
            "cmake.define.LLAMA_BUILD_COMMIT": "ddddddddd",
        }
    )
    folder = tmp_path / "theirs"
    shutil.copytree(build.build(settings), folder)
    theirs = folder / "libllama.so"
    answers = run(ours, theirs)
    assert [answer["commit"] for answer in answers] == [ours_tag(), "ddddddddd"]
    assert_apart(answers, [ours, theirs])
