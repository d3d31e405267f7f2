"""Read a JSON schema before llguidance does: what it is, how large, and what would take too long.

llguidance bounds almost everything by itself. What it doesn't: it recurses with the length of a chain of
references, so the text is bounded (and its reader gets a stack of that size); ``multipleOf`` becomes an
automaton with a state for each remainder, and the properties of an object are compared with each other,
which isn't counted. And some formats are made exact here.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from ..errors import ArgumentTypeError, GrammarError

MAX_LENGTH = 1_000_000
"""Characters of a schema, as JSON."""

_MAX_DEPTH = 120
"""Arrays and objects in each other; serde_json, which reads it, ends at 128."""

_MAX_REMAINDERS = 200_000
"""Of all ``multipleOf`` together; so many take about two seconds."""

_MAX_PROPERTIES = 5000
"""Of one object, in "properties" and "required"; the time grows with the square: so many take two seconds."""

_MAPS = frozenset({"properties", "patternProperties", "$defs", "definitions", "dependentSchemas"})
"""Keywords whose values are named schemas, so that the names below aren't keywords."""

_DATA = frozenset({"enum", "const", "default", "examples"})
"""Keywords whose values are not schemas."""

_LEAP = r"(\d\d(0[48]|[2468][048]|[13579][26])|(0[48]|[2468][048]|[13579][26])00)-02-29"
_YEAR = r"(000[1-9]|00[1-9]\d|0[1-9]\d\d|[1-9]\d{3})"
_DAY = r"((0[13578]|1[02])-(0[1-9]|[12]\d|3[01])|(0[469]|11)-(0[1-9]|[12]\d|30)|02-(0[1-9]|1\d|2[0-8]))"
_DATE = f"({_YEAR}-{_DAY}|{_LEAP})"
_TIME = r"\d\d:\d\d:[0-5]\d"

EXACT: dict[str, dict[str, Any]] = {
    "date": {"pattern": f"^{_DATE}$"},
    "time": {"pattern": f"^{_TIME}"},
    "date-time": {"pattern": f"^{_DATE}[Tt]{_TIME}"},
    "email": {"maxLength": 254},
    "hostname": {"maxLength": 253},
}
"""What llguidance 1.9 lets through and validators don't, by format: February 29 in every year, the year 0, a
61st second in every minute, host names and addresses of any length."""


def read(schema: Any) -> dict[str, Any]:
    """Return a JSON schema as a dict of its own.

    Arguments:
        schema: a dict, a bool, JSON text, or a class with ``model_json_schema()``, as pydantic's have it.

    Raises:
        ArgumentTypeError: something else.
        GrammarError: no JSON, or a schema that is too large, too deep or too expensive.
    """
    make = getattr(schema, "model_json_schema", None)
    if isinstance(schema, type) and callable(make):
        schema = make()
    if isinstance(schema, bytes | bytearray):
        try:
            schema = bytes(schema).decode()
        except UnicodeDecodeError as error:
            raise GrammarError(f"the JSON schema isn't UTF-8: {error}") from None
    text = schema if isinstance(schema, str) else _dump(schema)
    _check_length(len(text))
    try:
        result = json.loads(text, parse_constant=_no_constant)
    except RecursionError:
        raise _too_deep() from None
    except GrammarError:
        raise
    except ValueError as error:
        raise GrammarError(f"the JSON schema isn't JSON: {error}") from None
    if result is True:
        result = {}
    elif result is False:
        raise GrammarError("the JSON schema is false, which no text satisfies")
    if not isinstance(result, dict):
        raise ArgumentTypeError(f"a JSON schema must be an object, not {_shown(result)}")
    _check(result)
    return result


def _dump(schema: Any) -> str:
    if not isinstance(schema, dict | bool):
        raise ArgumentTypeError(
            f"schema must be a dict, JSON text or a pydantic class, not {type(schema).__name__}"
        )
    parts: list[str] = []
    length = 0
    try:
        # piece by piece: a few dicts that hold each other twice have no end in JSON
        for part in json.JSONEncoder(allow_nan=False).iterencode(schema):
            length += len(part)
            _check_length(length)
            parts.append(part)
    except RecursionError:
        raise _too_deep() from None
    except GrammarError:
        raise
    except (TypeError, ValueError) as error:
        raise GrammarError(f"the schema can't be written as JSON: {error}") from None
    return "".join(parts)


def _check_length(length: int) -> None:
    if length > MAX_LENGTH:
        raise GrammarError(f"the JSON schema has more than {MAX_LENGTH} characters; make it smaller")


def _too_deep() -> GrammarError:
    return GrammarError(
        f"the JSON schema has more than {_MAX_DEPTH} arrays and objects in each other; name parts of it in "
        f'"$defs" and refer to them by "$ref"'
    )


def _no_constant(name: str) -> Any:
    raise GrammarError(f"the JSON schema has the number {name}, which JSON doesn't know")


def _check(schema: dict[str, Any]) -> None:
    """Raise if it is too deep or too expensive; make formats exact."""
    remainders = squares = 0
    for part, is_schema, depth in _parts(schema):
        if depth > _MAX_DEPTH:
            raise _too_deep()
        if not is_schema:
            continue
        value, name = part.get("multipleOf"), part.get("format")
        named = _length(part.get("properties")) + _length(part.get("required"))
        squares += named**2
        if squares > _MAX_PROPERTIES**2:
            raise GrammarError(
                f"an object with {named} properties and required ones is too large; one of "
                f"{_MAX_PROPERTIES} is possible, or several smaller ones"
            )
        if isinstance(value, int | float):
            remainders += _remainders(value)
            if remainders > _MAX_REMAINDERS:
                raise GrammarError(
                    f"multipleOf {value}: all of them together may have {_MAX_REMAINDERS} remainders, which "
                    f"become states of an automaton; leave out the largest"
                )
        rule = EXACT.get(name) if isinstance(name, str) else None
        if rule is not None:
            others = part.get("allOf")
            part["allOf"] = [*(others if isinstance(others, list) else []), rule]


def _parts(schema: dict[str, Any]) -> Iterator[tuple[dict[str, Any], bool, int]]:
    """Yield (object, whether it is a schema, depth) of all objects, from the outside in."""
    left: list[tuple[Any, bool, bool, int]] = [(schema, False, False, 1)]
    while left:
        value, named, data, depth = left.pop()
        if isinstance(value, dict):
            yield value, not (named or data), depth
            for key, inner in value.items():
                keyword = "" if named or data else key
                left.append((inner, keyword in _MAPS, data or keyword in _DATA, depth + 1))
        elif isinstance(value, list):
            left.extend((inner, False, data, depth + 1) for inner in value)


def _length(value: Any) -> int:
    return len(value) if isinstance(value, dict | list) else 0


def _remainders(number: float) -> int:
    """Return how many states ``multipleOf`` takes: its digits without zeros at the end, without the point."""
    if isinstance(number, int):
        return abs(number)
    digits = repr(number).partition("e")[0].replace(".", "").lstrip("-0").rstrip("0")
    return int(digits or "0")


def _shown(value: Any) -> str:
    return f"{json.dumps(value):.40}"
