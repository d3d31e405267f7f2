"""Samplers that run where the model runs: their operations are part of the graph that a decode computes.

A chain is attached to a sequence of a context. Its first samplers, as many as the back end has operations
for, are computed by ``decode``; what they leave - a token, or fewer candidates - is read through the context,
and ``chain.sample`` goes on from there on the CPU. The row of raw logits then stays on the device.

C reads the attached chains during a decode, so a decode makes them busy. It has no way back: a chain that was
attached once goes on skipping its first samplers wherever it is used, so it can't be used for anything else
afterwards; its ``clone()`` can.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, SupportsIndex

from ._core import arrays, check, logs
from ._core.handle import Handle
from .batch import Batch
from .batch_ext import BatchExt
from .decoding import Decoder
from .errors import ClosedError, NoOutputsError, UnsupportedError
from .outputs import Outputs
from .sampler import SamplerChain
from .sampler.offload import Offer, check_offload

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class BackendSampling:
    """The chains that are attached to one context, and whose rows its last decode made."""

    __slots__ = ("_chains", "_ffi", "_kept", "_lib", "_owners", "_places", "_read", "key", "n_vocab")

    _owners: list[tuple[int | None, bool]]
    """of each output: whose chain has sampled it, and whether it has raw logits"""
    _places: dict[int, int]
    """index of a token in the batch → number of its output"""
    _read: bool
    """what the back end has sampled can be read"""
    key: object
    """what a chain knows this by, without keeping it alive"""

    def __init__(self, ffi: Any, lib: Any, n_vocab: int) -> None:
        self._ffi = ffi
        self._lib = lib
        self.n_vocab = n_vocab
        self._chains: dict[int, SamplerChain] = {}
        self._kept: dict[int, Any] = {}
        self._owners: list[tuple[int | None, bool]] = []
        self._places: dict[int, int] = {}
        self._read = False
        self.key = object()

    # --- attaching ---

    def attach(self, handle: Handle, ctx: Any, sequence: int, chain: SamplerChain) -> None:
        """Attach a chain in place of the one before."""
        with chain._handle as pointer:
            check_offload(chain, pointer, self.n_vocab)
            self._settle(ctx)
            handle.keep(pointer)
            if not self._lib.llama_set_sampler(ctx, sequence, pointer):
                handle.release(pointer)
                raise UnsupportedError("models that are split by tensors can't be sampled on the back end")
            self._forget(handle, sequence)
            chain._attach(self.key, sequence, pointer, self.n_vocab)
            self._chains[sequence], self._kept[sequence] = chain, pointer

    def detach(self, handle: Handle, ctx: Any, sequence: int) -> None:
        """Take a chain off, if there is one."""
        if sequence in self._chains:
            self._settle(ctx)
            self._lib.llama_set_sampler(ctx, sequence, self._ffi.NULL)
            self._forget(handle, sequence)

    def _settle(self, ctx: Any) -> None:
        # Outputs in another order than the batch's are moved when they are first read. With a sampler that
        # came after the decode, C would move sampled rows too, which don't exist; without the one that was
        # there, it wouldn't move them.
        self._lib.llama_get_logits(ctx)
        self._read = False

    def _forget(self, handle: Handle, sequence: int) -> None:
        chain, pointer = self._chains.pop(sequence, None), self._kept.pop(sequence, None)
        if chain is not None:
            chain._detach()
            handle.release(pointer)

    # --- decoding ---

    def around(self, call: Callable[[Any, Any], None], ctx: Any, batch: Batch | BatchExt) -> None:
        """Make a decode with the chains busy, and note whose its outputs are."""
        self._read = False
        self._owners, self._places = [], {}
        with ExitStack() as stack:
            for chain in self._chains.values():
                try:
                    stack.enter_context(chain._handle)
                except ClosedError:
                    pass  # closed, or the thread that had it is gone: nobody else can use it any more
            call(ctx, batch)
        chains = self._chains
        for index, (sequences, is_output) in enumerate(zip(batch.sequences, batch.outputs, strict=True)):
            if is_output:
                self._places[index] = len(self._owners)
                owner = sequences[0] if sequences[0] in chains else None
                self._owners.append((owner, any(each not in chains for each in sequences)))
        self._read = True

    # --- reading ---

    def sampled(self, index: int) -> bool:
        """Return whether an output was sampled by a chain, on the back end so far."""
        place = self._place(index)
        return place is not None and self._owners[place][0] is not None

    def check_raw(self, index: int) -> None:
        """Raise if an output has no raw logits because they were left on the back end."""
        place = self._place(index)
        if place is not None and not self._owners[place][1]:
            raise NoOutputsError(
                f"output {index} has no raw logits: sequence {self._owners[place][0]} is sampled on the back "
                f"end; use sampled_logits(), chain.sample(), or detach the chain (set_sampler(seq_id, None))"
            )

    def check_all_raw(self) -> None:
        """Raise if any output has no raw logits."""
        for place in range(len(self._owners)):
            self.check_raw(place - len(self._owners))

    def offer(self, ctx: Any, index: int) -> Offer:
        """Return what the back end has made of an output.

        Raises:
            NoOutputsError: nothing was sampled there.
        """
        place = self._place(index)
        owner = None if place is None or not self._read else self._owners[place][0]
        if place is None or owner is None:
            raise NoOutputsError(
                f"nothing was sampled at {index}: attach a chain to its sequence before the decode "
                f"(set_sampler), and mark the token with logits=True"
            )
        lib, row = self._lib, place - len(self._owners)
        return Offer(
            owner,
            int(lib.llama_get_sampled_token_ith(ctx, row)),
            lib.llama_get_sampled_candidates_ith(ctx, row),
            lib.llama_get_sampled_logits_ith(ctx, row),
            int(lib.llama_get_sampled_logits_count_ith(ctx, row)),
            lib.llama_get_sampled_probs_ith(ctx, row),
            int(lib.llama_get_sampled_probs_count_ith(ctx, row)),
            int(lib.llama_get_sampled_candidates_count_ith(ctx, row)),
        )

    def _place(self, index: int) -> int | None:
        if index >= 0:
            return self._places.get(index)
        return index + len(self._owners) if index + len(self._owners) >= 0 else None


class SamplingDecoder:
    """A context's decoder from the first chain that is attached on."""

    __slots__ = ("_inner", "_sampling")

    def __init__(self, inner: Decoder, sampling: BackendSampling) -> None:
        self._inner = inner
        self._sampling = sampling

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def decode(self, ctx: Any, batch: Batch) -> None:
        """Decode a batch."""
        self._sampling.around(self._inner.decode, ctx, batch)

    def encode(self, ctx: Any, batch: Batch) -> None:
        """Run the encoder over a batch."""
        self._sampling.around(self._inner.encode, ctx, batch)

    def process(self, ctx: Any, batch: BatchExt, *, encoding: bool) -> None:
        """Make a call with a batch of C's own kind."""
        call = functools.partial(self._inner.process, encoding=encoding)
        self._sampling.around(call, ctx, batch)


