"""The factory's arguments and tables, without a library."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llama_ffi import testing
from llama_ffi.errors import ArgumentTypeError, InvalidArgumentError, UnsupportedError


def test_weights_are_fixed_by_seed_and_name() -> None:
    one = testing.random_weights("blk.0.attn_q.weight", (2, 3), 1)
    # numpy promises these numbers for ever
    expected = [[-0.9709225, -0.643252, 0.7291003], [0.4475973, 0.5175231, 0.1208836]]
    assert one.dtype == np.float32
    np.testing.assert_allclose(one, expected, atol=1e-5)
    assert not np.array_equal(one, testing.random_weights("blk.0.attn_q.weight", (2, 3), 2))
    assert not np.array_equal(one, testing.random_weights("blk.1.attn_q.weight", (2, 3), 1))


@given(
    st.sampled_from(["rope_freqs.weight", "blk.0.attn_norm.weight", "blk.0.attn_q.scale"]), st.integers(0, 99)
)
def test_factors_stay_positive(name: str, seed: int) -> None:
    assert (testing.random_weights(name, (64,), seed) > 0).all()


def test_names() -> None:
    made = {each.name for each in testing.architectures() if not each.reason}
    assert made <= set(testing.kinds())
    assert {"llama", "llama-moe", "bert", "reranker", "t5", "mamba", "rwkv7", "jamba", "dream"} <= set(
        testing.kinds()
    )
    for name, reason in testing.architectures():
        if reason:
            with pytest.raises(UnsupportedError, match=name):
                testing.random_metadata(name)


@pytest.mark.parametrize(
    ("kind", "arguments", "error", "words"),
    [
        ("lama", {}, InvalidArgumentError, "did you mean llama"),
        ("", {}, InvalidArgumentError, "kinds"),
        (None, {}, InvalidArgumentError, "None"),
        ("llama", {"n_layers": 3}, InvalidArgumentError, "n_layer, n_embd"),
        ("llama", {"n_layer": 0}, InvalidArgumentError, "n_layer is 0"),
        ("llama", {"n_layer": "3"}, ArgumentTypeError, "n_layer"),
        ("llama", {"n_embd": 65}, InvalidArgumentError, "n_embd is 65"),
        ("llama", {"n_head_kv": 3}, InvalidArgumentError, "multiple of n_head_kv"),
        ("llama", {"n_expert": 2, "n_expert_used": 3}, InvalidArgumentError, "n_expert_used"),
        ("llama", {"n_vocab": 10}, InvalidArgumentError, "tokens already"),
        ("llama", {"vocab": "gpt"}, InvalidArgumentError, "spm, bpe"),
        ("llama", {"vocab": 3}, ArgumentTypeError, "vocab"),
    ],
)
def test_what_is_refused(kind: str, arguments: dict[str, object], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        testing.random_metadata(kind, **arguments)  # type: ignore[arg-type]


def test_metadata_can_be_replaced() -> None:
    metadata = testing.random_metadata("llama", n_layer=3, metadata={"llama.rope.freq_base": 5e5, "a": 1})
    assert metadata["llama.block_count"] == 3
    assert metadata["llama.rope.freq_base"] == 5e5 and metadata["a"] == 1
