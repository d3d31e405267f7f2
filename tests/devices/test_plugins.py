"""Back ends that are opened at run time compute what the CPU computes: each greedy text is the CPU's."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from .builds import LLVMPIPE, beside_core, built
from .processes import PROMPT, run

pytestmark = pytest.mark.model

TOKENS = 16
"""llvmpipe compiles every shader first, and computes some two tokens a second."""

GENERATE = f"""
import json
import llama_ffi as lf
model = lf.Model.load(lf.tiny_model_path(), devices=DEVICES)
with model.context(n_ctx=64, n_threads=1) as context:
    memory = {{}}
    for entry in context.memory_breakdown().entries:
        memory[entry.device or "host"] = memory.get(entry.device or "host", 0) + entry.model
text = "".join(lf.generate({PROMPT!r}, model=model, max_tokens={TOKENS}, temp=0, n_threads=1))
# a prompt of more than one batch: other kernels
prompt = "Once upon a time there was a little dog. " * 4
more = "".join(lf.generate(prompt, model=model, max_tokens=2, temp=0, n_batch=32, n_threads=1))
backends = lf.available_backends()
model.close()
print(json.dumps({{"text": [text, more], "memory": memory, "backends": backends}}))
"""


def generate(environment: dict[str, str], devices: str) -> dict[str, object]:
    done = run(GENERATE.replace("DEVICES", devices), environment)
    assert done.returncode == 0, done.stderr
    found: dict[str, object] = json.loads(done.stdout)
    return found


@pytest.fixture(scope="module")
def cpu_text() -> object:
    return generate({"LLAMA_FFI_BACKEND": "cpu"}, "[]")["text"]


def test_vulkan_on_llvmpipe(tmp_path: Path, cpu_text: object) -> None:
    """All layers on Vulkan0, which is the processor in disguise."""
    environment = beside_core(built("vulkan"), "vulkan", tmp_path) | LLVMPIPE
    found = generate(environment, "['Vulkan0']")
    assert found["text"] == cpu_text
    memory = found["memory"]
    assert isinstance(memory, dict) and memory["Vulkan0"] > 1_000_000, memory


def test_vulkan_by_the_command(tmp_path: Path) -> None:
    environment = beside_core(built("vulkan"), "vulkan", tmp_path) | LLVMPIPE
    words = ["generate", PROMPT, "-n", "8", "--temp", "0", "-t", "1"]
    main = "import sys\nfrom llama_ffi.cli import main\nsys.exit(main({!r}))"
    on_gpu = run(main.format([*words, "--device", "Vulkan0"]), environment)
    on_cpu = run(main.format([*words, "--device", "CPU"]), environment)
    assert on_gpu.returncode == 0, on_gpu.stderr
    assert on_gpu.stdout == on_cpu.stdout and on_gpu.stdout.startswith(PROMPT)
    listed = run(main.format(["info"]), environment)
    assert "Vulkan0" in listed.stdout and "llvmpipe" in listed.stdout


PLACES = """
import llama_ffi as lf
from collections import Counter
from llama_ffi._core import logs
found = Counter()
logs.add_sink(lambda level, line: found.update(["BLAS" in line]) if "MUL_MAT)" in line else None)
with lf.Model.load(lf.tiny_model_path()) as model, model.context(n_ctx=128, n_threads=1) as context:
    found.clear()
    context.decode(lf.Batch.from_tokens(model.vocab.tokenize("A little dog ran. " * 15)))
print(found[True], found[False])
"""


def test_openblas(tmp_path: Path, cpu_text: object) -> None:
    """It takes the products of whole batches only, from 32 tokens on: the long prompt's."""
    environment = beside_core(built("openblas"), "openblas", tmp_path)
    found = generate(environment, "[]")
    assert "BLAS" in str(found["backends"])
    assert found["text"] == cpu_text
    # llama.cpp's scheduler says which back end computes each node
    done = run(PLACES, environment | {"GGML_SCHED_DEBUG": "2"})
    by_blas, by_cpu = map(int, done.stdout.split())
    assert by_blas > 10, done.stderr
    assert by_cpu < by_blas


def test_cuda(tmp_path: Path, cpu_text: object) -> None:
    """With all layers on the GPU."""
    if not Path("/dev/nvidiactl").exists():
        pytest.skip("needs an NVIDIA GPU")
    environment = beside_core(built("cuda13"), "cuda13", tmp_path)
    found = generate(environment, "['CUDA0']")
    assert found["text"] == cpu_text
    memory = found["memory"]
    assert isinstance(memory, dict) and memory["CUDA0"] > 1_000_000, memory
