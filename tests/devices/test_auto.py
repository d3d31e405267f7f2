"""``n_gpu_layers="auto"`` on devices that compute: RPC workers, here and in another process, and Vulkan."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

import llama_ffi as lf
from llama_ffi import testing
from llama_ffi.errors import ArgumentTypeError, InvalidArgumentError, RpcConnectError

from .builds import LLVMPIPE, beside_core, built
from .processes import PROMPT, Start, run

pytestmark = pytest.mark.model


def on_devices(model: lf.Model) -> dict[str, int]:
    """Return the bytes of weights on each device that isn't the host."""
    with model.context(n_ctx=256, n_threads=1) as context:
        return {
            entry.device: entry.model
            for entry in context.memory_breakdown().entries
            if entry.device is not None and not entry.is_host
        }


def test_two_workers(worker: Start, greedy: Callable[..., str], by_cpu: str) -> None:
    endpoints = [worker().endpoint, worker().endpoint]
    plan = lf.plan_layers(lf.tiny_model_path(), rpc=endpoints, devices=[], n_ctx=512)
    assert plan.measured and plan.n_gpu_layers == plan.n_layers
    assert len(plan.devices) == 2 and all(each.layers and each.needed for each in plan.devices), plan
    with lf.Model.load(lf.tiny_model_path(), rpc=endpoints, devices=[], n_gpu_layers="auto") as model:
        assert on_devices(model).keys() == {each.name for each in plan.devices}
        assert greedy(model) == by_cpu


def test_a_context_that_leaves_no_room_for_all(worker: Start, tmp_path: Path) -> None:
    """The worker's memory is this machine's, so the context's keys and values are made to fill it."""
    path, one = tmp_path / "wide.gguf", worker()
    testing.save_random_model(
        path,
        n_layer=4,
        n_embd=64,
        metadata={f"llama.attention.{key}_length": 1024 for key in ("key", "value")},
    )
    free = lf.rpc.worker(one.endpoint).memory[0].free
    each_token = 2 * 2 * 1024 * 2  # two heads of keys and two of values, 2 bytes a value
    context = {"n_ctx": int(free / 2.5) // each_token}  # a layer takes two fifths of what is free
    plan = lf.plan_layers(path, rpc=one.endpoint, devices=[], **context)
    guess = lf.plan_layers(path, rpc=one.endpoint, devices=[], measure=False, **context)
    assert plan.measured and not guess.measured
    assert 1 <= guess.n_gpu_layers <= plan.n_gpu_layers <= 3, (str(plan), str(guess))
    assert plan.devices[0].needed <= free
    for isolate in (False, True):
        options = {"n_gpu_layers": "auto", "fit_context": context, "isolate": isolate}
        with lf.Model.load(path, rpc=one.endpoint, devices=[], **options) as model:  # type: ignore[arg-type]
            if not isolate:
                weights = sum(on_devices(model).values())
                assert 0 < weights < model.size


def test_in_a_process_of_its_own(worker: Start, greedy: Callable[..., str], by_cpu: str) -> None:
    one = worker()
    options = {"n_gpu_layers": "auto", "fit_context": {"n_ctx": 512}}
    with lf.IsolatedModel.load(lf.tiny_model_path(), **options) as model:
        assert greedy(model) == by_cpu
    with lf.Model.load(lf.tiny_model_path(), rpc=one.endpoint, isolate=True, **options) as model:  # type: ignore[arg-type]
        assert isinstance(model, lf.IsolatedModel) and greedy(model) == by_cpu
    with lf.Model.load(lf.tiny_model_path(), isolate=True, **options) as here:  # type: ignore[arg-type]
        assert greedy(here) == by_cpu


@pytest.mark.parametrize("isolate", [False, True])
def test_wrong_arguments(worker: Start, isolate: bool) -> None:
    """Also those that go to the other process."""
    path, endpoint = lf.tiny_model_path(), worker().endpoint
    with pytest.raises(ArgumentTypeError, match="no parameter 'n_context'"):
        lf.Model.load(path, rpc=endpoint, isolate=isolate, n_gpu_layers="auto", fit_context={"n_context": 3})
    with pytest.raises(InvalidArgumentError, match="fit_context"):
        lf.Model.load(path, rpc=endpoint, isolate=isolate, fit_context={"n_ctx": 512})
    with pytest.raises(InvalidArgumentError, match="n_ctx"):
        lf.Model.load(path, rpc=endpoint, isolate=isolate, n_gpu_layers="auto", fit_context={"n_ctx": -1})


def test_a_worker_that_is_gone(worker: Start) -> None:
    one = worker()
    one.kill()
    for isolate in (False, True):
        with pytest.raises(RpcConnectError):
            lf.Model.load(lf.tiny_model_path(), rpc=one.endpoint, isolate=isolate, n_gpu_layers="auto")
    with pytest.raises(RpcConnectError):
        lf.plan_layers(lf.tiny_model_path(), rpc=one.endpoint)


VULKAN = f"""
import json
import llama_ffi as lf
path = lf.tiny_model_path()
found = []
for n_ctx in (512, FULL):
    plan = lf.plan_layers(path, devices=["Vulkan0"], n_ctx=n_ctx)
    guess = lf.plan_layers(path, devices=["Vulkan0"], n_ctx=n_ctx, measure=False)
    context = {{"n_ctx": n_ctx}}
    with lf.Model.load(path, devices=["Vulkan0"], n_gpu_layers="auto", fit_context=context) as model:
        with model.context(n_ctx=256, n_threads=1) as made:
            entries = made.memory_breakdown().entries
        weights = sum(entry.model for entry in entries if entry.buffer_type == "Vulkan0")
        text = "".join(lf.generate({PROMPT!r}, model=model, max_tokens=4, temp=0, n_threads=1))
    share = plan.devices[0]
    planned = [plan.measured, plan.n_gpu_layers, plan.n_layers, share.needed, share.free, guess.n_gpu_layers]
    found.append([planned, weights, text])
print(json.dumps(found))
"""


def test_vulkan_on_llvmpipe(tmp_path: Path, by_cpu: str) -> None:
    """With a small context all layers, with a huge one fewer: llvmpipe has 2 GiB, and 128 MiB for a tensor.

    Of the last llama.cpp says so by an assertion, when it plans the context that the estimate had room for.
    """
    environment = beside_core(built("vulkan"), "vulkan", tmp_path) | LLVMPIPE
    with lf.Model.load(lf.tiny_model_path(), no_alloc=True) as model:
        each_token = model.measure(n_ctx=1024).context - model.measure(n_ctx=512).context
        n_layer = model.n_layer
    full = int(2**31 / 2.5 * 512 / (each_token / n_layer))
    done = run(VULKAN.replace("FULL", str(full)), environment)
    assert done.returncode == 0, done.stderr
    everything, some = json.loads(done.stdout)
    (measured, n, n_layers, needed, free, guessed), weights, text = everything
    assert measured and n == guessed == n_layers and 0 < needed < free
    assert by_cpu.startswith(text) and text
    (measured, n, n_layers, needed, free, guessed), fewer, text = some
    assert measured and 0 < n < n_layers and 0 < needed < free
    assert 0 < fewer < weights
    assert by_cpu.startswith(text) and text
