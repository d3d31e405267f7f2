"""A conversation that goes on: one context, in which every turn computes only what is new."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Literal, overload

from .._core import check
from ..context import Context
from ..errors import ArgumentTypeError, BusyError, MemoryOperationError, PromptTooLongError
from ..generation import Generation
from ..generation_loop import Progress
from ..model import Model
from .budget import Limits
from .messages import Message, checked
from .replies import ChatReply, ChatStream, chat_tokens, finished, leading_space, start


class ChatSession:
    """A conversation with a model.

    Arguments:
        model: the model; it must stay open.
        system: what the model is told about its part first.
        messages: what was said before.
        template, tools, documents, variables, limits, parse_special: as for :meth:`llama_ffi.Model.chat`.
        n_ctx: tokens that the conversation may have; 0 = as many as the model was trained for, at most 4096.
        n_batch: tokens that are computed per call.
        n_threads: None = by the machine.

    Raises:
        as :class:`llama_ffi.Context`; UnsupportedError: the model has no memory.

    Threads: one call at a time (BusyError otherwise); ``ChatStream.cancel()`` any.
    """

    __slots__ = (
        "__weakref__",
        "_context",
        "_fixed",
        "_held",
        "_lock",
        "_options",
        "_running",
        "messages",
        "model",
    )

    model: Model
    """the model"""
    messages: list[dict[str, Any]]
    """what was said so far; may be changed between turns"""

    def __init__(
        self,
        model: Model,
        system: str | None = None,
        *,
        messages: Iterable[Message] = (),
        template: str | None = None,
        tools: Iterable[Mapping[str, Any]] | None = None,
        documents: Iterable[Mapping[str, Any]] | None = None,
        variables: Mapping[str, Any] | None = None,
        limits: Limits | None = None,
        parse_special: bool = False,
        n_ctx: int = 0,
        n_batch: int = 512,
        n_threads: int | None = None,
    ) -> None:
        check.instance("model", model, Model)
        if system is not None and not isinstance(system, str):
            raise ArgumentTypeError(f"system must be text, not {type(system).__name__}")
        before = check.listed("messages", messages, "messages")
        self._fixed: list[dict[str, Any]] = [] if system is None else [{"role": "system", "content": system}]
        self.model = model
        self.messages = [*self._fixed, *(checked(before) if before else [])]
        self._options = (template, tools, documents, variables, limits, parse_special)
        size = check.integer("n_ctx", n_ctx, 0) or min(model.n_ctx_train or 4096, 4096)
        self._context = Context(model, n_ctx=size, n_batch=n_batch, n_ubatch=0, n_threads=n_threads)
        self._held: list[int] = []
        self._lock = threading.RLock()
        self._running: _Turn | None = None
        try:
            _ = self._context.memory
        except BaseException:
            self._context.close()
            raise

    def __repr__(self) -> str:
        return f"<llama_ffi.ChatSession of {len(self.messages)} messages{', closed' * self._context.closed}>"

    @overload
    def say(self, text: str, *, stream: Literal[False] = False, **sampling: Any) -> ChatReply: ...

    @overload
    def say(self, text: str, *, stream: Literal[True], **sampling: Any) -> ChatStream: ...

    def say(self, text: str, *, stream: bool = False, **sampling: Any) -> ChatReply | ChatStream:
        """Say something and return the answer; both are messages of the conversation then.

        An answer that is cancelled or closed stays in the conversation as far as it came; after an
        error the conversation is as before.

        C: llama_memory_seq_rm, llama_decode, llama_sampler_sample

        Arguments:
            text: what the user says.
            stream: return a :class:`ChatStream`; the turn ends when it has ended or is closed. A turn that is
                still open when the next begins is closed first.
            sampling: max_tokens, temp, top_k, top_p, min_p, seed, sampler, json_schema, response_format,
                regex, lark, grammar, stop, special, as for :meth:`llama_ffi.Model.chat`.

        Raises:
            PromptTooLongError: the conversation doesn't fit into the context any more.
            ChatTemplateError …: as ``Model.chat``; ClosedError.

        Threads: one call at a time.
        """
        if not isinstance(text, str):
            raise ArgumentTypeError(f"text must be text, not {type(text).__name__}")
        streams = check.truth("stream", stream)
        with self._alone():
            if self._running is not None:
                self._running.close()
            _ = self._context.ptr
            question = {"role": "user", "content": text}
            tokens = chat_tokens(self.model, [*self.messages, question], *self._options)
            if len(tokens) > self._context.n_ctx_seq:
                raise PromptTooLongError(
                    f"the conversation has {len(tokens)} tokens, the context holds "
                    f"{self._context.n_ctx_seq}; reset() it, or use a larger n_ctx"
                )
            progress = Progress(tokens, self._keep(tokens), leading_space(self.model, tokens))
            running = start(self.model, self._context, progress, **sampling)
            turn = _Turn(running, self, question, tokens)
            self._running = turn
            return turn if streams else finished(turn)

    def reset(self) -> None:
        """Forget everything but the system message.

        Raises:
            ClosedError, BusyError.
        """
        with self._alone():
            if self._running is not None:
                self._running.close()
            self._context.memory.clear(data=False)
            self._held = []
            self.messages = [*self._fixed]

    def close(self) -> None:
        """Free the context; a second call does nothing. The model stays open.

        Raises:
            BusyError: another thread is inside a call.
        """
        with self._alone():
            if self._running is not None:
                self._running.close()
            self._context.close()

    def __enter__(self) -> ChatSession:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.close()

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep other threads out; a turn's calls are calls of its conversation."""
        if not self._lock.acquire(blocking=False):
            raise BusyError("another thread is inside a call on this conversation; take turns")
        try:
            yield
        finally:
            self._lock.release()

    def _keep(self, tokens: list[int]) -> int:
        """Cut the memory back to what it has in common with ``tokens``; return how many tokens that are."""
        if self.model.has_encoder:  # it reads all of a text at once, and the decoder begins anew
            self._context.memory.clear(data=False)
            return 0
        common = 0
        for held, wanted in zip(self._held, tokens[:-1], strict=False):  # the last one gives the logits
            if held != wanted:
                break
            common += 1
        memory = self._context.memory
        if common < len(self._held):
            try:
                cut = memory.seq_rm(0, common, -1)
            except MemoryOperationError:
                cut = False
            if not cut:  # a recurrent state has no parts
                memory.clear(data=False)
                common = 0
        self._held = tokens[:common]
        return common

    def _ended(self, turn: _Turn, question: dict[str, Any], tokens: list[int], failed: bool) -> None:
        self._running = None
        if self._context.closed:
            return
        # what a cancelled decode has cut away is not in memory any more
        self._held = [*tokens, *turn.tokens][: self._context.memory.seq_pos_max(0) + 1]
        if not failed:
            self.messages += [question, turn.reply.message]


class _Turn(ChatStream):
    """An answer that goes into its conversation when it has ended."""

    __slots__ = ("_open", "_question", "_tokens", "_whole")

    def __init__(
        self, generation: Generation, session: ChatSession, question: dict[str, Any], tokens: list[int]
    ) -> None:
        super().__init__(generation)
        self._whole = session
        self._open = True
        self._question = question
        self._tokens = tokens

    def __next__(self) -> str:
        with self._whole._alone():
            try:
                return super().__next__()
            except StopIteration:
                self._end(failed=False)
                raise
            except Exception:
                self._end(failed=True)
                raise

    def close(self) -> None:
        with self._whole._alone():
            super().close()
            self._end(failed=False)

    def _end(self, *, failed: bool) -> None:
        if self._open:
            self._open = False
            self._whole._ended(self, self._question, self._tokens, failed)
