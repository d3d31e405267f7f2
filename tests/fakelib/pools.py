"""Random lives with thread pools: shared by contexts, closed before them, needed after their detaching."""

from __future__ import annotations

import threading

from hypothesis import strategies as st
from hypothesis.stateful import rule

import llama_ffi as lf
from llama_ffi import errors
from tests.fakelib.keeping import Keeping
from tests.fakelib.population import index, recorded


class Pools(Keeping):
    """The rules with thread pools."""

    @rule(n_threads=st.integers(1, 4))
    @recorded
    def pool(self, n_threads: int) -> None:
        self.step("make a thread pool")
        self.pools.append(lf.ThreadPool(n_threads))

    @rule(i=index, k=index, both=st.booleans())
    @recorded
    def attach(self, i: int, k: int, both: bool) -> None:
        self.step("attach a thread pool")
        ctx = self.some_context(i)
        pool = self.pick(self.pools, k) or lf.ThreadPool(2)
        other = self.pick(self.pools, k + 1) if both else None
        self.expect(
            lambda: ctx.attach_threadpool(pool, other), *(each for each in (ctx, pool, other) if each)
        )

    @rule(i=index)
    @recorded
    def detach(self, i: int) -> None:
        self.step("detach the thread pools")
        ctx = self.some_context(i)
        self.expect(ctx.detach_threadpool, ctx)

    @rule(i=index, pause=st.booleans())
    @recorded
    def pause(self, i: int, pause: bool) -> None:
        pool = self.pick(self.pools, i)
        if pool is not None:
            self.step("pause or resume a pool")
            self.expect(pool.pause if pause else pool.resume, pool)

    @rule(i=index, n=st.integers(1, 3))
    @recorded
    def share(self, i: int, n: int) -> None:
        """Contexts with one pool compute in threads of their own, and somebody closes the pool."""
        self.step("several threads on one pool")
        pool = lf.ThreadPool(2)
        contexts = [self.open_context(i), self.open_model(i).context(n_ctx=256)]
        for ctx in contexts:
            ctx.attach_threadpool(pool)
        problems: list[BaseException] = []
        self.fake.delay(0.001)

        def work(ctx: lf.Context) -> None:
            for _ in range(n):
                try:
                    ctx.decode(lf.Batch.from_tokens([5, 6]))
                except (errors.BusyError, errors.ClosedError):
                    pass
                except BaseException as error:
                    problems.append(error)

        threads = [threading.Thread(target=work, args=(ctx,)) for ctx in contexts]
        for thread in threads:
            thread.start()
        try:
            pool.pause()
        except errors.BusyError:
            pass
        pool.close()
        for thread in threads:
            thread.join()
        self.fake.delay(0)
        assert not problems, problems
