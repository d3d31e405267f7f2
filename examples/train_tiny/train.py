"""Train the small model with llama.cpp's own optimizer, driven from Python through `llama_ffi.raw`.

    python -m examples.train_tiny.train --out tiny.gguf

Each step is one sequence of n_ctx packed tokens, always fresh ones. The learning rate lives in a C struct
that llama.cpp reads at every step, so Python changes it between the chunks without any callback.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from llama_ffi.raw import ffi, lib

from . import corpus, modelfile

CHUNK = 32  # steps between two changes of the learning rate
REPORT = 10  # chunks between two reports; each measures the held-out stories and saves the file
WARM_UP = 200  # steps


def learning_rate(step: int, steps: int, peak: float) -> float:
    """Return the rate at a step: it rises, stays at the peak, and falls to 1/50 over the last 30 %."""
    rise = min(1.0, (step + 1) / WARM_UP)
    fall = min(1.0, (steps - step) / (0.3 * steps))
    return peak * rise * (0.02 + 0.98 * fall)


class Trainer:
    """Hold the C objects of one training run.

    Args:
        model: a llama_model with f32 weights, changed in place; stays the caller's.
        n_ctx: tokens per sequence, a multiple of 256.
        rows: sequences per chunk; each is one step of the optimizer.
    """

    def __init__(self, model: Any, n_ctx: int, n_threads: int, rows: int = CHUNK) -> None:
        self.n_ctx, self.rows = n_ctx, rows
        params = lib.llama_context_default_params()
        # Only with one ubatch as long as the context do gradients reach the K and V projections.
        params.n_ctx = params.n_batch = params.n_ubatch = n_ctx
        params.n_threads = params.n_threads_batch = n_threads
        params.type_k = params.type_v = lib.GGML_TYPE_F32
        params.flash_attn_type = lib.LLAMA_FLASH_ATTN_TYPE_DISABLED
        self._keep = self._clear_gradients()
        params.cb_eval = self._keep[0]
        self._context = lib.llama_init_from_model(model, params)
        if self._context == ffi.NULL:
            raise RuntimeError("llama.cpp could not create the training context")
        self.rates = ffi.new("struct ggml_opt_optimizer_params *")
        self.rates.adamw = {"alpha": 1e-4, "beta1": 0.9, "beta2": 0.98, "eps": 1e-8, "wd": 0.0}

        @ffi.callback("llama_opt_param_filter")  # type: ignore[untyped-decorator]
        def is_trained(tensor: Any, _: Any) -> bool:
            return modelfile.is_weight(ffi.string(lib.ggml_get_name(tensor)).decode())

        lib.llama_opt_init(
            self._context,
            model,
            {
                "n_ctx_train": n_ctx,
                "param_filter": is_trained,
                "param_filter_ud": ffi.NULL,
                "get_opt_pars": lib.ggml_opt_get_constant_optimizer_params,
                "get_opt_pars_ud": self.rates,
                "optimizer_type": lib.GGML_OPT_OPTIMIZER_TYPE_ADAMW,
            },
        )
        # The optimizer takes over the number of threads and the eval callback of the last decode. Without
        # one it runs 4 threads, which on fewer free cores wait for each other: 60 instead of 1,000 tokens/s.
        tokens = ffi.new("llama_token[]", [1] * n_ctx)
        if lib.llama_decode(self._context, lib.llama_batch_get_one(tokens, n_ctx)) != 0:
            raise RuntimeError("llama.cpp could not decode a full context")
        self._result = lib.ggml_opt_result_init()
        i32 = lib.GGML_TYPE_I32
        self._data = lib.ggml_opt_dataset_init(i32, i32, n_ctx, n_ctx, rows, 1)

    @staticmethod
    def _clear_gradients() -> tuple[Any, Any]:
        """Return an eval callback and an epoch callback that set the gradients to zero after each step.

        llama.cpp rebuilds its training graph at each step. ggml-opt then adds each step's gradients to
        accumulators that it never clears: its own reset reaches them through the graph, which is gone by
        then. So the first callback notes where the accumulators are (each optimizer node has one as its
        second source; they stay where they are), the second one clears them.
        """
        found: dict[Any, Any] = {}

        @ffi.callback("ggml_backend_sched_eval_callback")  # type: ignore[untyped-decorator]
        def note(tensor: Any, _: bool, __: Any) -> bool:
            if tensor.op == lib.GGML_OP_OPT_STEP_ADAMW or tensor.op == lib.GGML_OP_OPT_STEP_SGD:
                gradient = tensor.src[1]
                found[gradient.data] = ffi.buffer(gradient.data, lib.ggml_nbytes(gradient))
            return False

        @ffi.callback("ggml_opt_epoch_callback")  # type: ignore[untyped-decorator]
        def clear(*_: Any) -> None:
            for memory in found.values():
                memory[:] = bytes(len(memory))

        return note, clear

    def chunk(self, sequence: Callable[[], tuple[Any, Any]], rate: float) -> float:
        """Train on `rows` sequences at this rate (0 = only measure); return the mean loss in nats."""
        size = self.n_ctx * 4
        tokens = ffi.cast("char *", lib.ggml_get_data(lib.ggml_opt_dataset_data(self._data)))
        labels = ffi.cast("char *", lib.ggml_get_data(lib.ggml_opt_dataset_labels(self._data)))
        for row in range(self.rows):
            row_tokens, row_labels = sequence()
            ffi.memmove(tokens + row * size, ffi.from_buffer(row_tokens), size)
            ffi.memmove(labels + row * size, ffi.from_buffer(row_labels), size)
        self.rates.adamw.alpha = rate
        lib.ggml_opt_result_reset(self._result)
        train, measure = (self._result, ffi.NULL) if rate else (ffi.NULL, self._result)
        split = self.rows if rate else 0
        lib.llama_opt_epoch(self._context, self._data, train, measure, split, self._keep[1], ffi.NULL)
        loss = ffi.new("double *")
        lib.ggml_opt_result_loss(self._result, loss, ffi.NULL)
        return float(loss[0])

    def close(self) -> None:
        """Free the C objects; the model stays the caller's."""
        lib.ggml_opt_dataset_free(self._data)
        lib.ggml_opt_result_free(self._result)
        lib.llama_free(self._context)


