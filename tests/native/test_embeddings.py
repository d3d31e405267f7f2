"""Vectors of texts, and documents in the order of their scores, on random models."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import llama_ffi as lf
from llama_ffi import errors, testing

pytestmark = pytest.mark.native

TEXTS = ["hello world", "a", "the cat sat on the mat", "hello world", "x y z"]
KINDS = ["bert", "llama", "qwen2", "gemma-embedding", "jina-bert-v2", "nomic-bert"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("pooling", ["mean", "cls", "last"])
def test_texts_together_are_as_each_alone(kind: str, pooling: str) -> None:
    with testing.random_model(kind, seed=1) as model:
        together = lf.embed(model, TEXTS, pooling=pooling, n_threads=1)
        assert together.shape == (len(TEXTS), model.n_embd_out)
        assert together.dtype == np.float32
        assert np.allclose(np.linalg.norm(together, axis=1), 1, atol=1e-5)
        for text, row in zip(TEXTS, together, strict=True):
            assert np.allclose(lf.embed(model, text, pooling=pooling, n_threads=1), row, atol=2e-3)
        small = lf.embed(model, TEXTS, pooling=pooling, n_batch=1, n_threads=1)  # one at a time
        assert np.allclose(small, together, atol=2e-3)


@pytest.mark.parametrize("kind", ["bert", "llama"])
def test_pooling_is_what_its_name_says(kind: str) -> None:
    with testing.random_model(kind, seed=1) as model:
        tokens = model.vocab.tokenize(TEXTS[2])
        n = len(tokens)
        with model.context(n_ctx=n, embeddings=True, pooling_type="none", n_threads=1) as context:
            batch = lf.Batch.from_tokens(tokens, logits="all")
            (context.encode if kind == "bert" else context.decode)(batch)
            rows = np.stack([context.embeddings(index) for index in range(n)])
        for pooling, expected in (("mean", rows.mean(axis=0)), ("cls", rows[0]), ("last", rows[-1])):
            found = lf.embed(model, TEXTS[2], pooling=pooling, normalize=False, n_threads=1)
            assert np.allclose(found, expected, atol=2e-3), pooling
            assert np.allclose(
                lf.embed(model, tokens and [tokens], pooling=pooling)[0] * np.linalg.norm(found),
                found,
                atol=2e-3,
            )


def test_many_texts() -> None:
    with testing.random_model("bert", seed=1) as model:
        texts = [f"text number {index}" for index in range(150)]
        found = lf.embed(model, texts, n_threads=1)
        assert found.shape == (150, model.n_embd_out)
        assert np.allclose(found[149], lf.embed(model, texts[149]), atol=2e-3)
        assert lf.embed(model, []).shape == (0, model.n_embd_out)


def test_a_path_does_as_well(tmp_path: Path) -> None:
    testing.save_random_model(tmp_path / "m.gguf", "bert", seed=1)
    with lf.Model.load(tmp_path / "m.gguf") as model:
        assert np.array_equal(lf.embed(tmp_path / "m.gguf", "a b"), lf.embed(model, "a b"))


def test_texts_that_are_too_long() -> None:
    with testing.random_model("bert", seed=1) as model:
        tokens = [*model.vocab.tokenize("a " * 3 * model.n_ctx_train)]
        with pytest.raises(errors.PromptTooLongError, match="truncate"):
            lf.embed(model, [tokens])
        found = lf.embed(model, [tokens], truncate=True, n_threads=1)
        cut = [*tokens[: model.n_ctx_train - 1], tokens[-1]]
        assert np.allclose(found, lf.embed(model, [cut], n_threads=1))


def test_documents_are_sorted_by_their_scores() -> None:
    with testing.random_model("reranker", seed=1) as model:
        documents = ["a cat", "a dog is a dog", "no", "the sky is blue"]
        found = lf.rerank(model, "what is it", documents, n_threads=1)
        assert sorted(each.document for each in found) == [0, 1, 2, 3]
        assert [each.score for each in found] == sorted((each.score for each in found), reverse=True)
        for each in found:
            (alone,) = lf.rerank(model, "what is it", [documents[each.document]], n_threads=1)
            assert alone.score == pytest.approx(each.score, abs=2e-3)
        vocab = model.vocab
        tokens = vocab.tokenize("what is it", add_special=False)
        other = lf.rerank(model, "something else", documents, n_threads=1)
        assert [each.score for each in other] != [each.score for each in found]
        assert tokens
        with pytest.raises(errors.UnsupportedError, match="rerank"):
            lf.embed(model, "a")
        assert lf.embed(model, "a", pooling="cls").shape == (model.n_embd_out,)


@pytest.mark.parametrize("kind", ["deepseek4", "qwen4exp", "llama", "t5"])
def test_embeddings_of_another_width_than_c_reads(kind: str) -> None:
    """C reads n_embd_out floats of each, and would go beyond its tensor: found by the call fuzzer."""
    lie = {f"{kind}.embedding_length_out": 1_000_000} if kind in ("llama", "t5") else {}
    with testing.random_model(kind, seed=1, metadata=lie) as model:
        assert model.n_embd_out != model.n_embd
        with pytest.raises(errors.ContextCreateError, match=f"embeddings of '{kind}' models can't be read"):
            model.context(n_ctx=32, embeddings=True, n_threads=1)
        if kind == "t5":
            with pytest.raises(
                errors.ContextCreateError, match="can't be read"
            ):  # its encoder makes them always
                model.context(n_ctx=32, n_threads=1)
            return
        with pytest.raises(errors.ContextCreateError, match=f"{model.n_embd_out} "):
            lf.embed(model, "hello")
        with model.context(n_ctx=32, n_threads=1) as ctx:
            with pytest.raises(errors.UnsupportedError, match="can't be read"):
                ctx.set_embeddings(True)
            ctx.decode(lf.Batch.from_tokens([5, 6]))
            assert np.isfinite(ctx.logits(-1)).all()


@pytest.mark.parametrize(
    ("kind", "metadata", "missing"),
    [
        ("lfm2", {"embedding_length_out": 1000}, "dense_2"),
        ("gemma-embedding", {"dense_2_feat_in": 64, "dense_2_feat_out": 16}, "dense_3"),
    ],
)
def test_a_file_without_the_last_matrix(
    tmp_path: Path, kind: str, metadata: dict[str, int], missing: str
) -> None:
    """They may be missing, says llama.cpp, and reads as if they were there."""
    whole, part = tmp_path / "whole.gguf", tmp_path / "part.gguf"
    testing.save_random_model(whole, kind, metadata={f"{kind}.{key}": each for key, each in metadata.items()})
    with lf.gguf.read(whole) as file, lf.gguf.GgufWriter(part) as writer:
        for key, value in file.metadata.items():
            writer.add(key, value)
        for name, tensor in file.tensors.items():
            if not name.startswith(missing):
                writer.add_tensor(name, tensor.data, type=tensor.type, shape=tensor.shape)
        writer.finish()
    with pytest.raises(errors.ModelFileError, match=r"floats wide .* reads \d+ of each"):
        lf.Model.load(part, n_gpu_layers=0)


def test_a_width_of_their_own() -> None:
    with testing.random_model("lfm2", seed=1, metadata={"lfm2.embedding_length_out": 16}) as model:
        assert lf.embed(model, "hello", n_threads=1).shape == (16,)


def test_mistakes() -> None:
    with testing.random_model("bert", seed=1) as model:
        with pytest.raises(errors.UnsupportedError, match="classifier"):
            lf.rerank(model, "a", ["b"])
        with pytest.raises(errors.InvalidArgumentError, match="pooling is 'rank'"):
            lf.embed(model, "a", pooling="rank")
        with pytest.raises(errors.InvalidArgumentError, match="no tokens"):
            lf.embed(model, [[]])
        with pytest.raises(errors.ArgumentTypeError):
            lf.embed(model, 7)  # type: ignore[arg-type]
        with pytest.raises(errors.InvalidArgumentError):
            lf.embed(model, "a", n_batch=0)
    with testing.random_model("t5", seed=1) as model, pytest.raises(errors.UnsupportedError, match="encode"):
        lf.embed(model, "a b")
