"""Models that run in a process of their own: what would end this one ends that one, and is an error here.

For models on RPC workers, whose loss no process survives that uses them, and for whatever else may go wrong
below Python: a GPU's driver, files from strangers, a limit on memory. ``Model.load(rpc=[…], isolate=True)``
makes one, and :meth:`IsolatedModel.load` does for any model.

It offers what can be said in messages: texts, tokens, numbers. Contexts, sessions and samplers live in the
other process and can't be reached. A token costs a message there and back, some ten microseconds.
"""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, SupportsIndex, overload

from ._core import check, frames, isolate, model_process, model_source
from ._core.model_file import Path
from ._core.model_process import ModelProcess
from .backends import BufferType, Device
from .chat.replies import ChatReply, ChatStream, finished
from .errors import (
    ModelFileError,
    ModelProcessLostError,
    RpcWorkerLostError,
)
from .isolated_generation import IsolatedGeneration
from .rpc import endpoints

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from .chat.messages import Message
    from .embeddings import Ranked
    from .scoring import Perplexity, Score

_NAMES_OF_DEVICES = ("devices", "tensor_buft_overrides")


class IsolatedModel:
    """A model in a process of its own.

    C: struct llama_model, owned by the other process.

    When that process dies, the call that waits for it raises, and so does each one after it; this process
    goes on, and the model can be loaded again. The process ends with ``close()``, when the object is
    collected, and with this one, however that ends.

    Threads: any; calls take turns.
    """

    __slots__ = ("__weakref__", "_closing", "_facts", "_metadata", "_numbers", "_process", "path", "rpc")

    path: str
    """where it was loaded from"""
    rpc: tuple[str, ...]
    """the workers it uses"""

    def __init__(
        self, process: ModelProcess, path: str, rpc: Sequence[str], facts: Mapping[str, Any]
    ) -> None:
        """Made by :meth:`load`."""
        self._process = process
        self._facts = facts
        self._metadata: dict[str, str] | None = None
        self._numbers = itertools.count(1)
        self.path = path
        self.rpc = tuple(rpc)
        self._closing = weakref.finalize(self, process.close)

    @classmethod
    def load(
        cls,
        path: Path | Sequence[Path] | BinaryIO | int,
        *,
        rpc: str | Iterable[str] | None = None,
        timeout: float = isolate.SECONDS,
        progress: Callable[[float], object] | None = None,
        **options: Any,
    ) -> IsolatedModel:
        """Start a process and load a model in it.

        C: llama_model_load_from_file, llama_model_load_from_splits, in the other process

        Arguments:
            path: the file, or all parts of a split model; an open file only if it has a path.
            rpc: workers whose devices it uses, "host:port".
            timeout: seconds that the load may take.
            progress: called with 0.0 to 1.0; returning False cancels. What it raises, ``load`` raises.
            options: those of :meth:`Model.load`, by name, but ``isolate``; devices by their names.

        Returns:
            the model, owned.

        Raises:
            RpcConnectError: a worker isn't there, is busy or speaks another version.
            RpcWorkerLostError: a worker went away meanwhile.
            ModelFileError: the process died of the file; ``.log`` has its last lines.
            ModelLoadError: it wasn't done in time, or llama.cpp refused it.
            UnsupportedError: no other Python can be started, or it has no path.
            and all that :meth:`Model.load` raises.

        Threads: any; ``progress`` is called on this one.
        """
        source = model_source.source(path, options.get("offset"))
        files = list(source.by_path())
        workers = [] if rpc is None else endpoints(rpc)
        check.function("progress", progress)
        seconds = check.seconds("timeout", timeout)
        for name in _NAMES_OF_DEVICES:
            if name in options:
                options[name] = _names(options[name])
        if workers:
            options["rpc"] = workers
        encoded = {name: frames.encode(name, value) for name, value in options.items()}
        process = ModelProcess(source.name, workers)
        try:
            facts = process.ask(
                "load",
                {
                    "paths": files,
                    "options": encoded,
                    "use": model_process.order(),
                    "progress": progress is not None,
                },
                seconds=seconds,
                event=None if progress is None else lambda told: _tell(process, progress, told["event"]),
            )
        except RpcWorkerLostError:
            process.close()
            raise
        except ModelProcessLostError as error:
            process.close()
            raise ModelFileError(
                f"{source.name}: the process that loaded it died ({isolate.how(error.code or 0)}): the file "
                f"is damaged or hostile in a way that llama.cpp doesn't survive, or memory ran out",
                code=error.code,
                log=error.log,
            ) from None
        except BaseException:
            process.close()
            raise
        return cls(process, source.name, workers, facts)

    # --- what it is ---

    @property
    def pid(self) -> int:
        """Return the number of its process."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Return whether its process runs and can be asked."""
        return self._process.alive

    @property
    def closed(self) -> bool:
        """Return whether it has been closed."""
        return self._process.closed

    @property
    def arch(self) -> str:
        """Return the architecture: "llama", "qwen2"."""
        return str(self._facts["arch"])

    @property
    def desc(self) -> str:
        """Return llama.cpp's short description."""
        return str(self._facts["desc"])

    @property
    def n_params(self) -> int:
        """Return the number of parameters."""
        return int(self._facts["n_params"])

    @property
    def size(self) -> int:
        """Return the size of all tensors in bytes."""
        return int(self._facts["size"])

    @property
    def n_ctx_train(self) -> int:
        """Return the context that it was trained with, in tokens."""
        return int(self._facts["n_ctx_train"])

    @property
    def n_embd(self) -> int:
        """Return the width of its embeddings."""
        return int(self._facts["n_embd"])

    @property
    def n_layer(self) -> int:
        """Return the number of its layers."""
        return int(self._facts["n_layer"])

    @property
    def n_tokens(self) -> int:
        """Return the number of tokens in its vocabulary."""
        return int(self._facts["n_tokens"])

    @property
    def metadata(self) -> dict[str, str]:
        """Return its metadata as :attr:`Model.metadata` has it, a copy.

        Raises:
            ModelProcessLostError, RpcWorkerLostError, ClosedError: it is gone.
        """
        if self._metadata is None:
            self._metadata = self._look("model", "metadata")
        return dict(self._metadata or {})

    def chat_template(self, name: str | None = None) -> str | None:
        """Return its chat template; see :meth:`Model.chat_template`."""
        template = self._look("model", "chat_template", [name])
        return None if template is None else str(template)

    # --- text and tokens ---

    def tokenize(self, text: str | bytes, add_special: bool = True, parse_special: bool = False) -> list[int]:
        """Return the tokens of a text; see :meth:`Vocab.tokenize`."""
        return list(self._look("vocab", "tokenize", [text, add_special, parse_special]))

    def detokenize(
        self, tokens: Sequence[SupportsIndex], remove_special: bool = False, unparse_special: bool = True
    ) -> str:
        """Return the text of tokens; see :meth:`Vocab.detokenize`."""
        given = [_tokens("tokens", tokens), remove_special, unparse_special]
        return str(self._look("vocab", "detokenize", given))

    # --- what it is for ---

    def generate(self, prompt: str | bytes | Sequence[int], **options: Any) -> IsolatedGeneration:
        """Generate text that continues a prompt.

        C: llama_decode, llama_sampler_sample, llama_token_to_piece, in the other process

        Arguments:
            prompt: text, UTF-8 bytes, or token ids.
            options: those of :func:`llama_ffi.generate`, by name, but ``model`` and ``sampler``.

        Returns:
            an iterator over pieces of text, with ``cancel()`` and ``close()``.

        Raises:
            ModelProcessLostError, RpcWorkerLostError: the other process has died; also while iterating.
            and all that :func:`llama_ffi.generate` raises.

        Threads: any; several may go on side by side, and take turns token by token.
        """
        encoded = _options(options)
        number = next(self._numbers)
        arguments = {"number": number, "prompt": _tokens("prompt", prompt), "options": encoded}
        return IsolatedGeneration(self._process, number, self._process.ask("generate", arguments))

    @overload
    def chat(
        self, messages: Iterable[Message], *, stream: Literal[False] = False, **options: Any
    ) -> ChatReply: ...

    @overload
    def chat(self, messages: Iterable[Message], *, stream: Literal[True], **options: Any) -> ChatStream: ...

    def chat(
        self, messages: Iterable[Message], *, stream: bool = False, **options: Any
    ) -> ChatReply | ChatStream:
        """Answer a chat; see :meth:`Model.chat`.

        Arguments:
            messages: what was said.
            stream: return an iterator over the answer's pieces instead of the whole answer.
            options: those of :meth:`Model.chat`, but ``sampler`` and ``limits``.

        Returns:
            the answer, or a stream of its pieces whose ``reply`` is that.

        Raises:
            ModelProcessLostError, RpcWorkerLostError: the other process has died; also while iterating.
            and all that :meth:`Model.chat` raises.

        Threads: any.
        """
        encoded = _options(options)
        number = next(self._numbers)
        said = [frames.encode("messages", each) for each in check.listed("messages", messages, "messages")]
        arguments = {"number": number, "messages": said, "options": encoded}
        begun = self._process.ask("chat", arguments)
        generation: Any = IsolatedGeneration(self._process, number, begun)
        running = ChatStream(generation)
        return running if check.truth("stream", stream) else finished(running)

    def embed(self, texts: str | bytes | Iterable[Any], **options: Any) -> NDArray[np.float32]:
        """Turn texts into vectors; ``options`` and all else as for :func:`llama_ffi.embed`.

        Returns:
            (n_texts, n_embd_out) float32, owned; of one text (n_embd_out,).
        """
        given = texts if isinstance(texts, str | bytes) else check.listed("texts", texts, "texts")
        found: NDArray[np.float32] = self._call("embed", [given], options)
        return found

    def rerank(self, query: str, documents: Iterable[str], **options: Any) -> list[Ranked]:
        """Sort documents by how well they answer a query; ``options`` as for :func:`llama_ffi.rerank`."""
        listed = check.listed("documents", documents, "texts")
        return list(self._call("rerank", [query, listed], options))

    def score(self, text: str | bytes | Sequence[int], **options: Any) -> Score:
        """Return the log-probability of each token of a text; ``options`` as for :func:`llama_ffi.score`."""
        found: Score = self._call("score", [_tokens("text", text)], options)
        return found

    def perplexity(self, text: str | bytes | Sequence[int], **options: Any) -> Perplexity:
        """Measure how well it predicts a text; ``options`` as for :func:`llama_ffi.perplexity`."""
        found: Perplexity = self._call("perplexity", [_tokens("text", text)], options)
        return found

    # --- its end ---

    def close(self) -> None:
        """End its process; a second call does nothing.

        Threads: any; a call that waits for it raises ClosedError.
        """
        self._closing()

    def __enter__(self) -> IsolatedModel:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def __repr__(self) -> str:
        state = "closed" if self.closed else f"process {self.pid}" if self.alive else "its process is gone"
        return f"<llama_ffi.IsolatedModel {self.desc}: {self.path}, {state}>"

    def _look(self, where: str, name: str, args: list[Any] | None = None) -> Any:
        request: dict[str, Any] = {"where": where, "name": name}
        if args is not None:
            request["args"] = frames.encode(name, args)
        return self._process.ask("look", request)

    def _call(self, name: str, args: list[Any], options: Mapping[str, Any]) -> Any:
        request = {"name": name, "args": frames.encode(name, args), "options": _options(options)}
        return self._process.ask("call", request)


def _options(options: Mapping[str, Any]) -> dict[str, Any]:
    return {name: frames.encode(name, value) for name, value in options.items()}


def _tokens(name: str, value: Any) -> Any:
    """Return text as it is and token ids as plain numbers."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        value = [each if isinstance(each, int) else check.integer(f"an id of {name}", each) for each in value]
    return frames.encode(name, value)


def _names(value: Any) -> Any:
    """Return devices and buffer types by their names: the objects live in this process."""
    if isinstance(value, Device | BufferType):
        return value.name
    if isinstance(value, Mapping):
        return {key: _names(each) for key, each in value.items()}
    if isinstance(value, Iterable) and not isinstance(value, str | bytes):
        return [_names(each) for each in value]
    return value


def _tell(process: ModelProcess, progress: Callable[[float], object], fraction: float) -> None:
    if progress(fraction) is False:
        process.cancel(0)
