"""Models with random weights, of every kind, in memory and as files."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any, NamedTuple

from .._core import check
from .._core.model_file import Path
from ..errors import InvalidArgumentError, UnsupportedError
from ..gguf import GgufContext
from ..model import Model
from . import vocabulary
from .keys import Sizes, common
from .table import NOT_MADE, ROWS, VARIANTS, Row
from .weights import random_weights

Metadata = dict[str, Any]

_WITHOUT_ARCHITECTURE = ("general.", "tokenizer.", "xielu.")
"""How keys begin that don't begin with the architecture's name."""


class Architecture(NamedTuple):
    """An architecture that llama.cpp knows."""

    name: str
    """as in "general.architecture" """
    reason: str
    """why no model of it can be made; "" if one can"""


def architectures() -> list[Architecture]:
    """Return all architectures of llama.cpp, those that can't be made with the reason.

    Returns:
        a copy, sorted by name.

    Threads: any.
    """
    return [Architecture(name, NOT_MADE.get(name, "")) for name in sorted({*ROWS, *NOT_MADE})]


def kinds() -> list[str]:
    """Return every name that :func:`random_model` takes: architectures, and variants such as "reranker".

    Returns:
        a copy, sorted.

    Threads: any.
    """
    return sorted({*ROWS, *VARIANTS})


def random_metadata(
    kind: str,
    *,
    vocab: str | os.PathLike[str] | None = None,
    metadata: Mapping[str, Any] | None = None,
    **sizes: int,
) -> Metadata:
    """Return the metadata of a tiny model.

    Arguments:
        kind: one of :func:`kinds`: an architecture as in "general.architecture", or a variant.
        vocab: "spm", "bpe", "wpm", "ugm" or "rwkv" for one made by code, or the path of a GGUF file to take
            it from; None = the one that fits the architecture.
        metadata: further entries, in place of the factory's own.
        sizes: ``n_layer``, ``n_embd``, ``n_head``, ``n_head_kv``, ``n_ff``, ``n_ctx_train``, ``n_vocab``
            (unused tokens fill it up), ``n_expert``, ``n_expert_used``, ``n_swa``; each 1 or more.

    Returns:
        key → value, a new dict, for :meth:`Model.from_metadata <llama_ffi.Model.from_metadata>`.

    Raises:
        UnsupportedError: no model of that architecture can be made.
        InvalidArgumentError: no such kind or size; a size out of range; sizes that don't fit together.

    Threads: any.
    """
    if metadata is not None:
        check.instance("metadata", metadata, Mapping)
    arch, row, given = _row(kind)
    size = _sizes(row, {**VARIANTS[kind][1], **sizes} if kind in VARIANTS else sizes)
    entries = vocabulary.entries(row.vocab if vocab is None else vocab, size.n_vocab)
    keys = common(size)
    for group in row.keys:
        keys.update(group(size))
    return {
        "general.architecture": arch,
        "general.name": "random",  # llama.cpp looks for names of models that it treats in a special way
        **{_full(arch, key): value for key, value in keys.items()},
        **entries,
        **given,
        **(metadata or {}),
    }


def random_model(
    kind: str = "llama",
    *,
    seed: int = 0,
    vocab: str | os.PathLike[str] | None = None,
    metadata: Mapping[str, Any] | None = None,
    **sizes: int,
) -> Model:
    """Make a tiny model with random weights, in memory.

    C: llama_model_init_from_user

    Arguments:
        kind: one of :func:`kinds`.
        seed: of the weights, 0 to 2³² - 1: the same seed gives the same model, everywhere.
        vocab, metadata, sizes: see :func:`random_metadata`.

    Returns:
        the model, owned; on the CPU.

    Raises:
        UnsupportedError, InvalidArgumentError: see :func:`random_metadata`.
        ModelLoadError: libllama refused it: sizes that its network can't have.

    Threads: any.
    """
    described = random_metadata(kind, vocab=vocab, metadata=metadata, **sizes)
    number = check.seed(seed)
    if _row(kind)[1].drop:
        with tempfile.TemporaryDirectory(prefix="llama_ffi-") as folder:
            path = os.path.join(folder, "random.gguf")
            _save(path, described, number, _row(kind)[1].drop)
            model = Model.load(path, n_gpu_layers=0, load_mode="none", use_extra_bufts=False)
        model.path, model._sources = "", ()  # it is in memory, and the file is gone
        model._changes = {"weights": f"random, seed {number}"}
        return model
    return Model.from_metadata(
        described, lambda name, shape, _: random_weights(name, shape, number), n_gpu_layers=0
    )


def save_random_model(
    path: Path,
    kind: str = "llama",
    *,
    seed: int = 0,
    vocab: str | os.PathLike[str] | None = None,
    metadata: Mapping[str, Any] | None = None,
    **sizes: int,
) -> None:
    """Write a tiny model with random weights as a GGUF file: the one that :func:`random_model` makes.

    C: gguf_write_to_file

    Arguments:
        path: the file; an existing one is overwritten.
        kind, seed, vocab, metadata, sizes: see :func:`random_model`.

    Raises:
        UnsupportedError, InvalidArgumentError, ModelLoadError: see :func:`random_model`.
        ModelSaveError: the file can't be written.

    Threads: any.
    """
    described = random_metadata(kind, vocab=vocab, metadata=metadata, **sizes)
    _save(path, described, check.seed(seed), _row(kind)[1].drop)


def _save(path: Path, metadata: Metadata, seed: int, drop: tuple[str, ...]) -> None:
    tensors: dict[str, Any] = {}

    def fill(name: str, shape: tuple[int, ...], _type: str) -> Any:
        if name not in tensors:
            tensors[name] = random_weights(name, shape, seed)
        return tensors[name]

    Model.from_metadata(metadata, fill, n_gpu_layers=0).close()  # it says which tensors there are
    with GgufContext(metadata) as gguf:
        for name, values in tensors.items():
            if not name.endswith(drop):
                gguf.add_tensor(name, values.shape, "f32", values)
        gguf.write(path)


def _row(kind: str) -> tuple[str, Row, Metadata]:
    """Return the architecture of a kind, its row, and the metadata that makes it a variant."""
    if not isinstance(kind, str):  # may have no hash
        raise InvalidArgumentError(
            f"there is no architecture {check.shown(kind)}; testing.kinds() lists them"
        )
    arch, _, given = VARIANTS.get(kind, (kind, {}, {}))
    if arch in NOT_MADE:
        raise UnsupportedError(f"no model of architecture {arch!r} can be made: {NOT_MADE[arch]}")
    if arch not in ROWS:
        import difflib

        close = difflib.get_close_matches(kind, kinds(), 3)
        hint = f"did you mean {', '.join(close)}?" if close else "testing.kinds() lists what there is"
        raise InvalidArgumentError(f"there is no architecture {kind!r:.60}; {hint}")
    return arch, ROWS[arch], given


def _sizes(row: Row, given: Mapping[str, int]) -> Sizes:
    names = [each.name for each in fields(Sizes)]
    unknown = [name for name in given if name not in names]
    if unknown:
        raise InvalidArgumentError(f"there is no size {unknown[0]!r}; the sizes are {', '.join(names)}")
    for name, value in given.items():
        check.integer(name, value, 0 if name == "n_expert" else 1, 2**20)
    size = replace(Sizes(), **{**row.sizes, **given})
    if size.n_embd % (8 * size.n_head):
        raise InvalidArgumentError(
            f"n_embd is {size.n_embd} with n_head {size.n_head}; each head must have a multiple of 8 values"
        )
    if size.n_head % size.n_head_kv:
        raise InvalidArgumentError(
            f"n_head is {size.n_head}; it must be a multiple of n_head_kv, {size.n_head_kv}"
        )
    if size.n_expert and size.n_expert_used > size.n_expert:
        raise InvalidArgumentError(f"n_expert_used is {size.n_expert_used} of n_expert {size.n_expert}")
    return size


def _full(arch: str, key: str) -> str:
    return key if key.startswith(_WITHOUT_ARCHITECTURE) else f"{arch}.{key}"
