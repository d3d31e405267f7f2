"""Ownership: order of frees, deferral, the three states, threads, fork, callbacks."""

from __future__ import annotations

import gc
import os
import random
import sys
import threading
from collections.abc import Iterator

import pytest
from cffi import FFI
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from llama_ffi._core import handle as handles
from llama_ffi._core.callbacks import Callback
from llama_ffi._core.handle import Handle, drain
from llama_ffi.errors import BusyError, ClosedError, ConsumedError, ForkedError, PoisonedError

ffi = FFI()


class World:
    """Counts what is allocated and freed; addresses are never used twice, so a double free shows."""

    def __init__(self) -> None:
        self.next = 0x1000
        self.alive: dict[int, list[int]] = {}
        self.freed: list[int] = []
        self.mistakes: list[str] = []

    def make(self, name: str, *parents: Handle, exclusive: bool = False) -> Handle:
        self.next += 16
        address = self.next
        self.alive[address] = [int(ffi.cast("uintptr_t", parent.ptr)) for parent in parents]
        pointer = ffi.cast("void *", address)
        return Handle(ffi, pointer, self.destroy, name, keep=[p.ptr for p in parents], exclusive=exclusive)

    def destroy(self, pointer: object) -> None:
        address = int(ffi.cast("uintptr_t", pointer))
        if address not in self.alive:
            self.mistakes.append(f"double free of {address:#x}")
            return
        del self.alive[address]
        self.freed.append(address)
        self.mistakes += [
            f"{c:#x} outlives its parent {address:#x}" for c, ps in self.alive.items() if address in ps
        ]


@pytest.fixture
def world() -> Iterator[World]:
    world = World()
    yield world
    gc.collect()
    assert world.mistakes == []


def test_close_frees_at_once_and_only_once(world: World) -> None:
    thing = world.make("model")
    thing.close()
    thing.close()
    assert len(world.freed) == 1
    assert thing.closed


def test_closed_parent_waits_for_its_last_child(world: World) -> None:
    parent = world.make("model")
    first, second = world.make("context", parent), world.make("context", parent)
    parent.close()
    with pytest.raises(ClosedError, match="this model is closed"):
        _ = parent.ptr
    first.close()
    assert len(world.freed) == 1
    second.close()
    assert len(world.freed) == 3 and not world.alive


def test_dropping_the_last_reference_frees(world: World) -> None:
    thing = world.make("model")
    del thing
    gc.collect()
    assert not world.alive


def test_a_reference_cycle_frees_the_child_first(world: World) -> None:
    class Node:
        def __init__(self) -> None:
            self.parent = world.make("model")
            self.child = world.make("context", self.parent)
            self.me = self

    Node()
    gc.collect()
    assert not world.alive and world.mistakes == []


def test_a_held_pointer_defers_the_free(world: World) -> None:
    thing = world.make("model")
    pointer = thing.ptr
    thing.close()
    assert world.alive
    del pointer
    gc.collect()
    assert not world.alive


def test_consumed_is_freed_by_its_owner_only(world: World) -> None:
    vocab_owner, chain = world.make("model"), world.make("chain", exclusive=True)
    sampler = world.make("sampler", vocab_owner, exclusive=True)
    with sampler:
        address = int(ffi.cast("uintptr_t", sampler.consume(chain)))
    with pytest.raises(ConsumedError, match="this sampler belongs to a chain now"):
        _ = sampler.ptr
    assert sampler.consumed
    sampler.close()
    vocab_owner.close()
    assert world.freed == [], "the chain keeps what its sampler needed"
    del world.alive[address]  # the chain's C object frees it
    chain.close()
    assert len(world.freed) == 2 and not world.alive


def test_second_call_is_refused_and_close_waits(world: World) -> None:
    thing = world.make("context", exclusive=True)
    inside, finish = threading.Event(), threading.Event()

    def call() -> None:
        with thing:
            inside.set()
            finish.wait(10)

    caller = threading.Thread(target=call)
    caller.start()
    inside.wait(10)
    with pytest.raises(BusyError, match="another thread"), thing:
        pass
    closer = threading.Thread(target=thing.close)
    closer.start()
    closer.join(0.05)
    assert closer.is_alive() and world.alive, "close() waits for the running call"
    finish.set()
    closer.join(10)
    caller.join(10)
    assert not world.alive and thing.closed


def test_close_inside_its_own_call_is_refused(world: World) -> None:
    thing = world.make("context", exclusive=True)
    callback = Callback(ffi, "int(int)", lambda _number: thing.close(), on_error=1)
    with thing:
        assert callback.pointer(1) == 1
    with pytest.raises(BusyError, match="very thread"):
        callback.reraise()
    thing.close()


def test_a_lock_that_ctrl_c_left_over_is_taken_over(world: World) -> None:
    thing = world.make("context", exclusive=True)
    thing.__enter__()  # Ctrl-C struck before the `with` block began: nobody will leave
    with thing:
        pass
    assert not thing.busy
    others: list[object] = []
    thread = threading.Thread(target=lambda: others.append(thing.__enter__()))
    thread.start()
    thread.join()
    assert len(others) == 1, "the left-over lock was released"
    del others[:]


