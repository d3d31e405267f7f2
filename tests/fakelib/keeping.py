"""Random lives with adapters and snapshots: what contexts use, and what they leave behind on a device."""

from __future__ import annotations

import threading
import traceback

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import rule

import llama_ffi as lf
from llama_ffi import errors
from tests.fakelib.population import REFUSALS, Population, index, recorded


class Keeping(Population):
    """The rules with adapters and snapshots."""

    @rule(i=index)
    @recorded
    def load_lora(self, i: int) -> None:
        self.step("load an adapter")
        model = self.some_model(i)
        made = self.expect(lambda: model.load_lora(self.path), model)
        if made is not None:
            self.loras.append(made)

    @rule(i=index)
    @recorded
    def load_lora_fails(self, i: int) -> None:
        self.step("load an adapter, and it fails")
        model = self.open_model(i)
        self.fake.fail("llama_adapter_lora_init")
        with pytest.raises(errors.AdapterError, match="made to fail"):
            model.load_lora(self.path)

    @rule(i=index, k=index, count=st.integers(0, 3))
    @recorded
    def set_loras(self, i: int, k: int, count: int) -> None:
        """Adapters of the context's own model mostly; of another one they are refused."""
        self.step(f"use {count} adapters")
        ctx = self.some_context(i)
        own = [each for each in self.loras if each.model is ctx.model]
        if not own and not ctx.model.closed:
            own = [ctx.model.load_lora(self.path)]
            self.loras += own
        chosen = ([*own, *self.loras] * 2)[k % 3 :][:count]
        self.expect(lambda: ctx.set_loras([(each, 1.0) for each in chosen]), ctx, *chosen)

    @rule(i=index)
    @recorded
    def look_at_a_lora(self, i: int) -> None:
        self.step("look at an adapter")
        lora = self.pick(self.loras, i)
        if lora is not None:
            metadata = self.expect(lambda: lora.metadata, lora)
            assert metadata is None or metadata == {"adapter.type": "lora"}

    @rule(i=index, on_device=st.booleans(), partial=st.booleans(), fails=st.booleans())
    @recorded
    def take_a_snapshot(self, i: int, on_device: bool, partial: bool, fails: bool) -> None:
        self.step(f"take a snapshot{' on the device' * on_device}")
        ctx = self.some_context(i)
        if fails and not ctx.closed:
            self.fake.fail("llama_state_seq_get_data_ext")
        made = self.expect(lambda: ctx.snapshot(on_device=on_device, partial=partial), ctx)
        self.fake.fail("")
        if made is not None:
            self.snapshots.append(made)

    @rule(i=index, k=index, fails=st.booleans())
    @recorded
    def restore_a_snapshot(self, i: int, k: int, fails: bool) -> None:
        self.step("restore a snapshot")
        snapshot, ctx = self.pick(self.snapshots, k), self.some_context(i)
        if snapshot is None:
            return
        if fails and not ctx.closed:
            self.fake.fail("llama_state_seq_set_data_ext")
        try:
            ctx.restore(snapshot)
        except errors.ClosedError:
            assert ctx.closed or not snapshot.valid, "ClosedError, but everything can be used"
        except REFUSALS:
            pass
        self.fake.fail("")

    @rule(i=index)
    @recorded
    def go_back_to_a_snapshot_that_was_replaced(self, i: int) -> None:
        self.step("restore the older of two snapshots on the device")
        ctx = self.some_context(i)
        older = self.expect(lambda: ctx.snapshot(on_device=True), ctx)
        newer = self.expect(lambda: ctx.snapshot(on_device=True), ctx)
        if older is None or newer is None:
            return
        self.snapshots.append(newer)
        try:
            ctx.restore(older)
        except (errors.ClosedError, *REFUSALS):
            pass

    @rule(i=index, how=st.sampled_from(["close", "drop"]))
    @recorded
    def end_a_snapshot(self, i: int, how: str) -> None:
        self.step(f"{how} a snapshot")
        snapshot = self.pick(self.snapshots, i)
        if snapshot is not None:
            if how == "close":
                snapshot.close()
            self.snapshots = [each for each in self.snapshots if each is not snapshot]

    @rule(i=index)
    @recorded
    def crowd_with_adapters(self, i: int) -> None:
        """Threads load, free and use adapters of one model, and make contexts of it."""
        self.step("several threads with adapters of one model")
        model = self.open_model(i)
        start, problems = threading.Barrier(3), []
        self.fake.delay(0.0005)

        def work(number: int) -> None:
            start.wait()
            for _ in range(3):
                try:
                    if number == 0:
                        model.load_lora(self.path)  # and dropped at once
                    with model.context(n_ctx=256) as ctx:
                        ctx.set_loras([(model.load_lora(self.path), 1.0)] if number else [])
                        ctx.decode(lf.Batch.from_tokens([5]))
                except errors.BusyError:
                    pass
                except BaseException:
                    problems.append(traceback.format_exc())

        threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.fake.delay(0)
        assert not problems, problems
