"""Errors that are llama_ffi's and, at the same time, what a program written for cyllama catches."""

from __future__ import annotations

from ... import errors


class NoKvSlotError(errors.NoKvSlotError, ValueError):
    """There is no room for the batch; C returned 1."""


class CancelledError(errors.CancelledError, InterruptedError):
    """``ctx.cancel`` was set; C returned 2."""


class BatchFullError(errors.InvalidArgumentError, IndexError):
    """The batch has no room for so many tokens."""


class MetadataIndexError(errors.InvalidArgumentError, IndexError):
    """There are fewer entries in the metadata."""


class MetadataKeyError(errors.InvalidArgumentError, KeyError):
    """The metadata has no such key."""
