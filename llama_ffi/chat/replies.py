"""Answers of a model: at once or piece by piece, with what they took and why they ended."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, SupportsIndex

from .._core import check, stop_texts
from ..context import Context
from ..errors import ArgumentTypeError, CancelledError, InvalidArgumentError
from ..generation import Generation, context_for, sampler_chain
from ..generation_loop import Progress, Timings, Usage, pieces_of
from ..model import Model
from ..model_params import GpuLayers
from ..paths import tiny_model_path
from ..sampler import SamplerChain, forms
from .budget import Limits
from .messages import Message
from .templates import tokenize


@dataclass(frozen=True)
class ChatReply:
    """An answer."""

    content: str
    """the text"""
    finish_reason: str
    """"stop": the model ended it, or a stop text did; "length": max_tokens, or the context is full;
    "cancelled": ``cancel()`` or ``close()`` came before its end"""
    usage: Usage
    """tokens of the chat and of the answer"""
    timings: Timings
    """seconds for the chat and for the answer"""
    role: str = "assistant"
    """whose turn it is"""

    def __str__(self) -> str:
        return self.content

    @property
    def message(self) -> dict[str, str]:
        """Return the answer as a message for the next turn, a copy."""
        return {"role": self.role, "content": self.content}


class ChatStream:
    """An answer in the making: an iterator over its pieces, with :attr:`reply` at the end.

    Threads: ``next()`` one at a time; ``cancel()`` any.
    """

    __slots__ = ("__weakref__", "_generation", "_text")

    def __init__(self, generation: Generation) -> None:
        """Made by :meth:`llama_ffi.Model.chat` and :meth:`ChatSession.say`."""
        self._generation = generation
        self._text: list[str] = []

    def __iter__(self) -> ChatStream:
        return self

    def __next__(self) -> str:
        try:
            piece = next(self._generation)
        except CancelledError:
            raise StopIteration from None
        self._text.append(piece)
        return piece

    @property
    def reply(self) -> ChatReply:
        """Return the answer so far; complete when the iteration has ended.

        Its ``finish_reason`` is "cancelled" while the iteration hasn't.
        """
        generation = self._generation
        return ChatReply(
            "".join(self._text), generation.finish_reason or "cancelled", generation.usage, generation.timings
        )

    @property
    def tokens(self) -> list[int]:
        """Return the tokens that were chosen so far, a copy."""
        return self._generation.tokens

    def cancel(self) -> None:
        """End the iteration, from another thread for example; ``reply`` has what there is.

        Threads: any; returns at once.
        """
        self._generation.cancel()

    def close(self) -> None:
        """End it and free what it holds; a second call does nothing.

        Raises:
            BusyError: another thread is inside ``next()``; ``cancel()`` it first.
        """
        self._generation.close()

    def __enter__(self) -> ChatStream:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()


def answer(
    model: Model, messages: Iterable[Message], stream: bool, options: Mapping[str, Any]
) -> ChatReply | ChatStream:
    """Answer a chat; the work of :meth:`llama_ffi.Model.chat`, which describes the options."""
    running = _begin(model, messages, **options)
    return running if stream else finished(running)


def finished(running: ChatStream) -> ChatReply:
    """Run an answer to its end and return it."""
    with running:
        for _ in running:
            pass
    return running.reply


def ask(
    prompt: str,
    model: Model | str | bytes | os.PathLike[str] | None = None,
    *,
    system: str | None = None,
    n_gpu_layers: GpuLayers = None,
    **options: Any,
) -> str:
    """Ask a model one question and return its answer.

    C: llama_chat_apply_template, llama_decode, llama_sampler_sample

    Arguments:
        prompt: the question.
        model: a loaded model, or the path of a GGUF file; None = the small model that ships with the package.
        system: what the model is told about its part first.
        n_gpu_layers: layers on GPUs, if ``model`` is a path; None = all, "auto" = as many as fit.
        options: those of :meth:`llama_ffi.Model.chat`: max_tokens, temp, seed, stop …

    Returns:
        the answer's text, owned.

    Raises:
        ModelLoadError …: as ``Model.load``; everything that ``Model.chat`` raises.

    Threads: any.
    """
    if not isinstance(prompt, str):
        raise ArgumentTypeError(f"prompt must be text, not {type(prompt).__name__}")
    messages = [{"role": "user", "content": prompt}]
    if system is not None:
        messages.insert(0, {"role": "system", "content": system})
    if isinstance(model, Model):
        return finished(_begin(model, messages, **options)).content
    with Model.load(tiny_model_path() if model is None else model, n_gpu_layers=n_gpu_layers) as loaded:
        return finished(_begin(loaded, messages, **options)).content


def _begin(
    model: Model,
    messages: Iterable[Message],
    *,
    template: str | None = None,
    tools: Iterable[Mapping[str, Any]] | None = None,
    documents: Iterable[Mapping[str, Any]] | None = None,
    variables: Mapping[str, Any] | None = None,
    limits: Limits | None = None,
    parse_special: bool = False,
    n_ctx: int = 0,
    n_batch: int = 512,
    n_threads: int | None = None,
    **sampling: Any,
) -> ChatStream:
    tokens = chat_tokens(model, messages, template, tools, documents, variables, limits, parse_special)
    check.integer("n_ctx", n_ctx, 0)

    def context(most: int) -> Context:
        return context_for(model, tokens, most, n_ctx=n_ctx, n_batch=n_batch, n_threads=n_threads)

    progress = Progress(tokens, 0, leading_space(model, tokens))
    return ChatStream(start(model, context, progress, **sampling))


def leading_space(model: Model, tokens: list[int]) -> bool:
    """Return whether the text behind ``tokens`` begins with a space that the tokenizer adds by itself.

    SPM vocabularies do that behind a special token. Left in the answer, it would be there twice when the
    answer becomes a message of the next turn.
    """
    vocab = model.vocab
    return (
        vocab.type.name == "SPM"
        and vocab.is_control(tokens[-1])
        and vocab.piece(vocab.tokenize("a", add_special=False)[0]).startswith(b" ")
    )


def chat_tokens(
    model: Model,
    messages: Iterable[Message],
    template: str | None,
    tools: Iterable[Mapping[str, Any]] | None,
    documents: Iterable[Mapping[str, Any]] | None,
    variables: Mapping[str, Any] | None,
    limits: Limits | None,
    parse_special: bool,
) -> list[int]:
    """Return the tokens of a chat that shall be answered."""
    if variables is not None and not isinstance(variables, Mapping):
        raise ArgumentTypeError(f"variables must be a dict, not {type(variables).__name__}")
    return tokenize(
        model,
        messages,
        True,
        template,
        tools,
        documents=documents,
        limits=limits,
        parse_special=parse_special,
        **(variables or {}),
    )


def start(
    model: Model,
    context: Any,
    progress: Progress,
    *,
    max_tokens: int = -1,
    temp: float = 0.8,
    top_k: int = 40,
    top_p: float = 0.95,
    min_p: float = 0.05,
    seed: SupportsIndex | None = None,
    sampler: SamplerChain | None = None,
    json_schema: Any = None,
    regex: str | None = None,
    lark: str | None = None,
    grammar: str | None = None,
    response_format: Mapping[str, Any] | None = None,
    stop: str | Sequence[str] | None = (),
    special: bool = False,
    **unknown: Any,
) -> Generation:
    """Return the generation of an answer.

    Arguments:
        model: the context's.
        context: a Context, which stays its owner's; or a function that makes one of a number of tokens.
        progress: with the chat's tokens.
    """
    if unknown:
        raise _no_option(next(iter(unknown)))
    most = check.integer("max_tokens", max_tokens, -1)
    special = check.truth("special", special)
    stops = stop_texts.listed(stop)
    form = forms.chosen(
        sampler=sampler,
        json_schema=json_schema,
        regex=regex,
        lark=lark,
        grammar=grammar,
        response_format=schema_of(response_format),
    )
    if form is None:
        chain = sampler_chain(temp, top_k, top_p, min_p, seed)
    elif sampler is None:
        chain = sampler_chain(temp, top_k, top_p, min_p, seed, forms.sampler(model.vocab, form))
    else:
        chain = sampler
    check.instance("sampler", chain, SamplerChain)
    owned: list[Any] = [chain] if sampler is None else []
    if not isinstance(context, Context):
        context = context(most)
        owned.insert(0, context)
    pieces = pieces_of(context, chain, progress, most, special)
    return Generation(context, progress, pieces, stops, owned)


def schema_of(response_format: Mapping[str, Any] | None) -> Any:
    """Return the JSON schema that a ``response_format`` of OpenAI's API asks for, None for plain text.

    Raises:
        InvalidArgumentError, ArgumentTypeError: it is of no known form.
    """
    if response_format is None:
        return None
    check.instance("response_format", response_format, Mapping)
    kind = response_format.get("type")
    if kind == "text":
        return None
    if kind == "json_object":
        return response_format.get("schema", {"type": "object"})
    if kind == "json_schema":
        inner = response_format.get("json_schema")
        if isinstance(inner, Mapping) and "schema" in inner:
            return inner["schema"]
        raise InvalidArgumentError(
            'a response_format of the type "json_schema" has the schema in ["json_schema"]["schema"]'
        )
    raise InvalidArgumentError(
        f'the type of response_format is {kind!r}; there are "text", "json_object" and "json_schema"'
    )


def _no_option(name: str) -> ArgumentTypeError:
    import difflib
    import inspect

    known = [
        parameter.name
        for function in (_begin, start)
        for parameter in inspect.signature(function).parameters.values()
        if parameter.kind is parameter.KEYWORD_ONLY
    ]
    close = difflib.get_close_matches(name, known, 1)
    hint = f"did you mean {close[0]!r}?" if close else f"there are: {', '.join(sorted(known))}"
    return ArgumentTypeError(f"there is no option {name!r}; {hint}")
