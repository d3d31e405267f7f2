"""What is left of objects that an assertion has hit: a program for ``test_guard.py``.

python -m tests.lifetime.poisoned MODEL
"""

from __future__ import annotations

import gc
import sys

import llama_ffi as lf
from llama_ffi._core import handle
from tests.lifetime import killers


def refused(call: object) -> bool:
    """Return whether ``call`` raises PoisonedError and nothing else."""
    try:
        call()  # type: ignore[operator]
    except lf.errors.PoisonedError as error:
        return "GGML_ASSERT" in str(error)
    return False


def main() -> None:
    model = lf.Model.load(sys.argv[1])
    context, other = killers.context(model), killers.decoded(model)
    chain = lf.SamplerChain().add_temp(0.5)
    original, killers.decoding.check = killers.decoding.check, killers.nothing
    try:
        context.decode(lf.Batch.from_tokens([killers.WORDS] * 33, logits="all"))
    except lf.errors.NativeAbortError:
        pass
    killers.decoding.check = original
    batch = lf.Batch.from_tokens([killers.WORDS])
    assert refused(lambda: context.decode(batch))
    assert refused(context.logits)
    assert refused(context.memory.clear)
    assert refused(lambda: context.ptr)
    assert context.closed
    owned = handle.live()
    context.close()
    context.close()
    gc.collect()
    assert handle.live() in (owned, owned - 1)

    other.logits()  # what was not involved goes on working
    chain._plain = killers.choosing.SELECTS
    try:
        chain.sample(other)
    except lf.errors.NativeAbortError:
        pass
    assert refused(chain.reset) and refused(other.synchronize), "both were inside the call"
    with model.context(**killers.SMALL) as fresh:
        fresh.decode(batch)
        assert lf.SamplerChain().add_greedy().sample(fresh) >= 0
    print("alive")


if __name__ == "__main__":
    main()
