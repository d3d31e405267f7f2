"""Checks that can be switched off, one by one, to see that the fuzzer finds again what they stand before.

A switch lets one condition through: the check runs, and only the error that says this is swallowed. Where
another layer stands behind and catches the same, it is switched off as well; ``both`` says which.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import llama_ffi as lf
from llama_ffi import backend_sampling, context, context_adapters, context_params, decoding, limits, outputs
from llama_ffi._core import busy, candidates, check, handle, vocab_checks
from llama_ffi.sampler import base, chain, choosing

DIES = "Fatal Python error"
"""What a process says when it dies of a signal."""


@dataclass(frozen=True)
class Switch:
    """One check."""

    turn: Callable[[], None]
    """switches it off in this process, before anything is called"""
    only: str
    """the calls that lead to it: the fuzzer stays with them, or it would take more calls than CI has"""
    says: str
    """a pattern: what the guard's error says, by which this killer is known among others"""
    killers: tuple[str, ...] = ()
    """names in tests/lifetime/killers.py"""
    guard: bool = True
    """the guard can catch it: it is an assertion or an exception on the calling thread"""
    budget: int = 1
    """so many times the usual number of calls"""
    race: bool = False
    """it takes two threads at the wrong moment: not every run finds it"""
    dies: str = DIES
    """a pattern: what the process says when it dies of this one"""
    both: str = ""
    """what else is off, and why"""


def let_through(owner: Any, name: str, words: str, instead: Callable[..., Any] | None = None) -> None:
    """Make the function ``owner.name`` swallow errors that say ``words``; ``instead`` gives its result."""
    plain = getattr(owner, name)

    def lenient(*args: Any, **kwargs: Any) -> Any:
        try:
            return plain(*args, **kwargs)
        except lf.LlamaError as error:
            if not re.search(words, str(error)):
                raise
            return None if instead is None else instead(*args, **kwargs)

    setattr(owner, name, lenient)


def nothing(*_args: Any, **_kwargs: Any) -> None:
    """Stand in for a check."""


def _decoding(words: str) -> Callable[[], None]:
    return lambda: let_through(decoding, "check", words)


def _sequences() -> None:
    let_through(check, "sequence", "the sequences are", lambda value, *_args, **_kwargs: int(value))


def _streams() -> None:
    real = context.Shape
    context.Shape = lambda **facts: real(**facts | {"separate_streams": False})


def _shifts() -> None:
    lf.Memory._check_shift = nothing


def _widths() -> None:
    limits._unreadable = lambda model: ""


def _tokens() -> None:
    let_through(check, "token", "the vocabulary has the ids", lambda value, *_args, **_kwargs: int(value))


def _texts() -> None:
    vocab_checks.TextChecks.text = nothing


def _layers() -> None:
    lf.Model._has_layers = lambda self, pointer: True


def _rows() -> None:
    plain, kept = outputs.Outputs.row, []

    def row(self: Any, ctx: Any, index: int) -> Any:
        try:
            return plain(self, ctx, index)
        except lf.LlamaError:
            kept.append(lf.raw.ffi.new("float[]", self.n_vocab))
            return kept[-1], index

    outputs.Outputs.row = row


def _selection() -> None:
    plain = lf.SamplerChain._plan

    def plan(self: Any) -> None:
        plain(self)
        self._plain = choosing.SELECTS

    lf.SamplerChain._plan = plan


def _grammars() -> None:
    candidates.Question.allows = lambda self, grammar, token, **kwargs: True


def _order() -> None:
    plain, lf.SamplerChain._check_order = lf.SamplerChain._plan, nothing

    def plan(self: Any) -> None:
        plain(self)
        if any(member.kind.selects for member in self._members):
            self._plain = choosing.SELECTS

    lf.SamplerChain._plan = plan


def _alike() -> None:
    lf.SamplerChain._check_alike = nothing


def _clones() -> None:
    base.check_clonable = chain.check_clonable = nothing


def _null() -> None:
    def begin(self: Any, pointer: Any, kind: Any = None, *, keep: Any = ()) -> None:
        self._kind = base.Kind("custom", foreign=True) if kind is None else kind
        self._handle = base.Handle(
            lf.raw.ffi, pointer, lf.raw.lib.llama_sampler_free, "sampler", keep=keep, exclusive=True
        )

    base.Base.__init__ = begin


def _back_ends() -> None:
    let_through(backend_sampling, "check_offload", "would be the third")


def _adapters() -> None:
    let_through(
        context_adapters, "_pair", "loaded for another model", lambda _model, pair: (pair[0], float(pair[1]))
    )


def _parameters() -> None:
    let_through(context_params, "_check_together", "n_seq_max is")


def _pooling_plan() -> None:
    context_params._check_pooling = nothing


def _cache() -> None:
    def kind(active: Any, name: str, value: str, _head_dim: int) -> Any:
        return check.choice(name, value, {each.lower(): kind for each, kind in _types(active)})

    context_params._cache_type = kind


def _types(active: Any) -> list[tuple[str, Any]]:
    return [(name, kind) for name, kind in context_params.members(active, "ggml_type").items()]


