"""Messages on their way to a template: plain data, and nothing that could be mistaken for the template."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

from .._core import check
from ..errors import ArgumentTypeError, InvalidArgumentError
from .marked import own

Message = Mapping[str, Any]

ROLES = frozenset(
    {"system", "developer", "user", "human", "assistant", "model", "gpt", "bot"}
    | {"tool", "function", "ipython", "observation", "environment", "documents", "context"}
)
"""Roles that count as the template's own text: templates build special tokens from them, ``<|user|>``."""


def checked(messages: Iterable[Message]) -> list[dict[str, Any]]:
    """Return the messages as plain dicts of plain values, a copy; roles that are known are marked as own.

    Raises:
        ArgumentTypeError: not a list of mappings, or a value that is no JSON.
        InvalidArgumentError: no messages, no role, or a value that is nested too deeply.
    """
    if isinstance(messages, str | bytes | Mapping) or not isinstance(messages, Iterable):
        raise ArgumentTypeError(
            'messages must be a list such as [{"role": "user", "content": "hi"}], not '
            f"{type(messages).__name__}"
        )
    result = []
    for index, message in enumerate(check.listed("messages", messages, "dicts")):
        where = f"messages[{index}]"
        value = plain(message, where)
        if not isinstance(value, dict):
            raise ArgumentTypeError(
                f"{where} must be a dict with role and content, not {type(message).__name__}"
            )
        role = value.get("role")
        if not isinstance(role, str) or not role:
            raise InvalidArgumentError(f'{where} needs a role, such as "user"; it has {role!r:.40}')
        content = value.get("content")
        if not isinstance(content, str | list | None):
            raise ArgumentTypeError(
                f"{where}['content'] must be text, a list of parts or None, not {type(content).__name__}"
            )
        if role in ROLES:
            value["role"] = own(role)
        result.append(value)
    if not result:
        raise InvalidArgumentError("there are no messages")
    return result


def plain(value: Any, where: str) -> Any:
    """Return a copy of ``value`` made of dicts, lists, texts, numbers, bools and None only."""
    try:
        return _plain(value, where)
    except RecursionError:
        raise InvalidArgumentError(f"{where} is nested too deeply") from None


def _plain(value: Any, where: str) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return "".join(value) if type(value) is not str else value  # a subclass brings methods of its own
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value)
    if isinstance(value, Mapping):
        return {_key(key, where): _plain(item, f"{where}[{key!r:.40}]") for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray | memoryview):
        return [_plain(item, f"{where}[{index}]") for index, item in enumerate(value)]
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name), where) for field in fields(value)}
    raise ArgumentTypeError(f"{where} must be text, a number, a list or a dict, not {type(value).__name__}")


def _key(key: Any, where: str) -> str:
    if not isinstance(key, str):
        raise ArgumentTypeError(f"the keys of {where} must be text; one is {key!r:.40}")
    return "".join(key)


def size(value: Any) -> int:
    """Return roughly how many characters a plain value has."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, dict):
        return sum(len(key) + size(item) for key, item in value.items())
    return sum(map(size, value)) if isinstance(value, list) else 8


def has_parts(messages: list[dict[str, Any]]) -> bool:
    """Return whether the content of any message is a list of parts."""
    return any(isinstance(message.get("content"), list) for message in messages)


def has_calls(messages: list[dict[str, Any]]) -> bool:
    """Return whether any message calls tools."""
    return any(message.get("tool_calls") for message in messages)


def join_parts(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the messages with lists of text parts joined by line feeds, for templates that want text.

    Raises:
        InvalidArgumentError: a part isn't text.
    """
    return [
        {**message, "content": _joined(content)} if isinstance(content, list) else message
        for message, content in ((message, message.get("content")) for message in messages)
    ]


def _joined(parts: list[Any]) -> str:
    texts = []
    for part in parts:
        text = part.get("text") if isinstance(part, dict) else part
        if not isinstance(text, str):
            kind = part.get("type") if isinstance(part, dict) else type(part).__name__
            raise InvalidArgumentError(
                f"this chat template takes text only; there is a part of type {kind!r:.40}"
            )
        texts.append(text)
    return "\n".join(texts)


def set_arguments(messages: list[dict[str, Any]], *, objects: bool) -> list[dict[str, Any]]:
    """Return the messages with the arguments of tool calls as objects, or as JSON text."""
    result = []
    for message in messages:
        calls = message.get("tool_calls")
        if isinstance(calls, list):
            message = {**message, "tool_calls": [_call(call, objects) for call in calls]}
        result.append(message)
    return result


def _call(call: Any, objects: bool) -> Any:
    if not isinstance(call, dict):
        return call
    if isinstance(call.get("function"), dict):
        return {**call, "function": _call(call["function"], objects)}
    arguments = call.get("arguments")
    if objects and isinstance(arguments, str):
        try:
            value = json.loads(arguments)
        except (ValueError, RecursionError):
            return call  # what a model has called with may be anything
        return {**call, "arguments": value} if isinstance(value, dict) else call
    if not objects and isinstance(arguments, dict):
        return {**call, "arguments": json.dumps(arguments, ensure_ascii=False)}
    return call
