"""Decode, look at the logits, and choose the next token with a chain of one's own."""

import llama_ffi as lf

with lf.Model.load(lf.tiny_model_path()) as model:
    vocab = model.vocab
    tokens = vocab.tokenize("Once upon a time")
    ctx = model.context(n_ctx=256)

    # The whole prompt in one call; only its last token asks for logits.
    ctx.decode(lf.Batch.from_tokens(tokens))
    logits = ctx.logits(-1)
    likeliest = logits.argsort()[::-1][:5]
    print("likeliest:", [(vocab.piece(int(token)), round(float(logits[token]), 2)) for token in likeliest])

    chain = lf.SamplerChain()
    chain.add_top_k(40)
    chain.add_top_p(0.95)
    chain.add_temp(0.8)
    chain.add_dist(1)
    position = len(tokens)
    story: list[int] = []
    for _ in range(40):
        token = chain.sample(ctx, -1)
        if vocab.is_eog(token):
            break
        story.append(token)
        ctx.decode(lf.Batch.from_tokens([token], pos0=position))
        position += 1
    print(vocab.detokenize(tokens + story))

    # A grammar stands before whatever selects: only what it allows is left to choose from.
    strict = lf.SamplerChain()
    strict.add_grammar(vocab, 'root ::= " yes" | " no"', "root")
    strict.add_greedy()
    answer = b""
    while not vocab.is_eog(token := strict.sample(ctx, -1)):
        answer += vocab.piece(token)
        ctx.decode(lf.Batch.from_tokens([token], pos0=position))
        position += 1
    print("with a grammar:", answer)
