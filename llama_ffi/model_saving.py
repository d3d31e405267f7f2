"""Write a model to a file: whole, or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING

from . import backends
from ._core import durable, logs, model_file
from ._core import text as text_
from ._core.model_file import Path
from .errors import ModelSaveError, UnsupportedError

if TYPE_CHECKING:
    from .model import Model

_NOT_SAVABLE = frozenset({"gemma3n", "bitnet", "t5", "apertus", "step35"}) | {
    # what it writes for these can't be loaded: without the token embeddings, or without a key
    *("bert", "modern-bert", "nomic-bert", "nomic-bert-moe", "neo-bert", "jina-bert-v2", "jina-bert-v3"),
    *("eurobert", "wavtokenizer-dec", "graniteswitch", "gemma4"),
}
"""Architectures whose tensors llama_model_save_to_file doesn't know, and asserts on or leaves out."""


def save(model: Model, path: Path) -> None:
    """Write ``model`` to ``path``; :meth:`Model.save_to_file` has the words."""
    pointer = model.ptr
    model._needs_weights("saving")
    if model.arch in _NOT_SAVABLE:
        raise UnsupportedError(f"llama.cpp can't save models of architecture {model.arch!r}")
    where = model._reordered
    if where is None:  # raw code has made it
        where = next((use.buffer_type for use in model.measure(n_ctx=256).entries if _own_order(use)), "")
    if where:
        raise UnsupportedError(
            f"weights are kept in an order of their own ({where}), and llama.cpp can't read them back; load "
            f"the model with use_extra_bufts=False to save it"
        )
    target = os.fsdecode(text_.encode_path(path))
    try:
        with durable.Replacement(target, mode=0o666) as new:
            with logs.capture() as lines:
                model._lib.llama_model_save_to_file(pointer, text_.encode_path(new.part))
            # C reports nothing, a full disk included
            if not model_file.is_complete(model._ffi, model._lib, new.part):
                raise ModelSaveError(
                    f"{target}: could not be written completely; is the disk full?", log=lines
                )
            new.commit()
    except OSError as error:
        if isinstance(error, ModelSaveError):
            raise
        raise ModelSaveError(f"{target}: {error.strerror or error}") from error


def reordered(lines: Iterable[str]) -> str:
    """Return the memory with an order of its own that a load has put weights into, "" if there is none.

    Of a model alone llama.cpp tells this in its log only; reading such weights back is a call through NULL.
    """
    mark = " model buffer size"
    used = [line.partition(mark)[0].rpartition(" ")[2] for line in lines if mark in line]
    return next((name for name in _extra_names() if name in used), "") if used else ""


def _own_order(use: object) -> bool:
    return getattr(use, "buffer_type", "") in _extra_names() and getattr(use, "model", 0) > 0


def _extra_names() -> list[str]:
    return [kind.name for device in backends.devices() for kind in device.extra_buffer_types]
