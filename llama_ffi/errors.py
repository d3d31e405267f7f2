"""Every error that llama_ffi raises.

Each class ends in ``Error`` and derives from :class:`LlamaError` *and* from the builtin that a Python
programmer would catch anyway, so ``except OSError`` around a load and ``except ValueError`` around a
bad argument work without knowing this module. The message says what was wrong, with the values, and
what to do. Two attributes are always there:

``code``
    what the C function returned, or None where no C call was made;
``log``
    the lines that llama.cpp printed on this thread while the call failed, oldest first.
"""

from __future__ import annotations

from collections.abc import Sequence


class LlamaError(Exception):
    """Base of every error of this package.

    Arguments:
        message: what was wrong, with the values, and what to do.
        code: what the C function returned.
        log: what llama.cpp printed meanwhile.
    """

    code: int | None
    log: tuple[str, ...]

    def __init__(self, message: str = "", *, code: int | None = None, log: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.code = code
        self.log = tuple(log)

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


# --- the library and its bindings ------------------------------------------------------------------


class LibraryNotFoundError(LlamaError, ImportError):
    """No libllama was found; the message lists every place that was tried."""


class LibraryLoadError(LlamaError, ImportError):
    """A library was found and the loader refused it; the message carries the loader's own words."""


class BindingsNotFoundError(LlamaError, ImportError):
    """There are no bindings of that name, or they are damaged."""


class AbiMismatchError(LlamaError, ImportError):
    """The library doesn't match the bindings; the message names the struct, field or symbol that differs."""


class ForeignGgmlError(LlamaError, ImportError):
    """Somebody loaded another ggml with RTLD_GLOBAL, whose symbols would replace ours."""


class MissingFunctionError(LlamaError, AttributeError):
    """The C function is declared in the headers but absent from the loaded library."""


class MissingFieldError(LlamaError, AttributeError):
    """The loaded library's struct lacks a field that was to be set to something else than its default."""


class AlreadyLoadedError(LlamaError, RuntimeError):
    """A choice that a process makes once came too late: ``use()`` after the first use, numa_init() again."""


class BackendError(LlamaError, RuntimeError):
    """A back end or device that was asked for by name is not available."""


class BackendLoadError(BackendError, LibraryLoadError):
    """A back end that ``LLAMA_FFI_BACKEND`` names can't be used; the message says why and what to do."""


class RpcConnectError(BackendError, ConnectionError):
    """An RPC worker can't be reached, is busy, or speaks another version of the protocol."""


class LogFileError(LlamaError, OSError):
    """The file that llama.cpp's lines are to be appended to can't be opened."""


# --- handles ---------------------------------------------------------------------------------------


class ClosedError(LlamaError, ValueError):
    """The object has been closed."""


class ConsumedError(ClosedError):
    """The object belongs to another one now (a sampler that was added to a chain)."""


class BusyError(LlamaError, RuntimeError):
    """Another thread is inside a call on the same object."""


class BorrowedError(LlamaError, RuntimeError):
    """The call would move memory that a borrowed view still shows."""


class ForkedError(LlamaError, RuntimeError):
    """The object was made before ``fork()``; in the child process it is dead."""


class PoisonedError(ClosedError):
    """An earlier call on the object was aborted inside libllama; only ``close()`` works now."""


class NativeAbortError(LlamaError, RuntimeError):
    """libllama hit an assertion or threw an exception; the guard caught it."""


# --- arguments -------------------------------------------------------------------------------------


class InvalidArgumentError(LlamaError, ValueError):
    """An argument is outside of what libllama can take."""


class ArgumentTypeError(LlamaError, TypeError):
    """An argument has a type that can't be converted for C."""


class TokenRangeError(LlamaError, IndexError, ValueError):
    """A token id is outside of the vocabulary."""


class SequenceRangeError(LlamaError, IndexError, ValueError):
    """A sequence id is outside of [0, n_seq_max)."""


class TokenizeError(LlamaError, ValueError):
    """The text could not be turned into tokens, or the tokens into text."""


# --- models and contexts ---------------------------------------------------------------------------


class ModelLoadError(LlamaError, OSError):
    """The model could not be loaded; ``log`` holds what llama.cpp said."""


class ModelFileError(ModelLoadError):
    """The file is not a usable GGUF: empty, damaged, cut off, or something else altogether."""


class ModelNotFoundError(ModelLoadError, FileNotFoundError):
    """There is no file at the given path."""


class ModelPermissionError(ModelLoadError, PermissionError):
    """The file is there and may not be read."""


class ModelSaveError(LlamaError, OSError):
    """The model could not be written; no half-written file is left at the path."""


class ContextCreateError(LlamaError, ValueError):
    """The context could not be made with these parameters."""


class UnsupportedError(LlamaError, RuntimeError):
    """This model or this library can't do what was asked."""


class PromptTooLongError(LlamaError, ValueError):
    """The prompt has more tokens than the context can hold."""


class ContextFullError(LlamaError, RuntimeError):
    """The context holds no room for another token."""


class DecodeError(LlamaError, RuntimeError):
    """``llama_decode`` or ``llama_encode`` failed; ``code`` is what it returned."""


class NoKvSlotError(DecodeError):
    """The memory has no free slot for the batch (return code 1)."""


class CancelledError(DecodeError):
    """``cancel()`` stopped the call (return code 2)."""


class InvalidBatchError(DecodeError, ValueError):
    """libllama would refuse the batch, or has refused it (return code -1)."""


class NoOutputsError(LlamaError, LookupError):
    """The row has no logits or embeddings: not asked for in the batch, or no longer valid."""


class MemoryOperationError(LlamaError, RuntimeError):
    """The kind of memory this model uses can't do the operation."""


# --- sampling --------------------------------------------------------------------------------------


class SamplerError(LlamaError, ValueError):
    """A sampler can't be made with these arguments, or doesn't fit at this place of a chain."""


class GrammarError(SamplerError):
    """The grammar doesn't parse, or refuses the token."""


class NoTokenSelectedError(LlamaError, RuntimeError):
    """The chain ended without selecting a token."""


# --- files and templates ---------------------------------------------------------------------------


class GgufError(LlamaError, ValueError):
    """A GGUF file is damaged or hostile, or what should go into one doesn't fit; ``offset`` says where."""

    offset: int | None
    """the byte of the file at which reading stopped; None where no place is meant"""

    def __init__(
        self,
        message: str = "",
        *,
        offset: int | None = None,
        code: int | None = None,
        log: Sequence[str] = (),
    ) -> None:
        super().__init__(message, code=code, log=log)
        self.offset = offset


class GgufKeyError(GgufError, KeyError):
    """The GGUF file has no such key or tensor."""


class GgufWriteError(GgufError, OSError):
    """The GGUF file could not be written; no half-written file is left at the path."""


class StateError(LlamaError, ValueError):
    """A state could not be read or written."""


class StateNotFoundError(StateError, FileNotFoundError):
    """There is no state file at the given path."""


class StateSaveError(StateError, OSError):
    """The state could not be written; what was at the path before is as it was."""


class StateStoreError(StateError, OSError):
    """A store of states can't be opened, read or written."""


class QuotaError(StateError):
    """A state is larger than the store or its owner may have."""


class StateMismatchError(StateError):
    """The state belongs to another model, another context or another version; the field is named."""


class StateDamagedError(StateError):
    """The state is cut off, was changed, or was never one; nothing of it reached the context."""


class TemplateError(LlamaError, ValueError):
    """The chat template is unknown, or can't render these messages."""


class ChatTemplateError(TemplateError):
    """The chat template is wrong, refuses the messages, or exceeds a limit; the message says which."""


class AdapterError(LlamaError, ValueError):
    """The adapter could not be loaded, or doesn't fit the model."""


class QuantizeError(LlamaError, OSError):
    """Quantization failed."""


class ModelProcessLostError(LlamaError, ConnectionError):
    """The process that an isolated model ran in has ended; ``code`` is its status, ``log`` its last lines."""


class RpcWorkerLostError(ModelProcessLostError):
    """An RPC worker went away while an isolated model was using it."""


__all__ = [
    name
    for name, value in list(globals().items())
    if isinstance(value, type) and issubclass(value, LlamaError)
]
