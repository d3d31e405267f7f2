"""The same greedy loop three times: in C, on `llama_ffi.raw`, and as `llama_ffi.generate`.

Each takes the prompt, then produces `n` tokens and their text; the time is that of the second part.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import llama_ffi
from llama_ffi.raw import ffi, lib

from .c_loop import CLoop

PROMPT = "Once upon a time there was"
N_CTX = 1024


class Loops:
    """One model, one context and one greedy chain, driven by each of the loops in turn."""

    def __init__(self, path: Path, n_threads: int, counting: bool = False) -> None:
        self.n_threads = n_threads
        self.model = llama_ffi.Model.load(path, n_gpu_layers=0)
        self.context = self.model.context(n_ctx=N_CTX, n_threads=n_threads, n_threads_batch=n_threads)
        self.chain = llama_ffi.SamplerChain()
        self.chain.add_greedy()
        self.prompt = self.model.vocab.tokenize(PROMPT)
        self.c_loop = CLoop(counting)
        self._pieces: dict[int, int] = {}

    def c(self, n: int) -> tuple[float, bytes]:
        return self.c_loop(self.context.ptr, self.chain.ptr, self.prompt, n)

    def raw(self, n: int) -> tuple[float, bytes]:
        """Run the loop as a user of `llama_ffi.raw` writes it."""
        ctx, sampler = self.context.ptr, self.chain.ptr
        decode, sample, to_piece = lib.llama_decode, lib.llama_sampler_sample, lib.llama_token_to_piece
        unpack = ffi.unpack
        vocab = lib.llama_model_get_vocab(lib.llama_get_model(ctx))
        lib.llama_memory_clear(lib.llama_get_memory(ctx), True)
        prompt = ffi.new("llama_token[]", self.prompt)
        if decode(ctx, lib.llama_batch_get_one(prompt, len(self.prompt))) != 0:
            raise RuntimeError("llama_decode failed")
        token = ffi.new("llama_token[1]")
        one = lib.llama_batch_get_one(token, 1)
        piece = ffi.new("char[256]")
        text: list[bytes] = []
        start = time.perf_counter()
        for _ in range(n):
            token[0] = chosen = sample(sampler, ctx, -1)
            text.append(unpack(piece, to_piece(vocab, chosen, piece, 256, 0, False)))
            if decode(ctx, one) != 0:
                raise RuntimeError("llama_decode failed")
        return time.perf_counter() - start, b"".join(text)

    def batch(self, n: int) -> tuple[float, bytes]:
        """Run the raw loop with a `Batch` that is filled for each token, decoded by the C call."""
        decode, ctx = lib.llama_decode, self.context.ptr
        return self._with_batch(n, lambda batch: decode(ctx, batch.ptr[0]))

    def decode(self, n: int) -> tuple[float, bytes]:
        """Run the same loop, but decode through the safe layer: the difference is what its checks cost."""
        return self._with_batch(n, self.context.decode)

    def _with_batch(self, n: int, decode: Callable[[llama_ffi.Batch], object]) -> tuple[float, bytes]:
        ctx, sampler = self.context.ptr, self.chain.ptr
        sample, to_piece, unpack = lib.llama_sampler_sample, lib.llama_token_to_piece, ffi.unpack
        vocab = lib.llama_model_get_vocab(lib.llama_get_model(ctx))
        self.context.memory.clear()
        self.context.decode(llama_ffi.Batch.from_tokens(self.prompt))
        batch = llama_ffi.Batch(1)
        piece = ffi.new("char[256]")
        text: list[bytes] = []
        start = time.perf_counter()
        for position in range(len(self.prompt), len(self.prompt) + n):
            chosen = sample(sampler, ctx, -1)
            text.append(unpack(piece, to_piece(vocab, chosen, piece, 256, 0, False)))
            batch.set([chosen], position)
            decode(batch)
        return time.perf_counter() - start, b"".join(text)

    def generate(self, n: int) -> tuple[float, bytes]:
        """Run `llama_ffi.generate`, from its first piece of text to that of the n-th token after it.

        What comes before (context, prompt) and after (freeing them) is no part of the loop in C either.
        """
        if n not in self._pieces:  # a character can be spread over tokens: fewer pieces than tokens
            self._pieces[n] = sum(1 for _ in self._generate(n + 1))
        pieces = self._generate(n + 2)
        text = [next(pieces)]
        start = time.perf_counter()
        text.extend(islice(pieces, self._pieces[n] - 1))
        seconds = time.perf_counter() - start
        del pieces
        return seconds, "".join(text).encode()

    def _generate(self, max_tokens: int) -> Iterator[str]:
        return llama_ffi.generate(
            PROMPT,
            model=self.model,
            max_tokens=max_tokens,
            temp=0.0,
            n_ctx=N_CTX,
            n_threads=self.n_threads,
        )

    def by_name(self, name: str) -> Any:
        return getattr(self, name)