def _division() -> None:
    let_through(check, "integer", "^d is", lambda _name, value, *_args, **_kwargs: int(value))


def _training() -> None:
    let_through(lf.Trainer, "_check", "outside of the vocabulary")


def _threads() -> None:
    """Let any number of threads into any object."""

    class Open:
        def _is_owned(self) -> bool:
            return False

        def acquire(self, *_args: Any) -> bool:
            return True

        def release(self) -> None:
            pass

    def begin(self: Any) -> None:
        self.rlock = Open()

    busy.BusyLock.__init__ = begin


def _closed() -> None:
    """Let closed objects be used: their C object is gone."""

    def end(self: Any, state: Any, why: str) -> None:
        pointer, self._state = self._pointer, state
        if pointer is None:
            return
        ffi = lf.raw.ffi
        self._pointer = ffi.cast(ffi.typeof(pointer), int(ffi.cast("uintptr_t", pointer)))

    handle.Handle._end = end


SWITCHES: dict[str, Switch] = {
    "n_batch": Switch(
        _decoding("the context takes n_batch="),
        "Context.decode,Context.process",
        "n_tokens_all <= cparams.n_batch",
        ("more_than_n_batch",),
    ),
    "n_ubatch": Switch(
        _decoding("without causal attention"),
        "Context.decode,Context.set_causal_attn",
        "llama_decode.*n_ubatch >= n_tokens_all",
        ("not_causal_over_n_ubatch",),
    ),
    "n_ubatch of encoders": Switch(
        _decoding("without causal attention"),
        "Context.encode",
        "llama_encode.*n_ubatch >= n_tokens",
        ("encode_over_n_ubatch",),
    ),
    "n_outputs": Switch(_decoding("the batch wants .* outputs"), "Context.decode", "llama_decode.*n_outputs"),
    "learned positions": Switch(_decoding("has learned the positions"), "Context.decode", "llama_decode"),
    "encoder first": Switch(_decoding("needs encode"), "Context.decode", "llama_decode"),
    "sequences": Switch(
        _sequences,
        "Memory.seq_rm,Memory.seq_keep,Memory.seq_cp,Memory.seq_pos_max",
        "seq_id",
        ("sequence_beyond_all",),
    ),
    "streams": Switch(_streams, "Memory.seq_cp", "llama_memory_seq_cp", ("part_of_a_stream_copied",)),
    "shifts": Switch(_shifts, "Memory.seq_add,Memory.seq_div", "llama_decode"),
    "widths": Switch(_widths, "embed", "llama_decode"),
    "tokens": Switch(_tokens, "Vocab.piece,Vocab.score,Vocab.text", ".", ("token_beyond_the_vocabulary",)),
    "texts": Switch(_texts, "Vocab.tokenize", "llama_tokenize"),
    "layers": Switch(
        _layers, "Model.n_head,Model.n_head_kv", "llama_model_n_head", ("layer_of_a_vocabulary",)
    ),
    "rows": Switch(_rows, "SamplerChain.sample", "llama_sampler_sample", ("row_without_logits",)),
    "selection": Switch(
        _selection,
        "SamplerChain.sample",
        "llama_sampler_sample",
        ("chain_without_samplers", "chain_that_selects_nothing"),
    ),
    "grammars": Switch(
        _grammars, "SamplerChain.accept", "llama_sampler_accept", ("token_that_the_grammar_refuses",)
    ),
    "order": Switch(
        _order,
        "SamplerChain.sample",
        "llama_sampler_sample threw",
        ("grammar_behind_dist",),
        dies="after throwing|empty grammar",
        both="what looks at a selection before it is accepted: it catches every order",
    ),
    "copied states": Switch(_alike, "SamplerChain.copy_state", "llama_sampler_copy"),
    "clones": Switch(
        _clones,
        "Sampler,Sampler.clone,SamplerChain.clone",
        "llama_sampler_clone",
        ("clone_of_a_sampler_without_clone",),
    ),
    "NULL": Switch(
        _null, "Sampler,Sampler.name,Sampler.seed,Sampler.reset", "", ("null_sampler",), guard=False
    ),
    "back ends": Switch(_back_ends, "Context.set_sampler", "llama_set_sampler|llama_decode"),
    "adapters": Switch(_adapters, "Context.set_loras", "llama_decode|llama_set_adapters"),
    "parameters": Switch(
        _parameters,
        "Model.context",
        "",
        ("more_sequences_than_outputs",),
        guard=False,
        both="the guard: libllama turns what it throws into NULL, which is an error",
    ),
    "pooling's plan": Switch(_pooling_plan, "Model.context", "", guard=False, both="the guard, likewise"),
    "cache types": Switch(_cache, "Model.context", "", guard=False, both="the guard, likewise"),
    "division": Switch(_division, "Memory.seq_div", "", ("division_of_positions_by_zero",), guard=False),
    "training": Switch(_training, "Trainer.train", "", guard=False),
    "threads": Switch(_threads, "Context.encode", "", guard=False, budget=4, race=True),
    "closed": Switch(_closed, "Context.close,Context.decode,Context.logits", "", guard=False),
}
