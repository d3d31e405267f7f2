"""Random lives with batches of libllama's own kind: they belong to one context, which must outlive them."""

from __future__ import annotations

import threading

from hypothesis import strategies as st
from hypothesis.stateful import rule

import llama_ffi as lf
from llama_ffi import errors
from tests.fakelib.pools import Pools
from tests.fakelib.population import index, recorded


class Batches(Pools):
    """The rules with such batches."""

    @rule(i=index)
    @recorded
    def batch(self, i: int) -> None:
        self.step("make a batch of a context")
        ctx = self.some_context(i)
        made = self.expect(lambda: lf.BatchExt(ctx), ctx)
        if made is not None:
            self.batches.append(made)

    @rule(i=index, n=st.integers(0, 3), clear=st.booleans())
    @recorded
    def fill(self, i: int, n: int, clear: bool) -> None:
        batch = self.pick(self.batches, i)
        if batch is None:
            return
        self.step(f"fill a batch with {n} tokens")
        if clear:
            self.expect(batch.clear, batch)
        for _ in range(n):
            self.expect(lambda: batch.add_token(5, 0, len(batch), output=True), batch)

    @rule(i=index, k=index, own=st.booleans(), code=st.sampled_from([0, 0, 0, 1, -1, -3]))
    @recorded
    def process(self, i: int, k: int, own: bool, code: int) -> None:
        """A context computes a batch, its own or another's."""
        self.step(f"process a batch, code {code}")
        if not self.batches:
            self.batches.append(lf.BatchExt(self.open_context(i)))
        batch = self.pick(self.batches, i)
        ctx = batch.context if own else self.open_model(k).context(n_ctx=256)
        if not own:
            self.contexts.append(ctx)
        self.expect(batch.clear, batch)
        place = self.expect(lambda: ctx.memory.seq_pos_max(0) + 1, ctx)
        self.expect(lambda: batch.add_token(5, 0, place or 0, output=True), batch)
        if code and not ctx.closed:
            self.fake.fail("llama_decode", code)
        self.expect(lambda: ctx.process(batch), ctx, batch)
        self.fake.fail("")

    @rule(i=index, close=st.sampled_from(["context", "batch", "model"]))
    @recorded
    def beside_a_process(self, i: int, close: str) -> None:
        """Somebody closes what a call in another thread works with."""
        self.step(f"close the {close} beside a process")
        ctx = self.open_context(i)
        batch, problems = lf.BatchExt(ctx), []
        batch.add_token(5, 0, 0, output=True)
        self.fake.delay(0.001)

        def work() -> None:
            try:
                ctx.process(batch)
            except (errors.ClosedError, errors.BusyError, errors.InvalidBatchError):
                pass
            except BaseException as error:
                problems.append(error)

        thread = threading.Thread(target=work)
        thread.start()
        {"context": ctx, "batch": batch, "model": ctx.model}[close].close()
        thread.join()
        self.fake.delay(0)
        assert not problems, problems
