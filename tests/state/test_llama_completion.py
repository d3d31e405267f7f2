"""State files go back and forth between us and llama.cpp's own program.

The program, ``llama-completion``, is compiled from the pinned source, which takes some minutes the first
time; it is kept in the cache folder.
"""

from __future__ import annotations

import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

import llama_ffi as lf
from vendor.cache import cache_folder
from vendor.download import from_index
from vendor.pin import load_pin

from .conftest import feed

pytestmark = [pytest.mark.model, pytest.mark.slow, pytest.mark.timeout(3600)]

PROMPT = "Once upon a time there was a"


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program, compiled from the whole pinned archive: the tree that is kept leaves the tools out."""
    pin = load_pin()
    build = cache_folder() / "tools" / f"llama.cpp-{pin.commit[:9]}"
    found = build / "bin" / "llama-completion"
    if not found.exists():
        folder = tmp_path_factory.mktemp("source")
        with tarfile.open(from_index(pin.index, folder, lambda _share: None)) as archive:
            archive.extractall(folder, filter="data")
        cmake = shutil.which("cmake")
        assert cmake, "cmake is missing: it belongs to the extra 'test'"
        options = [f"-DLLAMA_BUILD_{name}=OFF" for name in ("TESTS", "EXAMPLES", "SERVER", "APP")]
        options += ["-DLLAMA_OPENSSL=OFF", "-DGGML_OPENMP=OFF", "-DBUILD_SHARED_LIBS=OFF"]
        options += ["-DLLAMA_BUILD_NUMBER=0", f"-DLLAMA_BUILD_COMMIT={pin.commit[:9]}"]
        configure = [cmake, "-S", folder / pin.index.prefix, "-B", build, "-DCMAKE_BUILD_TYPE=Release"]
        subprocess.run([*configure, *options], check=True, stdout=subprocess.PIPE)
        target = ["--target", "llama-completion", "-j2"]
        subprocess.run([cmake, "--build", build, *target], check=True, stdout=subprocess.PIPE)
    return found


def run(program: Path, cache: Path | None, *arguments: str) -> str:
    """Run the program greedily on the shipped model; return the text it writes."""
    common = ["-m", str(lf.tiny_model_path()), "-c", "256", "-t", "1", "-b", "64", "-ub", "64", "--temp", "0"]
    quiet = ["-no-cnv", "--no-warmup", "--simple-io"]
    quiet += [] if cache is None else ["--prompt-cache", str(cache)]
    done = subprocess.run(
        [program, *common, *quiet, *arguments], capture_output=True, text=True, stdin=subprocess.DEVNULL
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.partition("\nllama_completion:")[0].strip()


def greedy(ctx: lf.Context, token: int, begin: int, count: int) -> list[int]:
    tokens = []
    for position in range(begin, begin + count):
        feed(ctx, [token], position)
        token = int(ctx.logits(-1).argmax())
        tokens.append(token)
    return tokens


def test_we_go_on_where_it_stopped(program: Path, model: lf.Model, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    text = run(program, cache, "-p", PROMPT, "-n", "8", "--prompt-cache-all")
    assert text.startswith(PROMPT)
    with model.context(n_ctx=256, n_batch=64, n_threads=1) as ctx:
        found = lf.PromptCache.load(ctx, cache)
        held = ctx.memory.seq_pos_max(0) + 1
        assert model.vocab.detokenize(found.tokens[1:]) == text
        ctx.memory.seq_rm(0, len(found.tokens) - 1, -1)
        assert held in (len(found.tokens), len(found.tokens) - 1)
        ours = greedy(ctx, found.tokens[-1], len(found.tokens) - 1, 12)
    longer = run(program, None, "-p", PROMPT, "-n", "20")
    assert longer == model.vocab.detokenize([*found.tokens[1:], *ours])


def test_it_goes_on_where_we_stopped(program: Path, model: lf.Model, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    tokens = model.vocab.tokenize(PROMPT, add_special=True)
    with model.context(n_ctx=256, n_batch=64, n_threads=1) as ctx:
        feed(ctx, tokens[:-1])  # the program decodes the last token itself, and refuses one that is there
        lf.PromptCache.save(ctx, cache, tokens)
    before = cache.read_bytes()
    warm = run(program, cache, "-p", PROMPT, "-n", "16", "--prompt-cache-ro")
    assert cache.read_bytes() == before, "-ro leaves it alone"
    assert warm == run(program, None, "-p", PROMPT, "-n", "16")


def test_what_we_continue_it_continues(program: Path, model: lf.Model, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    run(program, cache, "-p", PROMPT, "-n", "4", "--prompt-cache-all")
    with model.context(n_ctx=256, n_batch=64, n_threads=1) as ctx:
        tokens = lf.PromptCache.load(ctx, cache).tokens
        ctx.memory.seq_rm(0, len(tokens) - 1, -1)
        tokens += greedy(ctx, tokens[-1], len(tokens) - 1, 4)
        lf.PromptCache.save(ctx, cache, tokens)
    warm = run(program, cache, "-p", "", "-n", "8", "--prompt-cache-ro")
    assert warm == run(program, None, "-p", PROMPT, "-n", "16"), "it writes the whole text"
