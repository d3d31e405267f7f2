"""Rendering a model's own template, within limits."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from ..errors import ChatTemplateError, LlamaError
from . import marked
from .budget import Budget, Limits, current

if TYPE_CHECKING:
    from jinja2 import Template

_OLDEST = (3, 1, 6)
"""earlier versions have known ways out of the sandbox"""
_KEPT = 16
_AT_ONCE = 4096

_compiled: OrderedDict[str, Template] = OrderedDict()
_lock = threading.Lock()


class JinjaMissingError(ChatTemplateError, ImportError):
    """Rendering needs jinja2, which is not installed, or too old to be safe."""


def available() -> bool:
    """Return whether jinja2 can be used."""
    try:
        _check_jinja2()
    except JinjaMissingError:
        return False
    return True


def render(
    source: str, values: Mapping[str, Any], *, limits: Limits, now: datetime | None, n_input: int
) -> str:
    """Return the rendered text; :class:`marked.Own` where any of it is the template's.

    Raises:
        JinjaMissingError: jinja2 is absent or too old.
        ChatTemplateError: the template is wrong, refuses the messages, or exceeds its limits.
    """
    _check_jinja2()
    from . import environment

    def strftime_now(format: str) -> str:
        return (now or datetime.now()).strftime(format)

    token = current.set(Budget(limits, n_input))
    try:
        template = _compile(source, limits)
        budget = current.get()
        context = template.new_context(environment.variables(values, strftime_now))
        pieces = []
        for piece in template.root_render_func(context):
            budget.step()
            budget.produce(len(piece))
            pieces.append(piece)
            if len(pieces) == _AT_ONCE:
                pieces = [marked.join(pieces)]
        return marked.join(pieces)
    except LlamaError:
        raise
    except environment.Refused as error:
        raise ChatTemplateError(f"the template refuses these messages: {error}") from None
    except RecursionError:
        raise ChatTemplateError("the template, or a value in the messages, is nested too deeply") from None
    except Exception as error:  # whatever a stranger's template can raise
        raise ChatTemplateError(f"the chat template failed: {_words(error)}") from error
    finally:
        current.reset(token)


def _compile(source: str, limits: Limits) -> Template:
    if len(source) > limits.template:
        raise ChatTemplateError(
            f"the chat template has {len(source)} characters; {limits.template} are allowed (Limits.template)"
        )
    with _lock:
        template = _compiled.get(source)
        if template is not None:
            _compiled.move_to_end(source)
            return template
    from . import environment

    template = environment.environment().from_string(source)
    with _lock:
        _compiled[source] = template
        while len(_compiled) > _KEPT:
            _compiled.popitem(last=False)
    return template


def _words(error: Exception) -> str:
    line = getattr(error, "lineno", None)
    where = f" (line {line})" if line else ""
    return f"{type(error).__name__}: {str(error)[:500]}{where}"


def _check_jinja2() -> None:
    try:
        from importlib.metadata import PackageNotFoundError, version

        import jinja2  # noqa: F401

        found = version("jinja2")
    except (ImportError, PackageNotFoundError):
        raise JinjaMissingError(
            "this model's chat template is written in Jinja: `pip install 'jinja2>=3.1.6'` (or pass "
            "template=, one of llama_ffi.chat.builtin_templates())"
        ) from None
    numbers = tuple(int(part) for part in found.split(".")[:3] if part.isdigit())
    if numbers < _OLDEST:
        raise JinjaMissingError(
            f"jinja2 {found} has known ways out of its sandbox: `pip install -U 'jinja2>=3.1.6'`"
        )
