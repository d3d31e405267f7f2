"""What a state must fit: the facts about a context that its states carry and are compared with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ._core import binding, fingerprint, state_payload
from .context import Context
from .errors import StateError, UnsupportedError

_MEANING = (
    "type_k",
    "type_v",
    "rope_scaling_type",
    "rope_freq_base",
    "rope_freq_scale",
    "yarn_ext_factor",
    "yarn_attn_factor",
    "yarn_beta_fast",
    "yarn_beta_slow",
    "yarn_orig_ctx",
    "attention_type",
    "ctx_type",
    "swa_full",
    "kv_unified",
)
"""parameters of a context that decide what its keys and values mean, or which of them it keeps"""


def of(ctx: Context) -> dict[str, Any]:
    """Return the facts about ``ctx`` that its states carry."""
    if ctx._memory is None:
        raise UnsupportedError(f"contexts of {ctx.model.arch!r} models have no memory, so they have no state")
    active, model = binding.active(), ctx.model
    return {
        "commit": active.info.commit,
        "state_version": int(active.lib.LLAMA_SESSION_VERSION),
        "arch": model.arch,
        "model": model.desc,
        "fingerprint": _fingerprint(ctx),
        "n_ctx": ctx.n_ctx,
        "n_seq_max": ctx.n_seq_max,
        "n_stream": ctx.n_seq_max if ctx._limits.separate_streams else 1,
        "options": {name: str(ctx._options[name]).lower() for name in _MEANING} | _adapters(ctx),
        "made_by": "llama_ffi",
    }


def check_settled(ctx: Context) -> None:
    """Raise if a copy between sequences is still to be made: libllama would save what was there before it."""
    if ctx.memory.copy_pending:
        raise StateError(
            "seq_cp has copied one sequence to another, which libllama does in earnest at the next decode; "
            "decode something first, or make the context with kv_unified=True"
        )


def limits(ctx: Context, form: state_payload.Form) -> state_payload.Limits:
    """Return what ``ctx`` can take."""
    return state_payload.Limits(ctx.n_seq_max, ctx.n_ctx_seq if form.n_stream > 1 else ctx.n_ctx)


def _fingerprint(ctx: Context) -> str:
    try:
        return ctx.model.fingerprint
    except OSError as error:
        raise StateError(f"the model's file is gone, so it can't be told from others: {error}") from None


def _adapters(ctx: Context) -> dict[str, str]:
    """Return what is applied to the model while ``ctx`` computes."""
    try:
        loras = [f"{fingerprint.of([lora.path], {})[:16]} x {scale}" for lora, scale in ctx.loras]
    except OSError as error:
        raise StateError(
            f"the file of a LoRA adapter is gone, so it can't be told from others: {error}"
        ) from None
    return {"loras": ", ".join(sorted(loras)), "control_vector": ctx._control_vector}


def depends_on_n_ctx(ctx: Context) -> bool:
    """Return whether the model rotates keys by factors that are chosen by the size of the context."""
    return ctx.model.metadata.get(f"{ctx.model.arch}.rope.scaling.type") == "longrope"


def wrong_count(ctx: Context, cells: Mapping[int, tuple[int, int, int]], n_tokens: Mapping[int, int]) -> str:
    """Say which sequence's tokens are not as many as its positions; "" if none."""
    if "MROPE" in ctx.model.rope_type.name:
        return ""  # an image's tokens share positions: there are more tokens than positions
    for sequence, count in n_tokens.items():
        last = cells[sequence][1] if sequence in cells else -1
        if count != last + 1:
            return f"{count} tokens for sequence {sequence}, whose memory ends at position {last}"
    return ""


def summary(parts: Iterable[state_payload.Part], sequence: int | None) -> dict[int, tuple[int, int, int]]:
    """Return sequence → (first position, last position, cells of all parts together)."""
    found: dict[int, tuple[int, int, int]] = {}
    for part in parts:
        for stream in part:
            for cell in stream:
                for owner in cell.sequences if sequence is None else (sequence,):
                    first, last, count = found.get(owner, (cell.position, cell.position, 0))
                    found[owner] = (min(first, cell.position), max(last, cell.position), count + 1)
    return dict(sorted(found.items()))
