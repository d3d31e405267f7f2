"""Random lives in company: with callbacks, other threads and forked processes."""

from __future__ import annotations

import gc
import os
import threading
import traceback

from hypothesis import strategies as st
from hypothesis.stateful import rule

import llama_ffi as lf
from llama_ffi import errors
from llama_ffi._core import handle, logs
from tests.fakelib.batches import Batches
from tests.fakelib.population import index, recorded

CALL = 0.003  # seconds that a call takes while another thread looks on


class Company(Batches):
    """The rules with callbacks, threads and processes."""

    @rule(i=index, k=index)
    @recorded
    def drop_while_logging(self, i: int, k: int) -> None:
        """A log sink drops objects: their finalizers run inside of a C call that logs."""
        self.step("drop objects inside of the log callback")

        def sink(_level: int, _line: str) -> None:
            self.take(i)
            gc.collect(0)

        logs.add_sink(sink)
        try:
            lf.Model.load(self.path).close()
        finally:
            logs.remove_sink(sink)

    @rule(
        i=index,
        actions=st.lists(
            st.sampled_from(
                ["use", "close", "drop", "close the model", "collect", "sample", "fork", "cycle"]
            ),
            min_size=1,
            max_size=3,
        ),
    )
    @recorded
    def beside_a_call(self, i: int, actions: list[str]) -> None:
        """Do things to a context while another thread is inside of a call on it."""
        self.step(f"beside a decode: {', '.join(actions)}")
        ctx = self.open_context(i)
        model, chain = ctx.model, lf.SamplerChain().add_greedy()
        problems: list[BaseException] = []
        self.fake.delay(CALL)
        thread = threading.Thread(target=self._decode_once, args=(ctx, problems))
        thread.start()
        type(self).overlaps += self.fake.wait_for_a_call(CALL)
        del ctx
        for action in actions:
            each = self.pick([each for each in self.contexts if not each.closed], i)
            if each is None:
                break
            if action == "use":
                self.expect(lambda c=each: c.decode(lf.Batch.from_tokens([7])), each, busy=True)
            elif action == "sample":
                self.expect(lambda c=each: chain.sample(c), each, busy=True)
            elif action == "close":
                each.close()
            elif action == "drop":
                self.contexts.remove(each)
            elif action == "close the model":
                model.close()
            elif action == "collect":
                gc.collect()
            elif action == "cycle":
                self.contexts.remove(each)
                each = [each]
                each.append(each)
            else:
                self._fork()
            del each
        thread.join()
        self.fake.delay(0)
        assert not problems, problems

    @staticmethod
    def _decode_once(ctx: lf.Context, problems: list[BaseException]) -> None:
        try:
            ctx.decode(lf.Batch.from_tokens([5]))
        except (errors.ClosedError, errors.BusyError):
            pass
        except BaseException as error:
            problems.append(error)

    @rule(i=index, close=st.booleans())
    @recorded
    def crowd(self, i: int, close: bool) -> None:
        """Several threads use one model, and one of them closes it."""
        self.step("several threads on one model")
        model = self.some_model(i)
        start, problems = threading.Barrier(3), []
        self.fake.delay(0.0005)

        def work(number: int) -> None:
            start.wait()
            try:
                model.vocab.tokenize("together")
                with model.context(n_ctx=256) as ctx, lf.SamplerChain().add_greedy() as chain:
                    ctx.decode(lf.Batch.from_tokens([5]))
                    if close and number == 0:
                        model.close()
                    assert chain.sample(ctx) == 6
                model.vocab.piece(100 + number)
            except errors.ClosedError:
                if not model.closed:
                    problems.append("closed, but it isn't")
            except BaseException:
                problems.append(traceback.format_exc())

        threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.fake.delay(0)
        assert not problems, problems

    @rule()
    @recorded
    def fork(self) -> None:
        self.step("fork")
        self._fork()

    def _fork(self) -> None:
        type(self).forks += 1
        child = os.fork()
        if child == 0:
            status = 1
            try:
                self._in_the_child()
                status = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(status)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert code == 0, f"the forked process ended with {code}"

    def _in_the_child(self) -> None:
        """What we got from the parent process is dead; new objects work."""
        before = self.fake.live()
        self.fake.delay(0)
        for each in self.objects():
            assert each.closed
            try:
                _ = each.ptr
            except (errors.ForkedError, errors.ClosedError):
                pass
            else:
                raise AssertionError(f"{each!r} can be used in the forked process")
            each.close()
        for everything in (*self.lists(), self.snapshots, self.anchors, self.pointers):
            everything.clear()
        for generator in self.generators:
            generator.close()
        gc.collect()
        with lf.Model.load(self.path) as model, model.context() as ctx:
            ctx.decode(lf.Batch.from_tokens([5]))
        del model, ctx
        gc.collect()
        handle.drain()
        assert not self.fake.mistakes(), self.fake.mistakes()
        assert self.fake.live() == before, "freed what is the parent process's, or leaked"
