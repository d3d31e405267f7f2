"""Real uses of the raw layer: a type checker must accept every line."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING

from llama_ffi.raw import ffi, lib

if TYPE_CHECKING:
    from llama_ffi._abi.c_api import Ptr, ggml_log_callback, llama_context_p, llama_memory_t, llama_model_p


def load(path: bytes, threads: int) -> llama_context_p:
    params = lib.llama_model_default_params()
    params.n_gpu_layers = 0
    params.check_tensors = True
    model = lib.llama_model_load_from_file(path, params)
    if model == ffi.NULL:
        raise OSError(path)
    context_params = lib.llama_context_default_params()
    context_params.n_ctx = 512
    context_params.n_threads = threads
    context_params.cb_eval = ffi.NULL
    return lib.llama_init_from_model(model, context_params)


def step(ctx: llama_context_p, tokens: list[int]) -> int:
    batch = lib.llama_batch_init(len(tokens), 0, 1)
    for i, token in enumerate(tokens):
        batch.token[i] = token
        batch.pos[i] = i
        batch.n_seq_id[i] = 1
        batch.seq_id[i][0] = 0
        batch.logits[i] = 0
    batch.n_tokens = len(tokens)
    status: int = lib.llama_decode(ctx, batch)
    lib.llama_batch_free(batch)
    return status


def greedy(ctx: llama_context_p, n_vocab: int) -> int:
    row: Ptr[float] = lib.llama_get_logits_ith(ctx, -1)
    return max(range(n_vocab), key=row.__getitem__)


def names(model: llama_model_p) -> bytes:
    vocab = lib.llama_model_get_vocab(model)
    text: bytes = ffi.string(lib.llama_vocab_get_text(vocab, 1))
    tokens = ffi.new("llama_token[]", 8)
    lib.llama_tokenize(vocab, text, len(text), tokens, 8, True, False)
    lib.llama_detokenize(vocab, [1, 2, 3], 3, ffi.new("char[]", 64), 64, True, False)
    return text


def chain(seed: int) -> None:
    params = lib.llama_sampler_chain_default_params()
    sampler = lib.llama_sampler_chain_init(params)
    lib.llama_sampler_chain_add(sampler, lib.llama_sampler_init_top_k(40))
    lib.llama_sampler_chain_add(sampler, lib.llama_sampler_init_dist(lib.LLAMA_DEFAULT_SEED or seed))
    lib.llama_sampler_free(sampler)


def others(ctx: llama_context_p, file: IO[bytes], log: ggml_log_callback) -> bool:
    memory: llama_memory_t = lib.llama_get_memory(ctx)
    lib.llama_log_set(log, ffi.NULL)
    lib.llama_log_set(ffi.callback("ggml_log_callback"), ffi.new_handle(ctx))
    tensor = lib.ggml_new_tensor_1d(ffi.NULL, lib.GGML_TYPE_F32, 4)
    print(tensor.ne[0], tensor.src[0].type, len(tensor.ne), bytes(ffi.buffer(tensor.data)), file)
    return lib.llama_memory_seq_rm(memory, 0, -1, -1)
