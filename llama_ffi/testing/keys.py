"""Metadata of networks, in groups: which keys a kind of layer needs, computed from the network's sizes.

Keys are without the architecture's name in front.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Metadata = dict[str, Any]


@dataclass(frozen=True)
class Sizes:
    """The sizes of a network."""

    n_layer: int = 2
    n_embd: int = 64
    n_head: int = 4
    n_head_kv: int = 2
    n_ff: int = 96
    n_ctx_train: int = 512
    n_vocab: int | None = None
    n_expert: int = 0
    n_expert_used: int = 2
    n_swa: int = 32

    @property
    def head(self) -> int:
        """Return the width of one attention head."""
        return self.n_embd // self.n_head

    def alternate(self, first: int, second: int) -> list[int]:
        """Return a value for each layer, ``first`` and ``second`` in turn."""
        return [second if layer % 2 else first for layer in range(self.n_layer)]


def common(s: Sizes) -> Metadata:
    """Return the keys that every architecture gets; each reads those that it knows."""
    return {
        "context_length": s.n_ctx_train,
        "embedding_length": s.n_embd,
        "features_length": s.n_embd,
        "block_count": s.n_layer,
        "feed_forward_length": s.n_ff,
        "attention.head_count": s.n_head,
        "attention.head_count_kv": s.n_head_kv,
        "attention.layer_norm_epsilon": 1e-5,
        "attention.layer_norm_rms_epsilon": 1e-5,
        "attention.group_norm_epsilon": 1e-5,
        "attention.group_norm_groups": 4,
        "attention.clamp_kqv": 8.0,
        "attention.sliding_window": s.n_swa,
        "attention.relative_buckets_count": 8,
        "attention.q_lora_rank": 32,
        "attention.kv_lora_rank": 32,
        "attention.decay_lora_rank": 8,
        "attention.iclr_lora_rank": 8,
        "attention.value_residual_mix_lora_rank": 8,
        "attention.gate_lora_rank": 8,
        "rope.dimension_sections": [s.head // 8] * 4,
        "use_parallel_residual": True,
        "logit_scale": 0.5,
        "residual_scale": 0.5,
        "full_attention_interval": 2,
        "ssm.conv_kernel": 4,
        "ssm.inner_size": 2 * s.n_embd,
        "ssm.state_size": 16,
        "ssm.time_step_rank": s.n_head,
        "ssm.group_count": 1,
        "time_mix_extra_dim": 8,
        "time_decay_extra_dim": 8,
        "shortconv.l_cache": 3,
        **(experts(s) if s.n_expert else {}),
    }


def experts(s: Sizes) -> Metadata:
    """Return the keys of a mixture of experts."""
    return {
        "expert_count": s.n_expert,
        "expert_used_count": s.n_expert_used,
        "expert_feed_forward_length": s.n_ff // 2,
        "expert_shared_count": 1,
        "expert_shared_feed_forward_length": s.n_ff // 2,
        "expert_gating_func": 1,
        "expert_group_scale": 1.0,
        "experts_per_group": 1,
        "leading_dense_block_count": 1,
        "interleave_moe_layer_step": 2,
        "moe_every_n_layers": 2,
    }


def all_heads(s: Sizes) -> Metadata:
    """Return the keys of as many key and value heads as query heads."""
    return {"attention.head_count_kv": s.n_head}


def every_second_recurrent(s: Sizes) -> Metadata:
    """Return the keys of layers with attention and layers with a state, in turn."""
    return {
        "attention.head_count": s.alternate(s.n_head, 0),
        "attention.head_count_kv": s.alternate(s.n_head_kv, 0),
    }


def every_second_slides(s: Sizes) -> Metadata:
    """Return the keys of layers with a sliding window and layers without, in turn."""
    return {"attention.sliding_window_pattern": s.alternate(1, 0), "rope.freq_base_swa": 10000.0}


def no_heads(s: Sizes) -> Metadata:
    """Return the keys of a network without attention."""
    return {"attention.head_count": 0, "attention.head_count_kv": 0}


def rwkv_heads(s: Sizes) -> Metadata:
    """Return the width of RWKV's heads."""
    return {"wkv.head_size": s.head}


