"""``n_gpu_layers="auto"`` on devices that say how much memory they have, and compute on the processor."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from .plugins import Site

pytestmark = pytest.mark.model

PROGRAM = """
import json
path = lf.tiny_model_path()
plan = lf.plan_layers(path, n_ctx=512)
guess = lf.plan_layers(path, n_ctx=512, measure=False)
fit = [0]
for n in range(1, plan.n_layers + 1):
    with lf.Model.load(path, n_gpu_layers=n, no_alloc=True) as model:
        needed = {entry.buffer_type: entry.total for entry in model.measure(n_ctx=512).entries}
    if all(needed.get(share.name, 0) <= share.free - share.free // 10 for share in plan.devices):
        fit.append(n)
with lf.Model.load(path, n_gpu_layers="auto", fit_context={"n_ctx": 512}) as model:
    with model.context(n_ctx=512) as ctx:
        used = {entry.buffer_type: entry.total for entry in ctx.memory_breakdown().entries}
text = "".join(lf.generate("Once upon a time", max_tokens=12, temp=0, n_ctx=512, n_gpu_layers="auto"))
shares = [[share.name, share.layers, share.needed, share.free] for share in plan.devices]
print(json.dumps([plan.n_gpu_layers, plan.n_layers, plan.measured, guess.n_gpu_layers, guess.measured, fit]))
print(json.dumps([shares, used, text]))
"""


@pytest.mark.parametrize(("free", "devices"), [(2**30, 1), (11_000_000, 1), (7_000_000, 2), (1000, 1)])
def test_layers_that_fit(site: Site, fake_gpu: Path, free: int, devices: int) -> None:
    """As many as llama.cpp itself, asked for each number of layers, says to fit; never fewer, never more."""
    import llama_ffi as lf

    site.install("vulkan", fake_gpu)
    done = site.python(PROGRAM, FAKE_FREE=str(free), FAKE_DEVICES=str(devices))
    assert done.returncode == 0, done.stderr
    first, second = map(json.loads, done.stdout.splitlines())
    n_gpu_layers, n_layers, measured, guessed, by_measure, fit = first
    shares, used, text = second
    assert n_gpu_layers == max(fit) and guessed <= n_gpu_layers
    assert measured and not by_measure
    assert n_layers == lf.Model.load(lf.tiny_model_path(), no_alloc=True).n_layer + 1
    if free == 2**30:
        assert n_gpu_layers == guessed == n_layers
    elif free == 1000:
        assert n_gpu_layers == 0
    else:
        assert 0 < n_gpu_layers < n_layers, (shares, used)
    for name, layers, needed, said in shares:
        assert said == free
        assert used.get(name, 0) <= free, "what llama.cpp really allocates on the device fits"
        assert (name in used) == (layers > 0)
        assert used.get(name, 0) == needed, "and is what it said"
    assert text == "".join(lf.generate("Once upon a time", max_tokens=12, temp=0, n_ctx=512, n_gpu_layers=0))


def test_on_chosen_devices(site: Site, fake_gpu: Path) -> None:
    site.install("vulkan", fake_gpu)
    done = site.python(
        """
path = lf.tiny_model_path()
print([share.name for share in lf.plan_layers(path, devices=["FAKE1"]).devices])
print(lf.plan_layers(path, devices=[]).n_gpu_layers, lf.plan_layers(path, devices="CPU").n_gpu_layers)
for devices in (["FAKE1"], iter(["FAKE0", "FAKE1"]), [], "fake0"):
    with lf.Model.load(path, n_gpu_layers="auto", devices=devices) as model, model.context(n_ctx=256) as ctx:
        names = {entry.buffer_type for entry in ctx.memory_breakdown().entries}
        print(sorted(names & {"FAKE0", "FAKE1"}))
""",
        FAKE_DEVICES="2",
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        *("['FAKE1']", "0 0", "['FAKE1']", "['FAKE0', 'FAKE1']", "[]", "['FAKE0']")
    ]
