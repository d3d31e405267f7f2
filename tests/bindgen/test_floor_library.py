"""The floor, for real: llama-cpp-python 0.3.16's llama.cpp, compiled, bound, and used through the safe layer.

The source comes from the package index, by name and with a pinned hash; fifty megabytes and minutes of
compiling, so the test is slow and opt-in.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from bindgen.analyze import Bindings
from bindgen.pipeline import load_present
from tests.bindgen.floor import ORIGIN, above_floor
from vendor.download import from_index

pytestmark = [pytest.mark.slow, pytest.mark.model, pytest.mark.timeout(3600)]

ROOT = Path(__file__).resolve().parents[2]
SWITCHED_OFF = (
    "LLAMA_BUILD_COMMON LLAMA_BUILD_TESTS LLAMA_BUILD_TOOLS LLAMA_BUILD_EXAMPLES LLAMA_BUILD_SERVER"
)
OPTIONS = [
    "-DCMAKE_BUILD_TYPE=Release",
    "-DBUILD_SHARED_LIBS=ON",
    "-DCMAKE_BUILD_WITH_INSTALL_RPATH=ON",
    "-DCMAKE_INSTALL_RPATH=$ORIGIN",
    *(f"-D{name}=OFF" for name in (*SWITCHED_OFF.split(), "LLAMA_CURL", "GGML_OPENMP", "GGML_LLAMAFILE")),
]

USED = r"""
import json, sys
import llama_ffi as lf
from llama_ffi.raw import ffi, lib

info = lf.library_info()
assert (info.bindings, info.libraries.manifest) == ("floor", None), info
assert info.verified_by.startswith("tried out: 4 structs end as in the bindings"), info.verified_by
said = {"text": "".join(lf.generate("Once upon a time", max_tokens=16, temp=0))}
model = lf.Model.load(lf.tiny_model_path(), load_mode="none")
said["tokens"] = model.vocab.tokenize("Once upon a time, a cat – ünïcode!")
assert model.vocab.detokenize(said["tokens"][1:]).endswith("ünïcode!")
ctx = model.context(n_ctx=256, n_batch=32, n_seq_max=2, n_threads=1, flash_attn=True)
ctx.decode(lf.Batch.from_tokens(said["tokens"]))
said["logits"] = [round(float(each), 3) for each in ctx.logits(-1)[:50]]

# every kind of sampler that the floor has, stand-ins among them
chain = lf.SamplerChain()
chain.add_penalties(model.vocab.n_tokens, 64, 1.1, 0.1, 0.1)
chain.add_dry(model.vocab, 0.8)
chain.add_top_k(40)
chain.add_min_p(0.05)
chain.add_temp(0.8)
chain.add_dist(1)
sampled = [chain.sample(ctx, -1)]
yes = lf.SamplerChain()
yes.add_grammar(model.vocab, 'root ::= "yes" | "no"', "root")
yes.add_greedy()
assert model.vocab.piece(yes.sample(ctx, -1)).strip() in (b"y", b"n", b"ye", b"yes", b"no")

# the state goes out of one context and into another, which continues as the first
size = lib.llama_state_get_size(ctx.ptr)
buffer = ffi.new("uint8_t[]", size)
written = lib.llama_state_get_data(ctx.ptr, buffer, size)
assert 0 < written <= size
other = model.context(n_ctx=256, n_batch=32, n_seq_max=2, n_threads=1, flash_attn=True)
assert lib.llama_state_set_data(other.ptr, buffer, written) == written
step = lf.Batch(1)
step.add(sampled[0], len(said["tokens"]), [0], logits=True)
for each in (ctx, other):
    each.decode(step)
assert ctx.logits(-1).tolist() == other.logits(-1).tolist()
ctx.memory.seq_cp(0, 1, 0, -1)
assert ctx.memory.seq_rm(0, 4, -1)
assert (ctx.memory.seq_pos_max(0), ctx.memory.seq_pos_max(1)) == (3, len(said["tokens"]))

# a control vector counts from the next decode on (this version would reuse the graph without it)
import numpy as np

plain = model.context(n_ctx=256, n_threads=1)
before = []
for vector in (None, np.ones((model.n_layer - 1, model.n_embd), np.float32)):
    if vector is not None:
        plain.set_control_vector(vector)
        plain.memory.seq_rm(0, 0, -1)
    plain.decode(lf.Batch.from_tokens(said["tokens"]))
    before.append(plain.logits(-1))
assert abs(before[0] - before[1]).max() > 0.01

# the guard that bind compiled for this library catches its assertions
from llama_ffi._core import binding

unsafe = binding.active().lib
empty = unsafe.llama_sampler_chain_init(unsafe.llama_sampler_chain_default_params())
try:
    unsafe.llama_sampler_sample(empty, ctx.ptr, -1)
