"""What the machine and the build support, clocks, NUMA, and what computing cost."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import llama_ffi as lf
from llama_ffi.errors import (
    AlreadyLoadedError,
    ArgumentTypeError,
    ClosedError,
    InvalidArgumentError,
    UnsupportedError,
)
from llama_ffi.raw import lib

pytestmark = pytest.mark.native


def test_abilities() -> None:
    assert lf.supports("mmap") == bool(lib.llama_supports_mmap())
    assert lf.supports("mlock") == bool(lib.llama_supports_mlock())
    assert lf.supports("gpu_offload") == bool(lib.llama_supports_gpu_offload())
    assert lf.supports("rpc") == ("RPC" in lf.available_backends())
    for ability in ("gpu", "", "MMAP", None, 3):
        with pytest.raises(InvalidArgumentError, match="choose one of: gpu_offload, mlock, mmap, rpc"):
            lf.supports(ability)  # type: ignore[arg-type]


def test_limits() -> None:
    assert lf.max_devices() == lib.llama_max_devices() > 0
    assert lf.max_parallel_sequences() == lib.llama_max_parallel_sequences() == 256
    assert lf.max_tensor_buft_overrides() == lib.llama_max_tensor_buft_overrides() > 0


def test_the_clock_runs() -> None:
    before = lf.time_us()
    time.sleep(0.02)
    assert 19_000 < lf.time_us() - before < 60_000_000


def test_system_info_from_many_threads() -> None:
    expected = lf.system_info()
    assert "CPU" in expected.text
    wrong: list[str] = []

    def ask() -> None:
        for _ in range(50):
            if lf.system_info() != expected:
                wrong.append(lf.system_info().text)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


NUMA = """
import sys
import llama_ffi as lf
from llama_ffi.errors import AlreadyLoadedError, LlamaError
for wrong in ("mirror", "count", "both", "", None, 99, True):
    try: lf.numa_init(wrong)
    except LlamaError as error: assert "choose one of: disabled, distribute, isolate, numactl" in str(error)
    else: raise SystemExit(f"{wrong} was taken")
assert not lf.is_numa()
lf.numa_init(sys.argv[1])
try: lf.numa_init("isolate")
except AlreadyLoadedError as error: print(error)
print("".join(lf.generate("Once", max_tokens=5, temp=0, n_threads=2)))
"""


@pytest.mark.model
@pytest.mark.parametrize("strategy", ["distribute", "isolate", "numactl", "disabled"])
def test_numa_is_chosen_once(strategy: str) -> None:
    done = subprocess.run([sys.executable, "-c", NUMA, strategy], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    said, text = done.stdout.splitlines()[:2]
    assert said == f"numa_init('{strategy}') was called before; a process can choose its strategy only once"
    assert issubclass(AlreadyLoadedError, RuntimeError) and text


@pytest.mark.model
def test_what_computing_cost(tiny_model: Path) -> None:
    with lf.Model.load(tiny_model) as model:
        with model.context(n_ctx=256, n_threads=1, no_perf=False) as ctx:
            ctx.decode(lf.Batch.from_tokens([1, 20, 300, 40]))
            ctx.synchronize()
            for position in range(4, 7):
                ctx.decode(lf.Batch.from_tokens([50], pos0=position))
                ctx.synchronize()
            perf = ctx.perf()
            assert (perf.n_p_eval, perf.n_eval) == (4, 3)
            assert perf.p_eval_ms > 0 and perf.eval_ms > 0 and perf.load_ms > 0
            assert perf.p_eval_per_second == pytest.approx(4000 / perf.p_eval_ms)
            assert perf.eval_per_second == pytest.approx(3000 / perf.eval_ms)
            assert perf.n_reused >= 0 and perf.start_ms * 1000 <= lf.time_us()
            ctx.reset_perf()
            fresh = ctx.perf()
            assert fresh.p_eval_ms == fresh.eval_ms == 0 and fresh.p_eval_per_second == 0
            assert fresh.eval_per_second == 0 and fresh.start_ms > perf.start_ms
        with pytest.raises(ClosedError):
            ctx.perf()
        with pytest.raises(ClosedError):
            ctx.reset_perf()
        with model.context(n_ctx=256) as ctx:
            with pytest.raises(UnsupportedError, match="no_perf=False"):
                ctx.perf()
            ctx.reset_perf()


def test_arguments_of_a_wrong_type() -> None:
    with pytest.raises((InvalidArgumentError, ArgumentTypeError)):
        lf.numa_init(object())  # type: ignore[arg-type]


def test_a_numa_strategy_may_be_a_number() -> None:
    code = (
        "import llama_ffi as lf\n"
        "lf.numa_init(int(lf.raw.lib.GGML_NUMA_STRATEGY_DISABLED))\n"
        "try:\n"
        "    lf.numa_init('distribute')\n"
        "except lf.errors.AlreadyLoadedError as error:\n"
        "    print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "numa_init('disabled') was called before" in done.stdout
