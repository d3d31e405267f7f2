"""Mistakes with the raw layer: a type checker must reject every line that says so."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llama_ffi.raw import lib

if TYPE_CHECKING:
    from llama_ffi._abi.c_api import llama_batch_p, llama_context_p, llama_model_p, llama_sampler_p


def mistakes(
    model: llama_model_p, ctx: llama_context_p, sampler: llama_sampler_p, batch: llama_batch_p
) -> None:
    lib.llama_decode(model, lib.llama_batch_init(1, 0, 1))  # error: arg-type
    lib.llama_decode(ctx, batch)  # error: arg-type
    lib.llama_decode(ctx)  # error: call-arg
    lib.llama_decode(ctx=ctx, batch=batch[0])  # error: call-arg
    lib.llama_free(model)  # error: arg-type
    lib.llama_model_free(ctx)  # error: arg-type
    lib.llama_sampler_chain_add(sampler, ctx)  # error: arg-type
    lib.llama_n_ctx("context")  # error: arg-type
    lib.llama_model_load_from_file("model.gguf", lib.llama_model_default_params())  # error: arg-type
    lib.llama_model_load_from_file(b"model.gguf", lib.llama_context_default_params())  # error: arg-type
    lib.llama_sampler_init_temp("0.8")  # error: arg-type
    lib.llama_sampler_init_top_k(4.5)  # error: arg-type
    lib.llama_vocab_n_tokens(model)  # error: arg-type
    lib.llama_no_such_function(ctx)  # error: attr-defined
    lib.llama_context_default_params().n_ctxx = 1  # error: attr-defined
    lib.llama_context_default_params().n_ctx = "512"  # error: assignment
    lib.LLAMA_DEFAULT_SEED = 3  # error: misc
    text: str = lib.llama_model_n_embd(model)  # error: assignment
    print(text)
