"""The process that ``Model.load(..., isolate=True)`` starts: it may die, and its parent goes on."""

from __future__ import annotations

import json
import sys


def main() -> None:
    """Load the model that the standard input names, try it, and say how it went."""
    order = json.load(sys.stdin)
    from . import errors
    from ._core import binding
    from .batch import Batch
    from .model import Model

    if order["library"] is not None or order["bindings"] is not None:
        binding.use(library=order["library"], bindings=order["bindings"])
    paths = order["paths"]
    try:
        with Model.load(
            paths if len(paths) > 1 else paths[0],
            offset=order["offset"],
            vocab_only=order["vocab_only"],
            kv_overrides=order["overrides"],
            n_gpu_layers=0,
            use_extra_bufts=False,  # nothing is computed twice, so repacking the weights would not pay
        ) as model:
            tokens = model.vocab.tokenize("a", add_special=True)[:4] or [0]
            if not order["vocab_only"]:
                with model.context(n_ctx=64, n_batch=16, n_threads=2) as context:
                    batch = Batch.from_tokens(tokens)
                    if model.has_encoder:
                        context.encode(batch)
                    else:
                        context.decode(batch)
    except errors.LlamaError as error:
        told = {
            "error": type(error).__name__,
            "message": str(error),
            "code": error.code,
            "log": list(error.log),
        }
        print(json.dumps(told), flush=True)
        return
    print("sound", flush=True)