def main() -> None:
    """Run the training as the command line says."""
    parser = argparse.ArgumentParser(description="Train the small model with llama.cpp's optimizer.")
    parser.add_argument("--out", type=Path, default=Path("tiny.gguf"), help="the file to write")
    parser.add_argument("--steps", type=int, default=3200, help="training steps of n_ctx tokens")
    parser.add_argument("--peak", type=float, default=1e-3, help="highest learning rate")
    parser.add_argument("--threads", type=int, default=1, help="threads of llama.cpp")
    parser.add_argument("--seed", type=int, default=1, help="seed of weights and texts")
    options = parser.parse_args()

    shape = modelfile.Shape()
    data = corpus.load()
    rng = random.Random(options.seed)
    model = modelfile.create(shape, data.vocab, modelfile.random_values(shape, options.seed))
    trainer = Trainer(model, shape.n_ctx, options.threads)
    entropy, words, _ = data.stories.stats()
    print(f"grammar: {entropy / (words + 1):.4f} nats per token of a story", flush=True)
    start = time.monotonic()
    losses: list[float] = []
    fixed = random.Random(0)
    held_out_rows = [data.held_out_sequence(fixed, shape.n_ctx) for _ in range(CHUNK)]
    for number, step in enumerate(range(0, options.steps, CHUNK), start=1):
        rate = learning_rate(step, options.steps, options.peak)
        losses.append(trainer.chunk(lambda: data.sequence(rng, shape.n_ctx), rate))
        if number % REPORT == 0 or step + CHUNK >= options.steps:
            kept = iter(held_out_rows)
            held_out = trainer.chunk(kept.__next__, 0.0)
            modelfile.save(model, shape, data.vocab, options.out)
            speed = (step + CHUNK) * shape.n_ctx / (time.monotonic() - start)
            mean = sum(losses[-REPORT:]) / len(losses[-REPORT:])
            print(
                f"step {step + CHUNK} rate {rate:.2e} train {mean:.4f} held-out {held_out:.4f} "
                f"nats/token, {speed:.0f} tokens/s",
                flush=True,
            )
    trainer.close()
    lib.llama_model_free(model)


if __name__ == "__main__":
    main()
