"""The form that a text shall have, as functions that generate take it: one option of several."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..errors import InvalidArgumentError
from .single import Sampler

if TYPE_CHECKING:
    from ..vocab import Vocab


def chosen(**texts: Any) -> tuple[str, Any] | None:
    """Return (name, value) of the one option that is given, None if none is.

    Arguments:
        texts: what decides about the text, each None if it isn't given.

    Raises:
        InvalidArgumentError: there is more than one.
    """
    given = [(name, value) for name, value in texts.items() if value is not None]
    if len(given) > 1:
        names = " and ".join(name for name, _ in given)
        hint = "add it to your sampler, first" if "sampler" in names else "give one of them"
        raise InvalidArgumentError(f"{names} can't both decide about the text; {hint}")
    return given[0] if given else None


def sampler(vocab: Vocab, form: tuple[str, Any]) -> Sampler:
    """Return the sampler that :func:`chosen` has found."""
    name, value = form
    make: Callable[..., Sampler]
    make = Sampler.json_schema if name == "response_format" else getattr(Sampler, name)
    return make(vocab, value)
