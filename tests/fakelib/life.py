"""Random lives: objects are made, used, closed, dropped, copied, chained, threaded and forked in any order.

A hypothesis state machine over the safe layer on the fake library. After each step the ledger must show no
mistake, and at the end of each sequence nothing may be left.
"""

from __future__ import annotations

import gc

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import rule

import llama_ffi as lf
from llama_ffi import errors
from llama_ffi._core import handle
from tests.fakelib.company import Company
from tests.fakelib.population import REFUSALS, Anchor, index, recorded

GRAMMAR = 'root ::= "a"*'


class Interrupted(Exception):
    """What a callback of the test raises."""


class Life(Company):
    """One random life: the rules that need nobody else."""

    # --- making ---

    @rule(progress=st.sampled_from(["none", "watch", "cancel", "raise", "drop", "close"]), i=index)
    @recorded
    def load(self, progress: str, i: int) -> None:
        self.step(f"load, progress: {progress}")

        def call(fraction: float) -> object:
            if progress == "cancel":
                return False
            if progress == "raise":
                raise Interrupted
            if progress == "drop":
                self.take(i)
                gc.collect()
            victim = self.pick(self.objects(), i)
            if progress == "close" and victim is not None:
                victim.close()
            return True

        try:
            self.models.append(lf.Model.load(self.path, progress=None if progress == "none" else call))
        except errors.ModelLoadError:
            assert progress == "cancel"
        except Interrupted:
            assert progress == "raise"

    @rule()
    @recorded
    def load_fails(self) -> None:
        self.step("load, and it fails")
        self.fake.fail("llama_model_load_from_file")
        with pytest.raises(errors.ModelLoadError) as refused:
            lf.Model.load(self.path)
        assert any("made to fail" in line for line in refused.value.log)

    @rule(i=index, sequences=st.integers(1, 3))
    @recorded
    def context(self, i: int, sequences: int) -> None:
        self.step("make a context")
        model = self.some_model(i)
        made = self.expect(lambda: model.context(n_ctx=256, n_seq_max=sequences), model)
        if made is not None:
            self.contexts.append(made)

    @rule(i=index)
    @recorded
    def context_fails(self, i: int) -> None:
        self.step("make a context, and it fails")
        model = self.open_model(i)
        self.fake.fail("llama_init_from_model")
        with pytest.raises(errors.ContextCreateError):
            model.context()

    @rule(kind=st.sampled_from(["greedy", "dist", "top_k", "temp", "grammar", "dry", "infill"]), i=index)
    @recorded
    def sampler(self, kind: str, i: int) -> None:
        self.step(f"make a sampler: {kind}")
        made: lf.Sampler | None
        if kind in ("grammar", "dry", "infill"):
            model = self.some_model(i)
            vocab = model.vocab
            make = {
                "grammar": lambda: lf.Sampler.grammar(vocab, GRAMMAR),
                "dry": lambda: lf.Sampler.dry(vocab, 0.5),
                "infill": lambda: lf.Sampler.infill(vocab),
            }[kind]
            made = self.expect(make, model)
        else:
            arguments = {"top_k": (3,), "temp": (0.5,), "dist": (1,)}.get(kind, ())
            made = getattr(lf.Sampler, kind)(*arguments)
        if made is not None:
            self.samplers.append(made)

    @rule()
    @recorded
    def chain(self) -> None:
        self.step("make a chain")
        self.chains.append(lf.SamplerChain())

    @rule(i=index, fails=st.booleans())
    @recorded
    def clone(self, i: int, fails: bool) -> None:
        self.step("clone a sampler or a chain")
        original = self.pick([*self.samplers, *self.chains], i) or self.some_chain(i)
        fails = fails and isinstance(original, lf.Sampler) and not original.closed
        if fails:
            self.fake.fail("llama_sampler_clone")
        copy = self.expect(original.clone, original)
        assert copy is None or not fails
        if isinstance(copy, lf.SamplerChain):
            self.chains.append(copy)
        elif copy is not None:
            self.samplers.append(copy)

    # --- using ---

    @rule(i=index, text=st.sampled_from(["", "hi", "x" * 600]))
    @recorded
    def vocabulary(self, i: int, text: str) -> None:
        self.step("use a vocabulary")
        model = self.some_model(i)
        tokens = self.expect(lambda: model.vocab.tokenize(text), model)
        assert tokens is None or self.expect(lambda: model.vocab.detokenize(tokens[1:]), model) == text

    @rule(i=index, n=st.integers(1, 4), code=st.sampled_from([0, 0, 0, 0, 1, -1, -3]))
    @recorded
    def decode(self, i: int, n: int, code: int) -> None:
        self.step(f"decode {n} tokens, code {code}")
        ctx = self.some_context(i)
        if code and not ctx.closed:
            self.fake.fail("llama_decode", code)
        batch = lf.Batch.from_tokens([5] * n)
        self.expect(lambda: ctx.decode(batch), ctx)
        self.fake.fail("")
        row = self.expect(lambda: ctx.logits(-1), ctx)
        assert row is None or row[6] == 1.0

    @rule(
        i=index,
        what=st.sampled_from(["seq_rm", "clear", "seq_pos_max", "seq_cp", "n_threads", "synchronize"]),
    )
    @recorded
    def use_context(self, i: int, what: str) -> None:
        self.step(f"use a context: {what}")
        ctx = self.some_context(i)
        memory = ctx.memory
        self.expect(
            {
                "seq_rm": lambda: memory.seq_rm(0, 1, -1),
                "clear": memory.clear,
                "seq_pos_max": memory.seq_pos_max,
                "seq_cp": lambda: memory.seq_cp(0, 0, 0, -1),
                "n_threads": lambda: ctx.n_threads,
                "synchronize": ctx.synchronize,
            }[what],
            ctx,
        )

    @rule(i=index, k=index)
    @recorded
    def add(self, i: int, k: int) -> None:
        self.step("add a sampler to a chain")
        chain = self.some_chain(i)
        sampler = self.pick(self.samplers, k) or lf.Sampler.grammar(self.open_model(k).vocab, GRAMMAR)
        if self.expect(lambda: chain.add(sampler), chain, sampler) is chain:
            assert sampler.consumed and sampler.closed

    @rule(i=index, k=st.integers(-1, 2))
    @recorded
    def remove(self, i: int, k: int) -> None:
        self.step("take a sampler out of a chain")
        chain = self.some_chain(i)
        sampler = self.expect(lambda: chain.remove(k), chain)
        if sampler is not None:
            self.samplers.append(sampler)

    @rule(i=index, k=index)
    @recorded
    def sample(self, i: int, k: int) -> None:
        self.step("sample")
        chain, ctx = self.some_chain(i), self.some_context(k)
        self.expect(lambda: chain.sample(ctx), chain, ctx)

    @rule(i=index, what=st.sampled_from(["reset", "accept", "names", "name"]))
    @recorded
    def use_sampler(self, i: int, what: str) -> None:
        self.step(f"use a sampler or a chain: {what}")
        each = self.pick([*self.samplers, *self.chains], i) or self.some_chain(i)
        if what == "reset":
            self.expect(each.reset, each)
        elif isinstance(each, lf.SamplerChain):
            self.expect((lambda: each.accept(100)) if what == "accept" else (lambda: each.names), each)
        else:
            self.expect(lambda: each.name, each)

    @rule(i=index, k=index, own=st.booleans())
    @recorded
    def begin_generating(self, i: int, k: int, own: bool) -> None:
        model, chain = self.pick(self.models, i), self.pick(self.chains, k)
        self.step("begin to generate")
        source, sampler = (self.path, None) if own or model is None else (model, chain)
        needed = [each for each in (source, sampler) if hasattr(each, "closed")]
        made = self.expect(lambda: lf.generate("abc", model=source, sampler=sampler, max_tokens=9), *needed)
        if made is not None:
            self.generators.append(made)

    @rule(i=index, how=st.sampled_from(["next", "next", "close", "drop"]))
    @recorded
    def go_on_generating(self, i: int, how: str) -> None:
        self.step(f"generator: {how}")
        if not self.generators:
            self.generators.append(lf.generate("abc", model=self.path, max_tokens=9))
        chosen = self.generators[i % len(self.generators)]
        if how == "next":
            try:
                next(chosen)
                return
            except (StopIteration, errors.ClosedError, *REFUSALS):
                pass
        elif how == "close":
            chosen.close()
        self.generators.remove(chosen)

    # --- ending ---

    @rule(i=index)
    @recorded
    def close(self, i: int) -> None:
        chosen = self.pick(self.objects(), i)
        if chosen is not None:
            self.step(f"close a {type(chosen).__name__}")
            chosen.close()
            assert chosen.closed

    @rule(i=index)
    @recorded
    def drop(self, i: int) -> None:
        self.step("drop an object")
        self.take(i)

    @rule(indices=st.lists(index, min_size=1, max_size=4), first=st.booleans())
    @recorded
    def drop_in_a_cycle(self, indices: list[int], first: bool) -> None:
        self.step("drop objects that refer to each other")
        anchor = Anchor()
        anchor.me = anchor  # type: ignore[attr-defined]
        anchor.things = [self.take(i) for i in indices]  # type: ignore[attr-defined]
        if not first:
            self.anchors.append(anchor)

    @rule()
    @recorded
    def drop_anchors(self) -> None:
        self.step("drop cycles and collect them")
        self.anchors.clear()
        gc.collect()

    @rule(i=index)
    @recorded
    def hold_a_pointer(self, i: int) -> None:
        self.step("hold a raw pointer")
        chosen = self.pick([*self.models, *self.contexts, *self.chains], i)
        if chosen is not None and not chosen.closed:
            self.pointers.append((type(chosen).__name__, chosen.ptr))

    @rule()
    @recorded
    def use_pointers(self) -> None:
        self.step("use and forget the raw pointers")
        lib = lf.raw.lib
        functions = {
            "Model": lib.llama_model_n_embd,
            "Context": lib.llama_n_ctx,
            "SamplerChain": lib.llama_sampler_chain_n,
        }
        for name, pointer in self.pointers:
            functions[name](pointer)
        self.pointers.clear()
        pointer = None

    @rule()
    @recorded
    def close_everything(self) -> None:
        """Closing is enough: what is closed needs no dropping."""
        self.step("close everything")
        # ours or, when we have dropped it, still the context's or the adapter's
        contexts = [each.context for each in self.batches]
        models = [each.model for each in (*self.contexts, *contexts, *self.loras)]
        each = None
        for each in [*self.objects(), *contexts, *models, *self.snapshots, *self.generators]:
            each.close()
        del each, contexts, models  # the last one may be a generation, with a model that we have dropped
        self.generators.clear()
        self.pointers.clear()
        self.anchors.clear()
        gc.collect()
        handle.drain()
        assert self.fake.live() == 0, f"left after everything was closed: {self.left()}"
