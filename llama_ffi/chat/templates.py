"""From messages to the text that a model was trained to continue.

Two ways: the model's own Jinja template, rendered as transformers and llama.cpp's tools render it, or one of
the formats that are built into llama.cpp. Either gives a text that knows which part is the template's own.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from .._core import check
from ..errors import ArgumentTypeError, ChatTemplateError, InvalidArgumentError, LlamaError
from ..model import Model
from . import builtin, jinja, messages, tokens
from .budget import Limits
from .marked import own
from .messages import Message

_PROBE = "llama_ffi_probe"


def apply_template(
    model: Model | None,
    messages: Iterable[Message],
    add_generation_prompt: bool = True,
    template: str | None = None,
    tools: Iterable[Mapping[str, Any]] | None = None,
    *,
    documents: Iterable[Mapping[str, Any]] | None = None,
    now: datetime | None = None,
    limits: Limits | None = None,
    **variables: Any,
) -> str:
    """Return a chat as the text that the model continues.

    C: llama_model_chat_template, llama_chat_apply_template

    Arguments:
        model: the model; None if ``template`` is given and needs no tokens of a model.
        messages: dicts with ``role`` and ``content``: text, None, or a list of parts such as
            ``{"type": "text", "text": "hi"}``; an assistant's may have ``tool_calls``. Parts of text are
            joined by line feeds, and arguments of tool calls become JSON text or objects, as the template
            wants.
        add_generation_prompt: end with what begins an assistant's answer.
        template: None = the model's own ("tool_use", if there is one and tools are given); the name of
            one that is built into llama.cpp (:func:`builtin_templates`); or the text of a Jinja template.
        tools: JSON schemas of functions, as for OpenAI's API.
        documents: dicts with ``title`` and ``text``, for templates that take some.
        now: what ``strftime_now`` says; None = the time.
        limits: what rendering may cost.
        variables: for the template, ``enable_thinking=False`` for example.

    Returns:
        the text, owned. To make tokens of it use :func:`tokenize`, which keeps special tokens out of what
        users wrote.

    Raises:
        ChatTemplateError: there is no template, it is wrong, it refuses the messages, or it exceeds limits.
        JinjaMissingError: it is written in Jinja, jinja2 is not installed, and llama.cpp doesn't know it.
        ArgumentTypeError, InvalidArgumentError: messages, tools or variables aren't plain data.
        ClosedError: the model is closed.

    Threads: any.
    """
    rendered = render(
        model,
        messages,
        add_generation_prompt,
        template,
        tools,
        documents=documents,
        now=now,
        limits=limits,
        variables=variables,
    )
    return "".join(rendered)


def tokenize(
    model: Model,
    messages: Iterable[Message],
    add_generation_prompt: bool = True,
    template: str | None = None,
    tools: Iterable[Mapping[str, Any]] | None = None,
    *,
    documents: Iterable[Mapping[str, Any]] | None = None,
    now: datetime | None = None,
    limits: Limits | None = None,
    parse_special: bool = False,
    **variables: Any,
) -> list[int]:
    """Return a chat as the tokens that the model continues.

    Special tokens come from the template alone: ``<|im_end|>`` in a message is tokenized as ordinary text.
    BOS stands in front if the model's metadata asks for one, and never twice.

    C: llama_tokenize, and those of :func:`apply_template`

    Arguments:
        parse_special: recognise special tokens in messages, tools and documents, too. Leave it off for text
            that you don't trust.
        others: as for :func:`apply_template`.

    Returns:
        the token ids, owned.

    Raises:
        as :func:`apply_template`, and TokenizeError, UnsupportedError, InvalidArgumentError as
        ``Vocab.tokenize``.

    Threads: any.
    """
    check.instance("model", model, Model)
    parse_special = check.truth("parse_special", parse_special)
    rendered = render(
        model,
        messages,
        add_generation_prompt,
        template,
        tools,
        documents=documents,
        now=now,
        limits=limits,
        variables=variables,
    )
    return tokens.of_text(model.vocab, rendered, parse_content=parse_special)


def render(
    model: Model | None,
    chat: Iterable[Message],
    add_generation_prompt: bool,
    template: str | None,
    tools: Iterable[Mapping[str, Any]] | None,
    *,
    documents: Iterable[Mapping[str, Any]] | None,
    now: datetime | None,
    limits: Limits | None,
    variables: Mapping[str, Any],
) -> str:
    """Return the chat as text that knows which part is the template's own (:class:`marked.Own`)."""
    turns = messages.checked(chat)
    schemas = _listed("tools", tools)
    papers = _listed("documents", documents)
    values = {name: messages.plain(value, name) for name, value in variables.items()}
    if model is not None:
        check.instance("model", model, Model)
    if limits is not None:
        check.instance("limits", limits, Limits)
    if now is not None:
        check.instance("now", now, datetime)
    source = _source(model, template, schemas)
    prompt = check.truth("add_generation_prompt", add_generation_prompt)
    if source in builtin.builtin_templates():
        if schemas or papers or values or messages.has_calls(turns):
            raise ChatTemplateError(
                f"the built-in template {source!r} takes messages only: no tools, documents or variables"
            )
        return builtin.apply(source, turns, prompt)
    if not jinja.available() and not (schemas or papers or values or messages.has_calls(turns)):
        try:
            text = builtin.apply(source, turns, prompt)
        except ChatTemplateError:
            pass  # then jinja2 is needed; `render` says so
        else:
            logging.getLogger("llama_ffi").warning(
                "jinja2 is not installed: the chat is formatted by llama.cpp's guess of the template"
            )
            return text
    special = tokens.special_texts(model)
    if messages.has_parts(turns) and not _takes_parts(source):
        turns = messages.join_parts(turns)
    if messages.has_calls(turns):
        turns = messages.set_arguments(turns, objects=_takes_objects(source))
    return jinja.render(
        source,
        {
            "messages": turns,
            "tools": schemas,
            "documents": papers,
            "add_generation_prompt": prompt,
            **special,
            **{name: own(value) if name in special else value for name, value in values.items()},
        },
        limits=limits or Limits(),
        now=now,
        n_input=messages.size(turns) + messages.size(schemas) + messages.size(papers),
    )