def own_head_sizes(s: Sizes) -> Metadata:
    """Return the keys of heads whose keys are wider than their values, partly rotated."""
    return {
        "attention.key_length": 24,
        "attention.value_length": 16,
        "rope.dimension_count": 8,
        "attention.head_count_kv": s.n_head,
    }


def latent(s: Sizes) -> Metadata:
    """Return the keys of attention over a latent of 32 values and 8 rotated ones."""
    return {
        "attention.head_count_kv": 1,
        "attention.key_length": 40,
        "attention.value_length": 32,
        "attention.key_length_mla": 24,
        "attention.value_length_mla": 16,
        "rope.dimension_count": 8,
    }


def latent_sliding(s: Sizes) -> Metadata:
    """Return the keys of attention over a latent in layers with a sliding window."""
    return {
        "attention.kv_lora_rank_swa": 32,
        "attention.key_length_swa": 40,
        "attention.value_length_swa": 32,
        "attention.key_length_mla_swa": 24,
        "attention.value_length_mla_swa": 16,
    }


def indexer(s: Sizes) -> Metadata:
    """Return the keys of an indexer that chooses what is attended to."""
    return {
        "attention.indexer.head_count": s.n_head,
        "attention.indexer.key_length": 64,
        "attention.indexer.top_k": 2**17,  # all of them: what is chosen doesn't hang on rounding errors
        "attention.indexer.block_size": 4,
        "attention.indexer.local_blocks": 1,
        "attention.indexer.kpool": 4,
        "attention.indexer.kpool_select_tail": True,
    }


def first_indexes(s: Sizes) -> Metadata:
    """Return which layers have an indexer: the first and every second after it."""
    return {"attention.indexer.types": s.alternate(1, 0)}


def second_indexes(s: Sizes) -> Metadata:
    """Return which layers have an indexer: the second and every second after it."""
    return {"attention.indexer.types": s.alternate(0, 1)}


def hyper_connections(s: Sizes) -> Metadata:
    """Return the keys of several residual streams."""
    return {
        "hyper_connection.count": 4,
        "hyper_connection.sinkhorn_iterations": 2,
        "hyper_connection.epsilon": 1e-6,
        "hyper_connection.low_rank": 8,
        "hyper_connection.magnitude": 2.0,
    }


def gated_delta(s: Sizes) -> Metadata:
    """Return the keys of recurrent layers with a gated delta rule."""
    return {"ssm.inner_size": 16 * s.n_head, "ssm.group_count": 2}


def delta_attention(s: Sizes) -> Metadata:
    """Return the keys of layers with attention and layers with delta attention, in turn."""
    return {
        "kda.head_dim": 16,
        "kda.safe_gate": True,
        "kda.gate_lower_bound": -5.0,
        "attention.head_count": s.alternate(s.n_head, 0),
        "attention.head_count_kv": s.alternate(1, 0),
    }


def attention_recurrent_feed_forward(s: Sizes) -> Metadata:
    """Return the keys of layers that have only one part each, three kinds in turn."""
    layers = range(s.n_layer)
    return {
        "attention.head_count": [0 if layer % 3 == 1 else s.n_head for layer in layers],
        "attention.head_count_kv": [0 if layer % 3 else s.n_head_kv for layer in layers],
        "feed_forward_length": [s.n_ff if layer % 3 == 2 else 0 for layer in layers],
    }


def vocoder(s: Sizes) -> Metadata:
    """Return the keys of a network that makes sound."""
    return {
        "posnet.embedding_length": s.n_embd,
        "posnet.block_count": s.n_layer,
        "convnext.embedding_length": s.n_embd,
        "convnext.block_count": s.n_layer,
    }
