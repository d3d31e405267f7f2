"""`llama-ffi quantize`, `perplexity` and `embed`: what they write, print and refuse."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

import llama_ffi as lf

pytestmark = pytest.mark.model

Run = Callable[..., "subprocess.CompletedProcess[str]"]
Fails = Callable[..., str]


def test_quantize(llama: Run, tmp_path: Path) -> None:
    path = tmp_path / "out.gguf"
    options = ["--tensor-type", "attn_v=q8_0", "--override-kv", "general.name=str:other", "-t", "1"]
    done = llama("quantize", *options, lf.tiny_model_path(), str(path), "Q4_K_M")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "f16 → q4_k" in done.stdout
    assert "f16 → q8_0" in done.stdout
    assert "bits per weight" in done.stdout
    assert done.stdout.endswith(f"{path}\n")
    with lf.Model.load(path) as model:
        assert model.metadata["general.name"] == "other"


def test_a_dry_run_writes_nothing(llama: Run, tmp_path: Path) -> None:
    done = llama("quantize", "--dry-run", lf.tiny_model_path(), "q8_0", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "would write" in done.stdout
    assert not list(tmp_path.iterdir())


def test_mistakes(fails: Fails, tmp_path: Path) -> None:
    model, out = lf.tiny_model_path(), str(tmp_path / "out.gguf")
    assert "choose one of" in fails("quantize", model, out, "q9")
    assert "dry run" in fails("quantize", model, "q8_0")
    assert "REGEX=TYPE" in fails("quantize", "--tensor-type", "attn", model, out, "q8_0", status=2)
    assert "KEY=TYPE:VALUE" in fails("quantize", "--override-kv", "a=int:x", model, out, "q8_0", status=2)
    assert "list of layers" in fails("quantize", "--prune-layers", "1,x", model, out, "q8_0", status=2)
    assert "need --imatrix" in fails("quantize", "--include-weights", "a", model, out, "q8_0")
    assert "no such file" in fails("quantize", "--imatrix", "none", model, out, "q8_0")
    assert not list(tmp_path.iterdir())


def test_perplexity(llama: Run, fails: Fails, tmp_path: Path) -> None:
    text = "Once upon a time there was a little cat. The cat had a red ball. " * 8
    (tmp_path / "text.txt").write_text(text)
    done = llama("perplexity", "-c", "32", "-t", "1", str(tmp_path / "text.txt"))
    assert done.returncode == 0, done.stderr
    found = lf.perplexity(None, text, n_ctx=32, n_threads=1)
    assert done.stdout == f"perplexity {found.value:.4f} ± {found.error:.4f}, {found.n_tokens} tokens\n"
    assert llama("perplexity", "-c", "32", "-t", "1", "-", input=text, stdin=None).stdout == done.stdout
    assert "window" in fails("perplexity", "-p", "short")
    assert "No such file" in fails("perplexity", "no such file")
    fails("perplexity", status=2)


def test_embed_and_rerank(llama: Run, fails: Fails, tmp_path: Path) -> None:
    bert, ranker = tmp_path / "bert.gguf", tmp_path / "ranker.gguf"
    lf.testing.save_random_model(bert, "bert", seed=1)
    lf.testing.save_random_model(ranker, "reranker", seed=1)
    done = llama("embed", "-m", str(bert), "-t", "1", "hello world", "a")
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    expected = lf.embed(bert, ["hello world", "a"], n_threads=1)
    assert rows == [[pytest.approx(value, abs=1e-5) for value in row] for row in expected.tolist()]
    done = llama("embed", "-m", str(ranker), "-t", "1", "--rerank", "what", "a cat", "a dog")
    ranked = [json.loads(line) for line in done.stdout.splitlines()]
    assert {each["document"] for each in ranked} == {"a cat", "a dog"}
    assert ranked[0]["score"] >= ranked[1]["score"]
    assert "classifier" in fails("embed", "-m", str(bert), "--rerank", "what", "a")