def _source(model: Model | None, template: str | None, tools: list[Any] | None) -> str:
    if template is not None:
        if not isinstance(template, str):
            raise ArgumentTypeError(f"template must be text, not {type(template).__name__}")
        if not template:
            raise InvalidArgumentError("the template is empty")
        if "{{" not in template and "{%" not in template and template not in builtin.builtin_templates():
            raise ChatTemplateError(
                f"{template!r:.80} is neither a Jinja template nor one of llama.cpp's own: "
                f"{', '.join(builtin.builtin_templates())}"
            )
        return template
    if model is None:
        raise InvalidArgumentError("without a model a template must be given")
    found = (model.chat_template("tool_use") if tools else None) or model.chat_template()
    if not found:
        raise ChatTemplateError(
            "the model has no chat template: it may not be made for chats. Pass template=, the text of a "
            'Jinja template or a name such as "chatml" (llama_ffi.chat.builtin_templates() has all)'
        )
    return found


def _listed(name: str, values: Iterable[Any] | None) -> list[Any] | None:
    if values is None:
        return None
    result = [
        messages.plain(value, f"{name}[{index}]")
        for index, value in enumerate(check.listed(name, values, "dicts"))
    ]
    for index, value in enumerate(result):
        if not isinstance(value, dict):
            raise ArgumentTypeError(f"{name}[{index}] must be a dict, not {type(value).__name__}")
    return result


@functools.lru_cache(maxsize=32)
def _takes_parts(source: str) -> bool:
    """Return whether a template renders content that is a list of parts."""
    text = _probe(source, [{"role": own("user"), "content": [{"type": "text", "text": _PROBE}]}])
    return text is not None and _PROBE in text and f"'{_PROBE}'" not in text and f'"{_PROBE}"' not in text


@functools.lru_cache(maxsize=32)
def _takes_objects(source: str) -> bool:
    """Return whether a template wants the arguments of a tool call as an object, not as JSON text."""
    call = {"id": "call00000", "type": "function", "function": {"name": "f", "arguments": {_PROBE: 1}}}
    turns: list[dict[str, Any]] = [
        {"role": own("user"), "content": "hi"},
        {"role": own("assistant"), "content": "", "tool_calls": [call]},
    ]
    text = _probe(source, turns)
    if text is not None and _PROBE in text:
        return f"{{'{_PROBE}'" not in text
    text = _probe(source, messages.set_arguments(turns, objects=False))
    return text is None or _PROBE not in text


def _probe(source: str, turns: list[dict[str, Any]]) -> str | None:
    tool = {
        "type": "function",
        "function": {"name": "f", "description": "f", "parameters": {"type": "object", "properties": {}}},
    }
    values = {
        "messages": turns,
        "tools": [tool] if messages.has_calls(turns) else None,
        "documents": None,
        "add_generation_prompt": False,
        "bos_token": own("<s>"),
        "eos_token": own("</s>"),
    }
    try:
        return jinja.render(source, values, limits=Limits(seconds=2.0), now=None, n_input=0)
    except LlamaError:
        return None