except lf.errors.NativeAbortError as error:
    assert "llama_sampler_sample failed an assertion" in str(error)
else:
    raise SystemExit("an empty chain selected something")

# what is above the floor has its own error, and everything else goes on
refused = {}
for name, use in {
    "Vocab.suppress_tokens": lambda: model.vocab.suppress_tokens,
    "Context(n_rs_seq=…)": lambda: model.context(n_rs_seq=2),
    "Model.load(load_mode='direct_io')": lambda: lf.Model.load(lf.tiny_model_path(), load_mode="direct_io"),
    "Sampler.adaptive_p": lambda: lf.Sampler.adaptive_p(0.5, 0.9),
}.items():
    try:
        use()
    except (lf.errors.MissingFunctionError, lf.errors.MissingFieldError) as error:
        assert str(error).startswith(f"{name} can't be used: "), error
        assert info.libraries.files["llama"].name in str(error), error
    else:
        raise SystemExit(f"{name} was not refused")
print(json.dumps(said))
"""

USUAL = r"""
import json
import llama_ffi as lf
said = {"text": "".join(lf.generate("Once upon a time", max_tokens=16, temp=0))}
model = lf.Model.load(lf.tiny_model_path())
said["tokens"] = model.vocab.tokenize("Once upon a time, a cat – ünïcode!")
ctx = model.context(n_ctx=256, n_batch=32, n_threads=1)
ctx.decode(lf.Batch.from_tokens(said["tokens"]))
said["logits"] = [round(float(each), 3) for each in ctx.logits(-1)[:50]]
print(json.dumps(said))
"""


@pytest.fixture(scope="module")
def floor(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The floor's whole source."""
    folder = tmp_path_factory.mktemp("floor")
    archive = from_index(ORIGIN, folder, lambda _: None)
    with tarfile.open(archive) as tar:
        for member in tar:
            path = member.name.removeprefix(ORIGIN.prefix)
            if member.isfile() and path != member.name and ".." not in Path(path).parts:
                content = tar.extractfile(member)
                assert content is not None
                (folder / "source" / path).parent.mkdir(parents=True, exist_ok=True)
                (folder / "source" / path).write_bytes(content.read())
    archive.unlink()
    return folder / "source"


@pytest.fixture(scope="module")
def library(floor: Path) -> Path:
    """The folder with the floor's libraries, for the CPU."""
    cmake, ninja = shutil.which("cmake"), shutil.which("ninja")
    assert cmake and ninja, "the test environment has both"
    build = floor.parent / "build"
    command = [cmake, "-S", str(floor), "-B", str(build), "-G", "Ninja", f"-DCMAKE_MAKE_PROGRAM={ninja}"]
    for step in ([*command, *OPTIONS], [cmake, "--build", str(build), "--target", "llama"]):
        done = subprocess.run(step, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return build / "bin"


def run(*command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, **environment}
    return subprocess.run([sys.executable, *command], capture_output=True, text=True, env=env, cwd=ROOT)


def test_the_list_of_what_is_above_the_floor(floor: Path, bindings: Bindings) -> None:
    expected = json.loads((ROOT / "tests/unit/above_floor.json").read_text(encoding="utf-8"))
    assert above_floor(load_present(floor), bindings) == expected


def test_bound_and_used(floor: Path, library: Path, tmp_path: Path) -> None:
    folders = [f"--include={floor / folder}" for folder in ("include", "ggml/include", "tools/mtmd")]
    cache = {"LLAMA_FFI_CACHE": str(tmp_path)}
    bound = run("-m", "llama_ffi", "bind", *folders, f"--lib={library}", "--name=floor", "--check", **cache)
    assert bound.returncode == 0, bound.stderr
    assert "0 differences" in bound.stdout
    assert "functions, by a library compiled for this one" in bound.stdout
    used = run("-c", USED, LLAMA_FFI_BINDINGS="floor", **cache)
    assert used.returncode == 0, used.stderr
    usual = run("-c", USUAL)
    ours, theirs = json.loads(usual.stdout), json.loads(used.stdout)
    assert theirs["tokens"] == ours["tokens"]
    assert len(theirs["text"]) > 10
    assert theirs["logits"] == pytest.approx(ours["logits"], abs=0.1)


def test_without_its_bindings_it_is_refused(library: Path) -> None:
    done = run("-c", "import llama_ffi; llama_ffi.raw.lib", LLAMA_FFI_LIB=str(library))
    assert done.returncode == 1
    assert "AbiMismatchError" in done.stderr
    assert "llama_model_params ends after" in done.stderr
    assert "llama-ffi bind" in done.stderr
