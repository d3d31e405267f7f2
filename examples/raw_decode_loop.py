"""A greedy decode loop in C's own words. Nothing here is checked or freed for you; compare any C program."""

import llama_ffi
from llama_ffi.raw import ffi, lib

model_params = lib.llama_model_default_params()
model_params.n_gpu_layers = 0
model = lib.llama_model_load_from_file(str(llama_ffi.tiny_model_path()).encode(), model_params)
if model == ffi.NULL:
    raise SystemExit("the model could not be loaded")
vocab = lib.llama_model_get_vocab(model)

context_params = lib.llama_context_default_params()
context_params.n_ctx = 256
context_params.n_threads = context_params.n_threads_batch = 1  # enough for a model this small
ctx = lib.llama_init_from_model(model, context_params)
if ctx == ffi.NULL:
    raise SystemExit("the context could not be made")
sampler = lib.llama_sampler_init_greedy()

# Two calls: the first says how many tokens there will be, as a negative number.
prompt = b"Once upon a time"
n_prompt = -lib.llama_tokenize(vocab, prompt, len(prompt), ffi.NULL, 0, True, False)
tokens = ffi.new("llama_token[]", n_prompt)
lib.llama_tokenize(vocab, prompt, len(prompt), tokens, n_prompt, True, False)

piece = ffi.new("char[]", 256)
text = prompt
batch = lib.llama_batch_get_one(tokens, n_prompt)  # points to `tokens`: both must live
token = ffi.new("llama_token *")
for _ in range(48):
    if lib.llama_decode(ctx, batch) != 0:
        raise SystemExit("llama_decode failed")
    token[0] = lib.llama_sampler_sample(sampler, ctx, -1)
    if lib.llama_vocab_is_eog(vocab, token[0]):
        break
    text += ffi.unpack(piece, lib.llama_token_to_piece(vocab, token[0], piece, len(piece), 0, False))
    batch = lib.llama_batch_get_one(token, 1)
print(text.decode("utf-8", "replace"))

lib.llama_sampler_free(sampler)
lib.llama_free(ctx)  # before its model
lib.llama_model_free(model)
