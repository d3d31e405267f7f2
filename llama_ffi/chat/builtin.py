"""The templates that are built into llama.cpp: a fixed list of formats, without a Jinja engine."""

from __future__ import annotations

from typing import Any

from .._core import binding
from .._core import text as text_
from ..errors import ChatTemplateError, InvalidArgumentError
from . import marked
from .messages import ROLES, join_parts

_SPACE = " \t\n\v\f\r"


def builtin_templates() -> list[str]:
    """Return the names of llama.cpp's built-in chat templates, sorted.

    C: llama_chat_builtin_templates

    Threads: any.
    """
    active = binding.active()
    ffi, lib = active.ffi, active.lib
    count = lib.llama_chat_builtin_templates(ffi.NULL, 0)
    names = ffi.new("char *[]", count)
    count = min(count, lib.llama_chat_builtin_templates(names, count))
    return sorted(ffi.string(names[index]).decode() for index in range(count))


def apply(template: str, messages: list[dict[str, Any]], prompt: bool) -> str:
    """Return the formatted chat, its contents unmarked and everything else marked as the template's own.

    Arguments:
        template: a name, or the text of a Jinja template, by which llama.cpp guesses the format.
        messages: checked messages.
        prompt: end with what begins an answer.

    Raises:
        ChatTemplateError: llama.cpp doesn't know the template.
        InvalidArgumentError: a role that it can't know, or parts that aren't text.
    """
    for message in messages:
        if message["role"] not in ROLES:
            raise InvalidArgumentError(
                f"built-in templates don't know the role {message['role']!r:.40}; they know "
                f"{', '.join(sorted(ROLES))}"
            )
    roles = [message["role"] for message in messages]
    contents = [message.get("content") or "" for message in join_parts(messages)]
    everything = "".join(contents)
    if "\0" in everything:  # a C string would end there
        stand_in = next(char for char in map(chr, range(0xE000, 0xF8FF)) if char not in everything)
        text = _own_marked(template, roles, [text.replace("\0", stand_in) for text in contents], prompt)
        plain = "".join(text).replace(stand_in, "\0")
        return marked.Own(plain, text.ranges) if isinstance(text, marked.Own) else plain
    return _own_marked(template, roles, contents, prompt)


def _own_marked(template: str, roles: list[str], contents: list[str], prompt: bool) -> str:
    text = _format(template, roles, contents, prompt)
    # C gives one text. Rendered again with names in place of the contents, it shows where those stand.
    mark = "llama_ffi"
    while any(mark in part for part in (text, template)):
        mark += "_"
    names = [f"[{mark}:{index}]" for index in range(len(contents))]
    return _marked(text, _format(template, roles, names, prompt), names, contents)


def _marked(text: str, pattern: str, names: list[str], contents: list[str]) -> str:
    parts: list[str] = []
    at = 0
    found = sorted((pattern.find(name), index) for index, name in enumerate(names) if name in pattern)
    begin = 0
    for place, index in found:
        literal = pattern[begin:place]
        begin = place + len(names[index])
        after = pattern[begin : min((p for p, _ in found if p >= begin), default=len(pattern))]
        parts.append(marked.own(literal))
        at += len(literal)
        for content in (contents[index], contents[index].strip(_SPACE)):
            if text.startswith(content + after, at):
                break
        else:
            return text  # changed in a way that we can't follow: nothing of it is known to be the template's
        parts.append(content)
        at += len(content)
    parts.append(marked.own(pattern[begin:]))
    result = marked.join(parts)
    return result if result == text else text


def _format(template: str, roles: list[str], contents: list[str], prompt: bool) -> str:
    active = binding.active()
    ffi, lib = active.ffi, active.lib
    strings = [
        (text_.encode_c(role, "role"), text_.encode_c(content, "content"))
        for role, content in zip(roles, contents, strict=True)
    ]
    keep = [(ffi.new("char[]", role), ffi.new("char[]", content)) for role, content in strings]
    chat = ffi.new("llama_chat_message[]", [{"role": role, "content": content} for role, content in keep])
    name = text_.encode_c(template, "template")
    room = 2 * sum(len(role) + len(content) for role, content in strings) + 256
    while True:
        buffer = ffi.new("char[]", room)
        length = lib.llama_chat_apply_template(name, chat, len(strings), prompt, buffer, room)
        if length < 0:
            raise ChatTemplateError(
                f"llama.cpp doesn't know this template; its own are: {', '.join(builtin_templates())}",
                code=length,
            )
        if length <= room:
            break
        room = length
    del keep
    return bytes(ffi.buffer(buffer, length)).decode("utf-8")