def test_interrupts_anywhere_leave_no_lock_behind(world: World) -> None:
    thing = world.make("context", exclusive=True)
    armed = True

    def strike(_frame: object, _event: str, _argument: object) -> object:
        if armed and random.random() < 0.2:
            raise KeyboardInterrupt
        return strike

    interrupted = 0
    for _ in range(300):
        armed = True
        sys.settrace(strike)
        try:
            with thing:
                pass
        except KeyboardInterrupt:
            interrupted += 1
        finally:
            armed = False
            sys.settrace(None)
    assert interrupted > 30
    with thing:
        pass
    assert not thing.busy
    thing.close()
    assert not world.alive


def test_nothing_is_freed_under_a_callback(world: World) -> None:
    seen = []

    def function(_number: int) -> int:
        thing = world.make("model")
        del thing
        gc.collect()
        seen.append(len(world.alive))
        return 0

    callback = Callback(ffi, "int(int)", function, on_error=1)
    assert callback.pointer(1) == 0
    callback.reraise()
    assert seen == [1], "freed inline, on the stack of a callback"
    drain()
    assert not world.alive


def test_exception_in_a_callback_comes_out_once(world: World) -> None:
    callback = Callback(ffi, "int(int)", lambda number: 1 // number, on_error=-7)
    assert callback.pointer(0) == -7
    assert callback.failed
    assert callback.pointer(1) == -7, "after a failure the function isn't called again"
    with pytest.raises(ZeroDivisionError):
        callback.reraise()
    callback.reraise()


def test_poisoned_only_closes_and_leaks(world: World) -> None:
    parent = world.make("model")
    thing = world.make("context", parent, exclusive=True)
    thing.poison("GGML_ASSERT(x) failed")
    with pytest.raises(PoisonedError, match=r"GGML_ASSERT\(x\) failed"):
        _ = thing.ptr
    thing.close()
    parent.close()
    gc.collect()
    assert len(world.alive) == 2, "a poisoned object and what it refers to are left alone"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_after_fork_the_childs_handles_are_dead(world: World) -> None:
    thing = world.make("context", exclusive=True)
    child = os.fork()
    if child == 0:
        status = 1
        try:
            with thing:
                pass
        except ForkedError:
            thing.close()
            del thing
            gc.collect()
            status = 0 if world.freed == [] else 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    thing.close()
    assert len(world.freed) == 1


def test_ctrl_c_inside_a_finalizer_comes_out_of_close(world: World) -> None:
    def destroy(pointer: object) -> None:
        world.destroy(pointer)
        raise KeyboardInterrupt  # a signal that arrived while C was freeing

    parent, other = world.make("model"), world.make("model")
    thing = Handle(ffi, ffi.cast("void *", 0x10), destroy, "context", keep=[parent.ptr])
    world.alive[0x10] = [int(ffi.cast("uintptr_t", parent.ptr))]
    parent.close()
    with pytest.raises(KeyboardInterrupt):
        thing.close()
    assert len(world.freed) == 2, "the parent is freed all the same"
    collected = Handle(ffi, ffi.cast("void *", 0x20), destroy, "context")
    world.alive[0x20] = []
    del collected
    gc.collect()
    with pytest.raises(KeyboardInterrupt), other:
        pass
    with other:
        pass


def test_live_counts_owned_objects(world: World) -> None:
    before = handles.live()
    thing = world.make("model")
    assert handles.live() == before + 1
    assert thing in handles.handles()
    thing.close()
    assert handles.live() == before


class Lifetimes(RuleBasedStateMachine):
    """Random sequences of making, using, closing, dropping and consuming, in any order."""

    parents = Bundle("parents")
    children = Bundle("children")

    def __init__(self) -> None:
        super().__init__()
        self.world = World()

    @rule(target=parents)
    def make_parent(self) -> Handle:
        return self.world.make("model")

    @rule(target=children, parent=parents, exclusive=st.booleans())
    def make_child(self, parent: Handle, exclusive: bool) -> Handle | None:
        return None if parent.closed else self.world.make("context", parent, exclusive=exclusive)

    @rule(thing=st.one_of(parents, children))
    def close(self, thing: Handle | None) -> None:
        if thing is not None:
            thing.close()

    @rule(thing=st.one_of(parents, children))
    def use(self, thing: Handle | None) -> None:
        if thing is None:
            return
        if thing.closed:
            with pytest.raises(ClosedError):
                _ = thing.ptr
        else:
            with thing as pointer:
                assert int(ffi.cast("uintptr_t", pointer)) in self.world.alive

    @rule(thing=consumes(children))
    def drop(self, thing: Handle | None) -> None:
        del thing
        gc.collect(0)

    @invariant()
    def nothing_went_wrong(self) -> None:
        assert self.world.mistakes == []


Lifetimes.TestCase.settings = settings(
    max_examples=60, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
TestLifetimes = Lifetimes.TestCase
