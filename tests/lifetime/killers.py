"""What is known to kill libllama on the calling thread, each with the check that stands before it.

    python -m tests.lifetime.killers KILLER MODEL [unchecked]

With ``unchecked`` the check is switched off, so that the C function does what it does: the guard turns it
into a NativeAbortError, and without the guard (LLAMA_FFI_GUARD=0) the process dies. The program prints the
name of the error's class and "alive" after it has made and used a new context.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import llama_ffi as lf
from llama_ffi import context_params, decoding, outputs
from llama_ffi._core import check
from llama_ffi.sampler import base, choosing, lazy_grammar

SMALL: dict[str, Any] = {"n_ctx": 256, "n_batch": 32, "n_ubatch": 16, "n_threads": 1}
WORDS = 5


def nothing(*_args: Any, **_kwargs: Any) -> None:
    """Stand in for a check."""


def whatever(value: Any, *_args: Any, **_kwargs: Any) -> int:
    """Stand in for a check that returns the number it has checked."""
    return int(value)


def context(model: lf.Model, **more: Any) -> lf.Context:
    return model.context(**(SMALL | more))


def decoded(model: lf.Model, **more: Any) -> lf.Context:
    ctx = context(model, **more)
    ctx.decode(lf.Batch.from_tokens([WORDS + i for i in range(4)]))
    return ctx


# --- decoding ---


def more_than_n_batch(model: lf.Model, off: bool) -> None:
    if off:
        decoding.check = nothing
    context(model).decode(lf.Batch.from_tokens([WORDS] * 33, logits="all"))


def not_causal_over_n_ubatch(model: lf.Model, off: bool) -> None:
    ctx = context(model)
    ctx.set_causal_attn(False)
    if off:
        decoding.check = nothing
    ctx.decode(lf.Batch.from_tokens([WORDS] * 20, logits="all"))


def encode_over_n_ubatch(model: lf.Model, off: bool) -> None:
    ctx = context(model)
    ctx._limits.encodes = True
    if off:
        decoding.check = nothing
    ctx.encode(lf.Batch.from_tokens([WORDS] * 20, logits="all"))


# --- memory ---


def sequence_beyond_all(model: lf.Model, off: bool) -> None:
    ctx = decoded(model)
    if off:
        check.sequence = whatever
    ctx.memory.seq_rm(300, 0, -1)


def part_of_a_stream_copied(model: lf.Model, off: bool) -> None:
    ctx = decoded(model, n_seq_max=2)
    if off:
        object.__setattr__(ctx.memory._shape, "separate_streams", False)
    ctx.memory.seq_cp(0, 1, 1, 2)


# --- vocabulary and model ---


def token_beyond_the_vocabulary(model: lf.Model, off: bool) -> None:
    if off:
        check.token = whatever
    model.vocab.piece(10**6)


def layer_of_a_vocabulary(model: lf.Model, off: bool) -> None:
    vocabulary = lf.Model.load(model.path, vocab_only=True)
    if off:
        lf.Model._has_layers = lambda self, pointer: True
        vocabulary.n_head_kv  # noqa: B018 - the property is the call
    assert vocabulary.n_head_kv == 0
    raise lf.errors.UnsupportedError("there is no layer: 0 heads")


# --- samplers ---


def row_without_logits(model: lf.Model, off: bool) -> None:
    ctx, chain = context(model), lf.SamplerChain().add_greedy()
    if off:
        fake_row = lf.raw.ffi.new("float[]", model.vocab.n_tokens)
        outputs.Outputs.row = lambda self, ctx, index: (fake_row, index)
    chain.sample(ctx)


def chain_without_samplers(model: lf.Model, off: bool) -> None:
    ctx, chain = decoded(model), lf.SamplerChain()
    if off:
        chain._plain = choosing.SELECTS
    chain.sample(ctx)


def chain_that_selects_nothing(model: lf.Model, off: bool) -> None:
    ctx, chain = decoded(model), lf.SamplerChain().add_temp(0.5)
    if off:
        chain._plain = choosing.SELECTS
    chain.sample(ctx)


def token_that_the_grammar_refuses(model: lf.Model, off: bool) -> None:
    chain = lf.SamplerChain().add_grammar(model.vocab, 'root ::= "yes" | "no"').add_greedy()
    refused = model.vocab.tokenize("Once", add_special=False)[0]
    if off:
        lazy_grammar.Question.allows = lambda self, grammar, token, **kwargs: True
    chain.accept(refused)


def grammar_behind_dist(model: lf.Model, off: bool) -> None:
    ctx, chain = decoded(model), lf.SamplerChain().add_dist(1)
    if off:
        lf.SamplerChain._check_order = nothing
    chain.add_grammar(model.vocab, 'root ::= "yes"')
    chain._plain = choosing.SELECTS
    chain.sample(ctx)


def clone_of_a_sampler_without_clone(model: lf.Model, off: bool) -> None:
    ffi, lib = lf.raw.ffi, lf.raw.lib
    interface = ffi.new("struct llama_sampler_i *")
    state = ffi.new("int *")
    custom = lf.Sampler(lib.llama_sampler_init(interface, state), keep=[interface, state])
    if off:
        base.check_clonable = nothing
    custom.clone()


# --- parameters ---


def more_sequences_than_outputs(model: lf.Model, off: bool) -> None:
    if off:
        context_params._check_together = nothing
    context(model, n_seq_max=64)


KILLERS: dict[str, Callable[[lf.Model, bool], None]] = {
    function.__name__: function
    for function in (
        more_than_n_batch,
        not_causal_over_n_ubatch,
        encode_over_n_ubatch,
        sequence_beyond_all,
        part_of_a_stream_copied,
        token_beyond_the_vocabulary,
        layer_of_a_vocabulary,
        row_without_logits,
        chain_without_samplers,
        chain_that_selects_nothing,
        token_that_the_grammar_refuses,
        grammar_behind_dist,
        clone_of_a_sampler_without_clone,
        more_sequences_than_outputs,
    )
}
"""Assertions and exceptions: what the guard catches."""


# --- signals: only the check can help ---


def division_of_positions_by_zero(model: lf.Model, off: bool) -> None:
    ctx = decoded(model)
    if off:
        check.integer = lambda name, value, *_args, **_kwargs: int(value)
    ctx.memory.seq_div(0, 0, -1, 0)


def null_sampler(model: lf.Model, off: bool) -> None:
    """A grammar that doesn't parse is NULL in C, and most functions look into what they get."""
    lib = lf.raw.lib
    null = lib.llama_sampler_init_grammar(model.vocab.ptr, b"root ::= (", b"root")
    if off:
        lib.llama_sampler_name(null)
    lf.Sampler(null)


SIGNALS: dict[str, Callable[[lf.Model, bool], None]] = {
    function.__name__: function for function in (division_of_positions_by_zero, null_sampler)
}


def main() -> None:
    name, path, *words = sys.argv[1:]
    model = lf.Model.load(Path(path))
    try:
        (KILLERS | SIGNALS)[name](model, "unchecked" in words)
    except lf.LlamaError as error:
        print(type(error).__name__, str(error).replace("\n", " "))
    else:
        print("nothing happened")
    another = model.context(**SMALL)
    lf.raw.lib.llama_n_ctx(another.ptr)
    tokens = lf.raw.ffi.new("llama_token[]", [WORDS])
    one = lf.raw.lib.llama_batch_get_one(tokens, 1)  # points into tokens
    assert lf.raw.lib.llama_decode(another.ptr, one) == 0
    print("alive")


if __name__ == "__main__":
    main()
