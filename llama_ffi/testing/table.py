"""What each architecture of llama.cpp needs beyond the keys that all of them get.

The names are those of llama.cpp's own list. A row says which sizes its network can't do without (so many
layers for one of each kind), which vocabulary it has, and which further keys describe it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from . import keys as k
from .keys import Metadata, Sizes

Keys = Callable[[Sizes], Metadata]


@dataclass(frozen=True)
class Row:
    """What is special about one architecture."""

    vocab: str = "spm"
    sizes: Mapping[str, int] = field(default_factory=dict)
    keys: tuple[Keys, ...] = ()
    drop: tuple[str, ...] = ()
    """ends of names of optional tensors that must not be there: libllama makes them in memory, so that such
    a model takes a file"""


def _row(*keys: Keys, vocab: str = "spm", drop: tuple[str, ...] = (), **sizes: int) -> Row:
    return Row(vocab, sizes, keys, drop)


def _moe(*keys: Keys, vocab: str = "spm", **sizes: int) -> Row:
    return Row(vocab, {"n_expert": 4, **sizes}, keys)


def _fixed(**named: Any) -> Keys:
    """Return fixed keys; in their names ``__`` stands for a dot."""
    return lambda _: {name.replace("__", "."): value for name, value in named.items()}


_PLAIN = """
llama deci baichuan xverse command-r olmo openelm internlm2 minicpm plamo orion gemma
gemma2 starcoder2 chatglm glm4 nemotron exaone exaone4 granite bitnet arcee smollm3
hunyuan-dense hunyuan_vl ernie4_5 seed_oss pangu-embedded mistral3 paddleocr maincoder talkie
nanbeige llama-embed llada dream cogvlm stablelm jais2 pockettts mamba mamba2 falcon-h1
"""
_PLAIN_BPE = """
falcon gpt2 gptneox mpt starcoder refact bloom qwen qwen2 qwen2vl qwen3 qwen3vl phi2 phi3 codeshell
jais
"""
_PLAIN_WPM = """
bert modern-bert nomic-bert neo-bert jina-bert-v3 eurobert
"""
_EXPERTS = """
grok dbrx arctic deepseek bailingmoe bailingmoe2 laguna ernie4_5-moe hunyuan-moe
hy_v3 smallthinker llada-moe grovemoe minimax-m2 rnd1 granitemoe
"""
_EXPERTS_BPE = """
qwen2moe qwen3moe qwen3vlmoe phimoe glm4moe gpt-oss
"""

ROWS: dict[str, Row] = {
    **{name: _row() for name in _PLAIN.split()},
    **{name: _row(vocab="bpe") for name in _PLAIN_BPE.split()},
    **{name: _row(vocab="wpm") for name in _PLAIN_WPM.split()},
    **{name: _moe() for name in _EXPERTS.split()},
    **{name: _moe(vocab="bpe") for name in _EXPERTS_BPE.split()},
    # attention with sizes of its own
    "olmoe": _moe(k.all_heads),
    "dots1": _moe(k.all_heads),
    "deepseek2-ocr": _moe(k.all_heads),
    "minicpm3": _row(k.own_head_sizes),
    "jina-bert-v2": _row(k.all_heads, vocab="wpm"),
    "nomic-bert-moe": _moe(vocab="wpm"),
    "chameleon": _row(k.all_heads, n_vocab=8200),  # 4 to 8195 are pictures, and masked
    "qwen3tts": _row(k.all_heads, vocab="bpe", n_vocab=3072),  # as many outputs as its codec has
    "apertus": _row(_fixed(xielu__alpha_n=1.0, xielu__alpha_p=1.0, xielu__beta=1.0, xielu__eps=1e-6)),
    "hrm_text": _row(_fixed(hrm__layers_per_stack=1, hrm__h_cycles=2, hrm__l_cycles=2), n_layer=6),
    "graniteswitch": _row(
        _fixed(
            adapters__count=2,
            adapters__lora_rank=4,
            adapters__token_ids_activate=[5, 6],
            adapters__token_ids_substitute=[7, 8],
        )
    ),
    # encoder and decoder
    "t5": _row(k.all_heads, _fixed(decoder_start_token_id=0), vocab="ugm"),
    "t5encoder": _row(k.all_heads, vocab="ugm"),
    "wavtokenizer-dec": _row(k.vocoder),
    # sliding windows
    "gemma3": _row(n_layer=6),
    "gemma-embedding": _row(n_layer=6),
    "cohere2": _row(n_layer=4),
    "olmo2": _row(n_layer=4),
    "muse-glimmer": _row(k.every_second_slides),
    "plamo3": _row(n_layer=8),
    "gemma3n": _row(n_layer=22),  # from layer 20 on the cache of earlier ones is used
    "afmoe": _moe(n_layer=4),
    "exaone-moe": _moe(n_layer=4),
    "mellum": _moe(n_layer=4),
    "llama4": _moe(n_layer=4),
    "gemma4": _row(
        k.every_second_slides,
        _fixed(
            embedding_length_per_layer_input=16, attention__key_length_swa=16, attention__value_length_swa=16
        ),
    ),
    "granite_swa": _row(k.every_second_slides),
    "spark2_5": _row(k.every_second_slides),
    "cohere2moe": _moe(k.every_second_slides),
    "mimo2": _moe(k.every_second_slides),
    "step35": _moe(k.every_second_slides),
    "maple": _moe(k.every_second_slides, _fixed(swiglu_clamp_exp=7.0)),
    # recurrent; ggml's kernels want heads of a multiple of 64
    "rwkv6": _row(k.no_heads, k.rwkv_heads, vocab="rwkv", n_embd=128, n_head=2),
    "rwkv7": _row(k.no_heads, k.rwkv_heads, vocab="rwkv", n_embd=128, n_head=2),
    "rwkv6qwen2": _row(
        k.rwkv_heads,
        _fixed(token_shift_count=1),
        vocab="bpe",
        drop=("time_mix_first.weight",),
        n_embd=128,
        n_head=2,
    ),
    "arwkv7": _row(k.rwkv_heads, _fixed(token_shift_count=1), vocab="bpe", n_embd=128, n_head=2),
    # hybrids
    "jamba": _row(k.every_second_recurrent),
    "plamo2": _row(k.every_second_recurrent, _fixed(ssm__group_count=0)),
    "granitehybrid": _row(k.every_second_recurrent),
    "lfm2": _row(k.every_second_recurrent, _fixed(attention__sliding_window=0)),
    "lfm2moe": _moe(k.every_second_recurrent),
    "nemotron_h": _row(k.attention_recurrent_feed_forward, n_layer=3),
    "nemotron_h_moe": _moe(k.attention_recurrent_feed_forward, n_layer=3),
    "minimax-01": _moe(),
    "qwen3next": _moe(k.gated_delta, vocab="bpe"),
    "qwen35": _row(k.gated_delta, vocab="bpe"),
    "qwen35moe": _moe(k.gated_delta, vocab="bpe"),
    "qwen4exp": _moe(k.gated_delta, k.indexer, k.hyper_connections, vocab="bpe"),
    # attention over a latent
    "plm": _row(k.own_head_sizes),  # decodes with n_ubatch=1 only: llama.cpp stores all values as one row
    "deepseek2": _moe(k.latent),
    "mistral4": _moe(k.latent),
    "deepseek32": _moe(k.latent, k.indexer),
    "glm-dsa": _moe(k.latent, k.indexer),
    "dots3note": _moe(
        k.latent,
        k.latent_sliding,
        k.every_second_slides,
        k.indexer,
        lambda s: {"attention.indexer.types": s.alternate(0, 1)},
    ),
    "hy_v4": _moe(
        k.latent, k.indexer, k.hyper_connections, lambda s: {"attention.indexer.types": s.alternate(1, 0)}
    ),
    "minimax-m3": _moe(k.indexer, lambda s: {"attention.indexer.head_count": s.n_head_kv}),
    "kimi-linear": _moe(k.latent, k.delta_attention),
    "bailingmoe3": _moe(k.latent, k.delta_attention),
    "kimi-k3": _moe(
        k.latent,
        k.delta_attention,
        _fixed(attn_res__block_size=12, activation__situ_beta=4.0, activation__situ_linear_beta=25.0),
    ),
    "glm5-next": _moe(
        k.latent,
        k.delta_attention,
        k.indexer,
        k.hyper_connections,
        _fixed(rope__dimension_count=0, attention__key_length=32),
    ),
    "deepseek4": _moe(
        k.indexer,
        k.hyper_connections,
        _fixed(
            attention__head_count_kv=1,
            attention__key_length=16,
            attention__value_length=16,
            rope__dimension_count=8,
            attention__compress_ratios=[0, 0, 4, 128],
            attention__compress_rope_freq_base=160000.0,
            attention__output_group_count=4,
            attention__output_lora_rank=8,
            expert_gating_func=4,
            expert_weights_scale=1.0,
            expert_weights_norm=True,
            swiglu_clamp_exp=10.0,
            hash_layer_count=0,
        ),
        n_layer=4,
    ),
}

NOT_MADE: dict[str, str] = {
    "clip": "it is a projector for pictures, which llama.cpp doesn't take as a model",
    "gptj": "llama.cpp knows the name only; it has no code for it",
    "gemma4-assistant": "it drafts from another model's memory and can't run alone",
    "eagle3": "it drafts from another model's hidden states and can't run alone",
    "dflash": "it drafts from another model's hidden states and can't run alone",
}
"""Architectures that no model can be made of, and why."""

VARIANTS: dict[str, tuple[str, dict[str, int], Metadata]] = {
    "llama-moe": ("llama", {"n_expert": 4}, {}),
    "reranker": (
        "bert",
        {},
        {"bert.pooling_type": 4, "bert.classifier.output_labels": ["relevance"]},
    ),
    "classifier": (
        "bert",
        {},
        {"bert.pooling_type": 4, "bert.classifier.output_labels": ["bad", "fair", "good"]},
    ),
}
"""Further names: of which architecture they are, sizes, and metadata."""