class SamplesOnBackend:
    """The methods of a context that sample on the back end."""

    __slots__ = ()

    if TYPE_CHECKING:  # the context has them
        _decoder: Any
        _ffi: Any
        _handle: Handle
        _lib: Any
        _outputs: Outputs
        n_seq_max: int

    def set_sampler(self, seq_id: SupportsIndex, chain: SamplerChain | None) -> None:
        """Let a chain sample a sequence on the back end, as part of each decode; None ends it.

        What the back end has operations for runs there, from the chain's first sampler on: logit_bias,
        penalties, top_k, top_p, min_p, temp, temp_ext, and dist or greedy at the end; ``chain.names`` marks
        them with "+". The rest runs in ``chain.sample(ctx, i)``, as before. Outputs of the sequence have no
        raw logits then.

        C: llama_set_sampler

        Arguments:
            seq_id: the sequence, 0 to n_seq_max - 1. A batch may have n_outputs_max_per_seq outputs
                of it, to be sampled in their order.
            chain: stays yours; it is busy during a decode, nothing can be added to it or removed, and it
                serves only this sequence of this context. Once it is taken off, only its ``clone()`` can be
                used.

        Raises:
            SamplerError: the chain is empty, was attached before, was made for another vocabulary, or would
                do something else on the back end than on the CPU (the message says what).
            BorrowedError: a borrowed view exists; the outputs would be laid out anew.
            UnsupportedError: the model is split by tensors.
            SequenceRangeError, ArgumentTypeError, ClosedError, ConsumedError, BusyError.

        Threads: one call at a time on the context and on the chain.
        """
        sequence = check.sequence(seq_id, self.n_seq_max)
        if chain is not None:
            check.instance("chain", chain, SamplerChain)
        outputs = self._outputs
        with self._handle as ctx, logs.capture():
            outputs.borrows.refuse_move("another sampler")
            outputs.switch_embeddings(outputs.embeddings_enabled)  # the outputs will be laid out anew
            sampling = outputs.sampling
            if sampling is None:
                if chain is None:
                    return
                sampling = outputs.sampling = BackendSampling(self._ffi, self._lib, outputs.n_vocab)
                self._decoder = SamplingDecoder(self._decoder, sampling)
            self._decoder.unsettle()
            if chain is None:
                sampling.detach(self._handle, ctx, sequence)
            else:
                sampling.attach(self._handle, ctx, sequence, chain)

    def sampled_token(self, i: SupportsIndex = -1) -> int | None:
        """Return the token that the back end has sampled; nothing is accepted, ``chain.sample`` does that.

        C: llama_get_sampled_token_ith

        Arguments:
            i: the token's index in the batch, or -1 for the last output, -2 for the one before …

        Returns:
            the token's id, None if the chain doesn't select on the back end.

        Raises:
            NoOutputsError: nothing was sampled there.
            ClosedError, BusyError.

        Threads: one call at a time.
        """
        token = self._offer(i)[0].token
        return None if token < 0 else token

    def sampled_candidates(self, i: SupportsIndex = -1) -> NDArray[np.int32]:
        """Return the tokens that the back end has left, in the order of their logits and probabilities.

        C: llama_get_sampled_candidates_ith, llama_get_sampled_candidates_count_ith

        Arguments:
            i: as for :meth:`sampled_token`.

        Returns:
            (n,) int32, a copy.

        Raises:
            NoOutputsError: nothing was sampled there.
            ClosedError, BusyError.

        Threads: one call at a time.
        """
        offer, _ctx = self._offer(i)
        return arrays.int32_to_numpy(self._ffi, offer.ids, offer.n_logits or offer.n_probs)

    def sampled_logits(self, i: SupportsIndex = -1) -> NDArray[np.float32]:
        """Return the logits that the back end has left; -inf for a token that was dropped in its place.

        C: llama_get_sampled_logits_ith, llama_get_sampled_logits_count_ith

        Arguments:
            i: as for :meth:`sampled_token`.

        Returns:
            (n,) float32, a copy, in the order of :meth:`sampled_candidates`.

        Raises:
            NoOutputsError: nothing was sampled there.
            ClosedError, BusyError.

        Threads: one call at a time.
        """
        offer, _ctx = self._offer(i)
        return arrays.floats_to_numpy(self._ffi, offer.logits, offer.n_logits)

    def sampled_probs(self, i: SupportsIndex = -1) -> NDArray[np.float32]:
        """Return the probabilities that the back end has drawn a token from.

        C: llama_get_sampled_probs_ith, llama_get_sampled_probs_count_ith

        Arguments:
            i: as for :meth:`sampled_token`.

        Returns:
            (n,) float32, a copy, in the order of :meth:`sampled_candidates`.

        Raises:
            NoOutputsError: nothing was sampled there, or the chain draws nothing on the back end.
            ClosedError, BusyError.

        Threads: one call at a time.
        """
        offer, _ctx = self._offer(i)
        if not offer.n_probs:
            raise NoOutputsError(f"the back end has computed no probabilities at {i}: add dist to the chain")
        return arrays.floats_to_numpy(self._ffi, offer.probs, offer.n_probs)

    def _offer(self, i: SupportsIndex) -> tuple[Offer, Any]:
        """Return what there is, and what keeps its memory alive."""
        index = check.integer("i", i)
        with self._handle as ctx:
            sampling = self._outputs.sampling
            if sampling is None:
                raise NoOutputsError(
                    "no chain is attached to this context; set_sampler(seq_id, chain) attaches one"
                )
            return sampling.offer(ctx, index), ctx
