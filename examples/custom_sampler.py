"""Samplers written in Python: a function, an object with a memory, and the same chain on the back end."""

import numpy as np

import llama_ffi as lf

PROMPT = "Once upon a time"


def likely_words(candidates: lf.Candidates) -> None:
    """Drop what isn't likely: the arrays are C's memory, and writing into them is all there is to it."""
    candidates.logits[candidates.logits < candidates.logits.max() - 3.0] = -np.inf


class NoRepetition(lf.PythonSampler):
    """No two tokens come twice in the same order."""

    name = "no-repetition"
    reorders = False  # it only changes logits, so it may stand anywhere

    def __init__(self, accepted: tuple[int, ...] = ()) -> None:
        self.accepted = list(accepted)

    def accept(self, token: int) -> None:
        self.accepted.append(token)

    def reset(self) -> None:
        self.accepted.clear()

    def clone(self) -> "NoRepetition":
        return NoRepetition(tuple(self.accepted))

    def apply(self, candidates: lf.Candidates) -> None:
        past = self.accepted
        followers = [past[i + 1] for i in range(len(past) - 1) if past[i] == past[-1]]
        candidates.logits[np.isin(candidates.ids, followers)] = -np.inf


with lf.Model.load(lf.tiny_model_path()) as model:
    greedy = lf.SamplerChain().add_greedy()
    print("greedy:       ", "".join(lf.generate(PROMPT, model=model, sampler=greedy, max_tokens=60)))

    chain = lf.SamplerChain().add_custom(NoRepetition()).add_greedy()
    print("no repetition:", "".join(lf.generate(PROMPT, model=model, sampler=chain, max_tokens=60)))

    chain = lf.SamplerChain().add_custom(likely_words).add_temp(0.8).add_dist(1)
    print("likely words: ", "".join(lf.generate(PROMPT, model=model, sampler=chain, max_tokens=30)))

    # Candidates of one's own: what does a chain leave of these five logits?
    candidates = lf.Candidates([2.0, 0.5, 1.0, -1.0, 3.0])
    lf.SamplerChain().add_top_k(3).add_temp(0.5).apply(candidates)
    print("left of five:", candidates.ids.tolist(), candidates.softmax().round(3).tolist())

    # On the back end: the first samplers become part of what decode computes.
    with model.context(n_ctx=128) as ctx:
        chain = lf.SamplerChain().add_top_k(5).add_dist(1)
        ctx.set_sampler(0, chain)
        ctx.decode(lf.Batch.from_tokens(model.vocab.tokenize(PROMPT)))
        print("on the back end:", chain.names, model.vocab.piece(chain.sample(ctx)), "of", end=" ")
        print([model.vocab.piece(int(token)) for token in ctx.sampled_candidates()])
