"""Looking at tensors while they are computed: the values are right, and stopping leaves nothing behind."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import llama_ffi as lf
from llama_ffi._core import handle
from llama_ffi.errors import ArgumentTypeError, BusyError, CancelledError, ClosedError, NoOutputsError

pytestmark = pytest.mark.native


def watching(model: lf.Model, function: Callable[..., Any], names: Any = None) -> lf.Context:
    return model.context(
        n_ctx=256, n_batch=64, n_ubatch=16, n_threads=1, on_tensor=function, tensor_names=names
    )


def test_the_last_tensor_is_the_logits(random_model: lf.Model) -> None:
    seen: dict[str, Any] = {}
    with watching(random_model, lambda each: seen.update({each.name: each.to_numpy()})) as ctx:
        ctx.decode(lf.Batch.from_tokens([5, 6, 7], logits="all"))
        with ctx.borrow_logits() as rows:
            assert np.array_equal(seen["result_output"][0, 0], rows)
        assert {"l_out-0", "l_out-1", "result_norm"} < set(seen)
        embedded = seen["l_out-1"][0, 0]
        assert embedded.shape == (3, 64) and embedded.dtype == np.float32
        root = np.sqrt(np.square(embedded).mean(axis=1, keepdims=True) + 1e-5)
        assert np.allclose(seen["result_norm"][0, 0], embedded / root, atol=1e-5)  # its weights are ones


def test_names_and_kinds(random_model: lf.Model) -> None:
    seen: list[Any] = []

    def look(tensor: lf.ComputedTensor) -> None:
        assert tensor.to_numpy().shape == tensor.shape
        seen.append((tensor.name, tensor.type, tensor.op))
        assert tensor.name in repr(tensor)

    with watching(random_model, look, ["l_out-*", "result_output"]) as ctx:
        ctx.decode(lf.Batch.from_tokens([5]))
        assert [name for name, _type, _op in seen] == ["l_out-0", "l_out-1", "result_output"]
        assert seen[-1] == ("result_output", "f32", "MUL_MAT")
        seen.clear()
        ctx.decode(lf.Batch.from_tokens([5] * 40, pos0=1))
        assert [name for name, _type, _op in seen].count("result_output") == 3  # slices of n_ubatch
    with watching(random_model, look) as ctx:
        ctx.decode(lf.Batch.from_tokens([5]))  # every node of the graph, views included
    with watching(random_model, look, "no such tensor") as ctx:
        seen.clear()
        ctx.decode(lf.Batch.from_tokens([5]))
        assert seen == []


def same_logits(one: lf.Context, other: lf.Context, position: int) -> None:
    for ctx in (one, other):
        ctx.decode(lf.Batch.from_tokens([9], pos0=position))
    assert np.array_equal(one.logits(-1), other.logits(-1))


@pytest.mark.parametrize("n_tokens", [1, 40])
@pytest.mark.parametrize("end", ["stop", "raise", "interrupt"])
def test_ending_the_decode(random_model: lf.Model, ctx: lf.Context, n_tokens: int, end: str) -> None:
    """By False or an exception, at the first call or a later one: as if the decode had not been."""
    calls, ends_at = [0], [0]

    def look(_tensor: lf.ComputedTensor) -> Any:
        calls[0] += 1
        if calls[0] != ends_at[0]:
            return None
        if end == "stop":
            return False
        raise KeyError("mine") if end == "raise" else KeyboardInterrupt

    error = {"stop": CancelledError, "raise": KeyError, "interrupt": KeyboardInterrupt}[end]
    ctx.decode(lf.Batch.from_tokens([5, 6]))
    with watching(random_model, look, ["l_out-*", "result_output"]) as watched:
        watched.decode(lf.Batch.from_tokens([5, 6]))
        for ends_at[0] in (1, 2, 3, 5) if n_tokens > 1 else (1, 2, 3):
            calls[0] = 0
            with pytest.raises(error):
                watched.decode(lf.Batch.from_tokens([9] * n_tokens, pos0=2))
            assert calls[0] == ends_at[0], "called again after its end"
            assert watched.memory.seq_pos_max() == 1
            with pytest.raises(NoOutputsError):
                watched.logits(-1)
        ends_at[0] = 0
        same_logits(watched, ctx, 2)


def test_what_is_kept_beyond_the_call(random_model: lf.Model) -> None:
    kept: list[lf.ComputedTensor] = []
    with watching(random_model, kept.append, "result_output") as ctx:
        ctx.decode(lf.Batch.from_tokens([5]))
    with pytest.raises(ClosedError, match="copy it while"):
        kept[0].to_numpy()


def test_the_context_in_its_own_callback(random_model: lf.Model) -> None:
    with watching(random_model, lambda _each: ctx.memory.clear(), "result_output") as ctx:
        with pytest.raises(BusyError, match="inside a call of this very thread"):
            ctx.decode(lf.Batch.from_tokens([5]))


def test_a_function_that_knows_its_context_is_collected_with_it(random_model: lf.Model) -> None:
    gc.collect()
    before, box = handle.live(), {}

    def look(_tensor: lf.ComputedTensor) -> None:
        box["ctx"].model  # noqa: B018

    box["ctx"] = watching(random_model, look, "result_output")
    box["ctx"].decode(lf.Batch.from_tokens([5]))
    gone = weakref.ref(look)
    look = box = None  # type: ignore[assignment]
    gc.collect()
    assert gone() is None
    assert handle.live() == before


def test_what_is_no_function(random_model: lf.Model) -> None:
    for wrong, names in ((5, None), (print, 5), (print, [5])):
        with pytest.raises(ArgumentTypeError):
            watching(random_model, wrong, names)  # type: ignore[arg-type]
