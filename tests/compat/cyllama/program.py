"""What the program in cyllama's README does, in our words: every name it uses, in its order.

`python program.py MODEL PROMPT N_PREDICT N_CTX`; the last line of what it prints is the text.
"""

from __future__ import annotations

import sys

import llama_ffi.compat.cyllama as cy


def main(path: str, prompt: str, n_predict: int, n_ctx: int) -> None:
    wishes = cy.CommonParams()
    wishes.model = path
    wishes.prompt = prompt
    wishes.n_predict = n_predict
    wishes.n_ctx = n_ctx
    wishes.cpuparams.n_threads = 1

    cy.llama_backend_init()
    cy.llama_numa_init(wishes.numa)
    model = cy.LlamaModel(path_model=wishes.model, params=cy.common_model_params_to_llama(wishes))
    ctx = cy.LlamaContext(model=model, params=cy.common_context_params_to_llama(wishes))
    chain_params = cy.llama_sampler_chain_default_params()
    chain_params.no_perf = False
    sampler = cy.LlamaSampler(chain_params)
    sampler.add_greedy()

    tokens = cy.common_tokenize(ctx, wishes.prompt, True)
    room, needed = ctx.n_ctx(), len(tokens) + (wishes.n_predict - len(tokens))
    print(f"n_predict = {wishes.n_predict:d}, n_ctx = {room:d}, n_kv_req = {needed:d}")
    if needed > room:
        raise SystemExit("n_kv_req > n_ctx")
    print("".join(cy.common_token_to_piece(ctx, token) for token in tokens))

    batch = cy.LlamaBatch(n_tokens=512, embd=0, n_seq_max=1)
    for position, token in enumerate(tokens):
        cy.common_batch_add(batch, token, position, [0], False)
    batch.set_last_logits_to_true()
    ctx.decode(batch)

    begin, length, decoded, text = cy.ggml_time_us(), batch.n_tokens, 0, ""
    while length <= wishes.n_predict:
        token = sampler.sample(ctx, batch.n_tokens - 1)
        sampler.accept(token)
        if model.token_is_eog(token) or length == wishes.n_predict:
            break
        text += cy.common_token_to_piece(ctx, token)
        cy.common_batch_clear(batch)
        cy.common_batch_add(batch, token, length, [0], True)
        decoded += 1
        length += 1
        ctx.decode(batch)

    seconds = (cy.ggml_time_us() - begin) / 1e6
    print(f"decoded {decoded} tokens in {seconds:.2f} s")
    print(text)
    cy.llama_backend_free()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
