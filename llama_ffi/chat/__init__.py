"""Chats: from messages to text and tokens, and to a typed reply.

    import llama_ffi as lf

    with lf.Model.load(path) as model:
        reply = model.chat([{"role": "user", "content": "What colour is grass?"}])
        print(reply.content, reply.finish_reason, reply.usage.completion_tokens)

What users write never becomes a special token, unless it is asked for; templates run in a sandbox with
limits.
"""

from __future__ import annotations

from .budget import Limits
from .builtin import builtin_templates
from .jinja import JinjaMissingError
from .replies import ChatReply, ChatStream, ask
from .session import ChatSession
from .templates import apply_template, tokenize

__all__ = [
    "ChatReply",
    "ChatSession",
    "ChatStream",
    "JinjaMissingError",
    "Limits",
    "apply_template",
    "ask",
    "builtin_templates",
    "tokenize",
]
