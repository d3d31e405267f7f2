"""What a context can take: facts about its model before it is made, and C's own answers afterwards."""

from __future__ import annotations

from typing import Any

from ._core.binding import Binding
from .context_params import ModelFacts
from .errors import ContextCreateError
from .model import Model

_WITHOUT_LOGITS = frozenset({
    *("bert", "eurobert", "gemma-embedding", "jina-bert-v2", "jina-bert-v3", "llama-embed", "modern-bert"),
    *("neo-bert", "nomic-bert", "nomic-bert-moe", "t5encoder", "wavtokenizer-dec"),
})  # fmt: skip
"""Architectures whose graphs end in embeddings; tests/model/matrix compares it with what C does."""
_WIDTH_OF_THEIR_OWN = frozenset({"lfm2", "lfm2moe", "wavtokenizer-dec"})
"""Architectures whose graphs end in a matrix to n_embd_out."""
NO_LIMIT = 2**31
"""A position limit that no position reaches."""


class Limits:
    """What a context can take, as C reports it."""

    __slots__ = (
        "causal",
        "couples_embeddings",
        "encodes",
        "encodes_first",
        "has_memory",
        "keeps_all",
        "n_batch",
        "n_ctx",
        "n_ctx_seq",
        "n_embd_inp",
        "n_outputs_max",
        "n_pos",
        "n_rs_seq",
        "n_seq_max",
        "n_ubatch",
        "n_vocab",
        "no_both",
        "no_embeddings",
        "no_logits",
        "pooled",
        "position_limit",
        "separate_streams",
        "unreadable",
    )

    causal: bool
    """a token sees only what comes before it"""
    couples_embeddings: bool
    """an embedding can belong to several sequences"""
    encodes: bool
    """there is an encoder"""
    encodes_first: bool
    """the encoder must have run before the first decode"""
    has_memory: bool
    keeps_all: bool
    """a part of a sequence can be taken out of the memory again: no recurrent state"""
    n_batch: int
    n_ctx: int
    n_ctx_seq: int
    n_embd_inp: int
    n_outputs_max: int
    n_pos: int
    """positions that C reads per embedding"""
    n_rs_seq: int
    n_seq_max: int
    n_ubatch: int
    n_vocab: int
    no_both: bool
    """a token that has an embedding as well kills C"""
    no_embeddings: str
    """why embeddings as input aren't taken; "" = they are"""
    no_logits: bool
    """the model ends before logits: C gives zeros"""
    pooled: str
    """name of the pooling type"""
    position_limit: int
    separate_streams: bool
    """sequences don't share their memory"""
    unreadable: str
    """why C can't read embeddings; "" = it can"""


def read(
    active: Binding, model: Model, context: Any, n_outputs_max: int, kv_unified: bool, mtp: bool
) -> Limits:
    """Ask C about the context it has made: what was asked for need not be what there is."""
    lib, pooling = active.lib, active.enum("llama_pooling_type")
    limits = Limits()
    limits.causal = bool(lib.llama_get_causal_attn(context))
    limits.encodes = model.has_encoder
    limits.encodes_first = model.has_encoder and model.has_decoder
    limits.has_memory = lib.llama_get_memory(context) != active.NULL
    limits.keeps_all = not (model.is_recurrent or model.is_hybrid)
    limits.n_batch = int(lib.llama_n_batch(context))
    limits.n_ctx = int(lib.llama_n_ctx(context))
    limits.n_ctx_seq = int(lib.llama_n_ctx_seq(context))
    limits.n_embd_inp = model.n_embd_inp
    limits.n_pos = 4 if "MROPE" in model.rope_type.name else 1
    limits.couples_embeddings = model.arch != "deepseek4"  # throws
    limits.no_both = model.arch == "gemma3n"  # its second input for tokens has no room for the embedding
    limits.no_embeddings = _no_embeddings(model, mtp)
    limits.no_logits = model.arch in _WITHOUT_LOGITS
    limits.n_outputs_max = n_outputs_max if n_outputs_max and not model.has_encoder else limits.n_batch
    limits.n_rs_seq = int(lib.llama_n_rs_seq(context))
    limits.n_seq_max = int(lib.llama_n_seq_max(context))
    limits.n_ubatch = int(lib.llama_n_ubatch(context))
    limits.n_vocab = model.vocab.n_tokens
    pooled = int(lib.llama_pooling_type(context))
    try:
        limits.pooled = pooling(pooled).name
    except ValueError:
        raise ContextCreateError(
            f"the model's metadata want pooling type {pooled}, which libllama doesn't have; choose one with "
            f"pooling_type"
        ) from None
    limits.position_limit = _position_limit(model)
    limits.separate_streams = not kv_unified and limits.n_seq_max > 1
    limits.unreadable = _unreadable(model) if limits.pooled != "RANK" else ""
    return limits


def _unreadable(model: Model) -> str:
    """Return why C can't read the model's embeddings, which it takes to be n_embd_out wide; "" = it can."""
    wanted, made = model.n_embd_out, model.n_embd
    if wanted == made or model.arch in _WIDTH_OF_THEIR_OWN:
        return ""
    return (
        f"embeddings of {model.arch!r} models can't be read: this one makes {made} floats for a token, and "
        f"llama.cpp reads {wanted} (n_embd_out)"
    )


def _no_embeddings(model: Model, mtp: bool) -> str:
    if mtp:
        return "a context for MTP takes hidden states of its target model"
    if model.arch in ("dflash", "eagle3"):
        return f"{model.arch!r} models take features of their target model"
    if model.arch == "graniteswitch":  # asserts
        return "graniteswitch models need the tokens' ids"
    return ""


def facts(model: Model) -> ModelFacts:
    arch, metadata, n_head = model.arch, model.metadata, model.n_head
    usual = model.n_embd // n_head if n_head else 0
    kv_heads = model.n_head_kv
    plain = not (
        model.is_recurrent
        or model.is_hybrid
        or model.n_swa
        or f"{arch}.attention.kv_lora_rank" in metadata
        or f"{arch}.attention.shared_kv_layers" in metadata
        or metadata.get(f"{arch}.attention.causal") == "false"
    )
    return ModelFacts(
        arch=arch,
        n_ctx_train=model.n_ctx_train,
        n_layer=model.n_layer,
        head_dim_k=_number(metadata.get(f"{arch}.attention.key_length"), usual),
        head_dim_v=_number(metadata.get(f"{arch}.attention.value_length"), usual),
        n_head_kv=kv_heads,
        plain_cache=plain
        and arch in ("llama", "qwen2", "qwen3", "phi3", "gemma", "mistral3", "starcoder2", "gpt2"),
        pooling=_pooling(model),
        has_encoder=model.has_encoder,
        size=model.size,
        no_alloc=model.no_alloc,
        unreadable=_unreadable(model),
    )


def _position_limit(model: Model) -> int:
    """Return where positions end for models that have learned an embedding of each; beyond it C asserts."""
    arch = model.arch
    if arch == "mpt" and _number(model.metadata.get("mpt.attention.max_alibi_bias"), 0):
        return NO_LIMIT
    return model.n_ctx_train if arch in ("bert", "gpt2", "mpt", "starcoder") else NO_LIMIT


def _pooling(model: Model) -> int:
    key = f"{model.arch}.pooling_type"
    changed = model._changes.get(key)
    wanted = changed if isinstance(changed, int) else _number(model.metadata.get(key), 0)
    return wanted - 2**32 if wanted >= 2**31 else wanted  # files that llama.cpp saved have -1 in 32 bits


def _number(text: str | None, default: int) -> int:
    try:
        return default if text is None else int(float(text))
    except ValueError:
        return default
