"""One process, up to three native stacks, imported in the order of the arguments; each must work as if alone.

Prints JSON: the text of each stack, and the file in which each stack's ggml lies.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import sys
import threading
from typing import Any

MODEL, *ORDER = sys.argv[1:]
PROMPT, COUNT = "Once upon a time", 16

for name in ORDER:
    importlib.import_module(name)


def home(function: Any) -> str:
    """Return the file in which a C function lies."""
    address = ctypes.cast(function, ctypes.c_void_p).value or 0
    with open("/proc/self/maps", encoding="utf-8") as maps:
        for line in maps:
            span, *rest = line.split(None, 5)
            low, high = (int(part, 16) for part in span.split("-"))
            if low <= address < high:
                return rest[4].strip()
    raise LookupError(address)


def ours() -> str:
    import llama_ffi

    return "".join(llama_ffi.generate(PROMPT, model=MODEL, max_tokens=COUNT, temp=0, n_threads=2))


def theirs() -> str:
    import llama_cpp

    model = llama_cpp.Llama(MODEL, n_ctx=256, n_threads=2, verbose=False)
    answer: Any = model(PROMPT, max_tokens=COUNT, temperature=0)
    return str(answer["choices"][0]["text"])


def of_torch() -> str:
    import torch

    torch.set_num_threads(2)
    weights = torch.eye(300, requires_grad=True)
    for _ in range(5):
        loss = ((weights @ weights) ** 2).sum()
        loss.backward()
    return f"{float(loss):.1f} {float(weights.grad.sum()):.1f}"  # type: ignore[union-attr]


RUN = {"llama_ffi": ours, "llama_cpp": theirs, "torch": of_torch}
alone = {name: RUN[name]() for name in ORDER}
together: dict[str, str] = {}
threads = [threading.Thread(target=lambda n=name: together.update({n: RUN[n]()})) for name in ORDER]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()

homes = {}
if "llama_ffi" in ORDER:
    import llama_ffi

    paths = llama_ffi.library_paths()
    library = ctypes.CDLL(str(paths["ggml-base"]))
    homes["llama_ffi"] = [home(library.ggml_time_us), home(ctypes.CDLL(str(paths["llama"])).llama_decode)]
if "llama_cpp" in ORDER:
    import llama_cpp

    ggml = ctypes.CDLL(llama_cpp.llama_cpp._lib._name.replace("libllama", "libggml-base"))
    homes["llama_cpp"] = [home(ggml.ggml_time_us), home(llama_cpp.llama_cpp._lib.llama_decode)]
print(json.dumps({"alone": alone, "together": together, "homes": homes}))
