"""Contexts of cyllama: decoding, outputs, memory, states, threads, and what ends that process."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

import llama_ffi.compat.cyllama as cy
from llama_ffi import errors
from tests.compat.cyllama.steps import TEXT, feed, go_on

pytestmark = pytest.mark.model


def test_context_sizes_and_parameters(model: cy.LlamaModel, ctx: cy.LlamaContext) -> None:
    assert ctx.n_ctx == ctx.n_ctx() == 256 and ctx.n_seq_max == 2
    assert ctx.n_batch() <= 2048 and ctx.n_ubatch() <= 512 and ctx.n_ctx_seq() == 256
    assert ctx.pooling_type == cy.LLAMA_POOLING_TYPE_NONE
    assert ctx.model is model and ctx.n_tokens == 0
    assert cy.LlamaContext.default_params() == cy.ContextParams()
    ctx.set_n_threads(1, 2)
    assert (ctx.n_threads(), ctx.n_threads_batch()) == (1, 2)
    with pytest.raises(ValueError, match="n_ctx"):
        cy.LlamaContext(model=model, params=cy.LlamaContextParams(n_ctx=-5))
    with pytest.raises(TypeError, match="LlamaModel"):
        cy.LlamaContext(model=model.safe)  # type: ignore[arg-type]


def test_context_parameters_reach_the_context(model: cy.LlamaModel) -> None:
    params = cy.CommonParams(
        n_ctx=512, n_batch=64, n_ubatch=32, n_parallel=2, embedding=True, kv_unified=True
    )
    params.cache_type_k = params.cache_type_v = "q8_0"
    params.flash_attn_type = 1
    params.cpuparams.n_threads = 2
    params.pooling_type = cy.LLAMA_POOLING_TYPE_MEAN
    ctx = cy.LlamaContext(model=model, params=cy.common_context_params_to_llama(params))
    assert (ctx.n_ctx, ctx.n_batch, ctx.n_ubatch, ctx.n_seq_max) == (512, 64, 32, 2)
    assert ctx.n_threads() == 2 and ctx.safe.embeddings_enabled
    assert ctx.pooling_type == cy.LLAMA_POOLING_TYPE_MEAN
    ctx.close()


def test_reading_outputs(ctx: cy.LlamaContext) -> None:
    assert ctx.get_logits() is None and ctx.get_embeddings() is None
    with pytest.raises(errors.NoOutputsError):
        ctx.get_logits_ith(0)
    tokens = feed(ctx)
    assert ctx.n_tokens == len(tokens)
    last = ctx.get_logits_ith(-1)
    assert last == ctx.get_logits() == ctx.get_logits_ith(len(tokens) - 1) == ctx.safe.logits(-1).tolist()
    assert len(last) == ctx.model.n_vocab


def test_embeddings(model: cy.LlamaModel) -> None:
    ctx = cy.LlamaContext(model=model, params=cy.LlamaContextParams(n_ctx=256, embeddings=True))
    tokens = feed(ctx)
    flat = ctx.get_embeddings()
    assert flat is not None and len(flat) == len(tokens) * model.n_embd
    assert flat[-int(model.n_embd) :] == ctx.get_embeddings_ith(-1)
    ctx.close()


def test_a_full_memory_is_a_value_error(ctx: cy.LlamaContext) -> None:
    ctx.decode(cy.llama_batch_get_one([3] * 200))
    for kind in (ValueError, RuntimeError, errors.NoKvSlotError):
        with pytest.raises(kind):
            ctx.decode(cy.llama_batch_get_one([3] * 100, 200))
    assert ctx.memory_seq_pos_max(0) == 199


def test_batches_that_cannot_be(ctx: cy.LlamaContext) -> None:
    with pytest.raises(ValueError, match="empty"):
        ctx.decode(cy.LlamaBatch(n_tokens=4))
    with pytest.raises(errors.TokenRangeError):
        ctx.decode(cy.llama_batch_get_one([10**6]))
    with pytest.raises(TypeError, match="LlamaBatch"):
        ctx.decode([1, 2])  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="at least one token"):
        cy.llama_batch_get_one([])


def test_cancel_stays_until_it_is_taken_back(ctx: cy.LlamaContext) -> None:
    ctx.install_cancel_callback()
    ctx.cancel = True
    for _ in range(2):
        for kind in (InterruptedError, errors.CancelledError):
            with pytest.raises(kind):
                feed(ctx)
    ctx.cancel = False
    try:
        feed(ctx)  # the byte that was set for the last one may still be there
    except InterruptedError:
        feed(ctx)
    assert ctx.memory_seq_pos_max(0) >= 0
    ctx.set_abort_callback(None)
    with pytest.raises(errors.UnsupportedError, match=r"ctx\.cancel"):
        ctx.set_abort_callback(lambda: False)


def test_memory(ctx: cy.LlamaContext) -> None:
    count = len(feed(ctx))
    assert (ctx.memory_seq_pos_min(0), ctx.memory_seq_pos_max(0)) == (0, count - 1)
    ctx.memory_seq_cp(0, 1, -1, -1)
    assert ctx.kv_cache_seq_pos_max(1) == count - 1
    assert ctx.memory_seq_rm(0, 2, -1) is True
    assert (ctx.memory_seq_pos_max(0), ctx.memory_seq_pos_max(1)) == (1, count - 1)
    ctx.memory_seq_keep(1)
    ctx.memory_seq_add(1, 0, -1, 6)
    assert ctx.kv_cache_seq_pos_max(1) == count + 5
    ctx.memory_seq_div(1, 0, -1, 2)
    assert ctx.memory_seq_pos_min(1) == 3
    assert ctx.memory_seq_pos_max(0) == -1
    ctx.kv_cache_clear()
    assert ctx.memory_seq_pos_max(1) == -1
    with pytest.raises(errors.SequenceRangeError):
        ctx.memory_seq_pos_max(7)


def test_states_as_bytes(model: cy.LlamaModel, ctx: cy.LlamaContext) -> None:
    count = len(feed(ctx, TEXT))
    data, one = ctx.get_state_data(), ctx.get_state_seq_data(0)
    assert ctx.get_state_size() == len(data)
    assert ctx.get_state_seq_size(0) == len(one) == ctx.get_state_seq_size_with_flags(0, 0)
    assert len(ctx.get_state_seq_data_with_flags(0, 0)) == len(one)  # when it was made stands in it
    last = ctx.safe.memory.seq_pos_max(0)
    ctx.kv_cache_clear()
    assert ctx.set_state_data(data) == len(data)
    assert ctx.memory_seq_pos_max(0) == last == count - 1
    ctx.kv_cache_clear()
    ctx.set_state_seq_data(one, 1)
    assert ctx.memory_seq_pos_max(1) == last
    ctx.set_state_seq_data_with_flags(bytearray(one), 0, 0)
    assert ctx.memory_seq_pos_max(0) == last
    with pytest.raises(ValueError, match=r"changed|damaged|digest|state"):
        ctx.set_state_data(data[:-8] + bytes(8))
    with pytest.raises(TypeError, match="bytes"):
        ctx.set_state_data(list(data))  # type: ignore[arg-type]
    with pytest.raises(errors.UnsupportedError, match="snapshot"):
        ctx.get_state_seq_data_with_flags(0, 1)


def test_states_as_files(ctx: cy.LlamaContext, tmp_path: Path) -> None:
    tokens = feed(ctx)
    whole, one = tmp_path / "a.state", tmp_path / "b.state"
    assert ctx.save_state_file(whole, tokens) is True
    ctx.save_state_seq_file(one, 0, tokens)
    expected = go_on(ctx, len(tokens), 5)
    for load in (
        lambda: ctx.load_state_file(whole),
        lambda: ctx.load_state_seq_file(one, 0),
    ):
        ctx.kv_cache_clear()
        assert load() == tokens
        ctx.memory_seq_rm(0, len(tokens) - 1, -1)
        ctx.decode(cy.llama_batch_get_one(tokens[-1:], len(tokens) - 1))
        assert go_on(ctx, len(tokens), 5) == expected
    with pytest.raises(ValueError, match="max_n_tokens"):
        ctx.load_state_file(whole, 2)
    with pytest.raises(FileNotFoundError):
        ctx.load_state_file(tmp_path / "none")


def test_times(model: cy.LlamaModel, capsys: pytest.CaptureFixture[str]) -> None:
    names = {"t_start_ms", "t_load_ms", "t_p_eval_ms", "t_eval_ms", "n_p_eval", "n_eval", "n_reused"}
    for no_perf in (True, False):
        ctx = cy.LlamaContext(model=model, params=cy.LlamaContextParams(n_ctx=256, no_perf=no_perf))
        count = len(feed(ctx))
        ctx.synchronize()
        data = ctx.get_perf_data()
        assert set(data) == names and data["n_p_eval"] == (0 if no_perf else count)
        ctx.print_perf_data()
        assert "n_p_eval = " in capsys.readouterr().out
        ctx.reset_perf_data()
        ctx.close()


def test_thread_pools(ctx: cy.LlamaContext) -> None:
    params = cy.GgmlThreadPoolParams(2)
    assert params.match(cy.GgmlThreadPoolParams(2)) and not params.match(cy.GgmlThreadPoolParams(1))
    one, several = cy.GgmlThreadPool(cy.GgmlThreadPoolParams(1, poll=0)), cy.GGMLThreadPool(params)
    ctx.attach_threadpool(one, several)
    assert (ctx.n_threads(), ctx.n_threads_batch()) == (1, 2)
    feed(ctx)
    ctx.detach_threadpool()
    cy.llama_attach_threadpool(ctx, one, one)
    cy.llama_detach_threadpool(ctx)
    one.pause()
    one.resume()
    with pytest.raises(TypeError):
        ctx.attach_threadpool(2, 2)  # type: ignore[arg-type]


def test_a_closed_context_is_an_error(model: cy.LlamaModel) -> None:
    ctx = cy.LlamaContext(model=model)
    ctx.close()
    ctx.close()
    with pytest.raises(ValueError, match="closed"):
        feed(ctx)


def test_two_threads_on_one_context_do_no_harm(ctx: cy.LlamaContext) -> None:
    outcomes: list[str] = []

    def work() -> None:
        for _ in range(30):
            try:
                ctx.kv_cache_clear()
                ctx.decode(cy.llama_batch_get_one([3] * 8))
                outcomes.append("ok")
            except (errors.BusyError, errors.InvalidBatchError, errors.NoKvSlotError) as error:
                outcomes.append(type(error).__name__)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert len(outcomes) == 90 and "ok" in outcomes
