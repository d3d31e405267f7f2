"""Evaluate C constant expressions as a compiler does.

Integers carry their width and sign: `~0u`, `-1 < 0u` and `(uint8_t) 300` come out as in C, not as
in Python.  Strings and floats are values too, because macros have them.
"""

from __future__ import annotations

import operator
import re
import struct
from collections.abc import Callable
from dataclasses import dataclass

from pycparser import c_ast

from .errors import BindgenError
from .ir import Type
from .scope import NoLayout, Scope

Typer = Callable[[c_ast.Node], Type]

_INTEGER = re.compile(r"(0[xX][0-9a-fA-F]+|0[bB][01]+|\d+)([uUlL]*)$")
_OPERATORS: dict[str, Callable[[int, int], int]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "&": operator.and_,
    "|": operator.or_,
    "^": operator.xor,
    "<<": operator.lshift,
    ">>": operator.rshift,
}
_COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}
_FLOAT_OPERATORS: dict[str, Callable[[float, float], float]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
}
_ESCAPES = {"a": 7, "b": 8, "f": 12, "n": 10, "r": 13, "t": 9, "v": 11, "e": 27}


class NotConstant(BindgenError):
    """An expression without a value at compile time, or one that we do not understand."""


@dataclass(frozen=True)
class Integer:
    """A C integer: its value, width in bytes (4 or 8 after promotion) and sign."""

    value: int
    size: int = 4
    signed: bool = True

    @classmethod
    def wrap(cls, value: int, size: int, signed: bool) -> Integer:
        """Return `value` reduced to what the type can hold."""
        value &= (1 << 8 * size) - 1
        if signed and value >> (8 * size - 1):
            value -= 1 << 8 * size
        return cls(value, size, signed)

    @classmethod
    def of(cls, value: int) -> Integer:
        """Return an enumerator's value: an int where it fits, else the next wider type."""
        for size, signed in ((4, True), (4, False), (8, True)):
            if cls.wrap(value, size, signed).value == value:
                return cls(value, size, signed)
        return cls(value, 8, False)

    def promoted(self) -> Integer:
        """Return the value after C's integer promotions."""
        return self if self.size >= 4 else Integer(self.value)


Value = Integer | float | str


class Evaluator:
    """Evaluates pycparser expressions against the names of a scope."""

    def __init__(self, scope: Scope, typer: Typer) -> None:
        self.scope = scope
        self._typer = typer

    def python_value(self, node: c_ast.Node) -> int | float | str:
        """Return the value of an expression as a plain Python object.

        Raises NotConstant.
        """
        value = self.value(node)
        return value.value if isinstance(value, Integer) else value

    def integer(self, node: c_ast.Node) -> int:
        """Return the value of an integer constant expression.

        Raises NotConstant, also for floats and strings.
        """
        value = self.value(node)
        if not isinstance(value, Integer):
            raise NotConstant("an integer constant is needed here")
        return value.value

    def value(self, node: c_ast.Node) -> Value:
        """Return the typed value of an expression."""
        if isinstance(node, c_ast.Constant):
            return self._constant(node)
        if isinstance(node, c_ast.ID):
            if node.name not in self.scope.constants:
                raise NotConstant(f"{node.name!r} has no value here")
            known = self.scope.constants[node.name]
            return Integer.of(known) if isinstance(known, int) else known
        if isinstance(node, c_ast.UnaryOp):
            return self._unary(node)
        if isinstance(node, c_ast.BinaryOp):
            return self._binary(node)
        if isinstance(node, c_ast.TernaryOp):
            return self.value(node.iftrue if self._truth(node.cond) else node.iffalse)
        if isinstance(node, c_ast.Cast):
            return self._cast(node)
        raise NotConstant(f"{type(node).__name__} is not part of a constant expression")

    def _constant(self, node: c_ast.Constant) -> Value:
        text: str = node.value
        if node.type == "string":
            return string_value(text)
        if node.type == "char":
            return Integer(ord(string_value(text)))
        match = _INTEGER.match(text)
        if match is None:
            return self._float(text)
        digits, suffix = match.group(1), match.group(2).lower()
        decimal = digits[0] != "0" or len(digits) == 1
        octal = len(digits) > 1 and digits.isdigit() and digits[0] == "0"
        value = int(digits, 8 if octal else 0)
        long_size = 8 if "ll" in suffix else self.scope.model.long if "l" in suffix else 4
        for size in sorted({long_size, 8}):
            for signed in (False,) if "u" in suffix else (True,) if decimal else (True, False):
                if Integer.wrap(value, size, signed).value == value:
                    return Integer(value, size, signed)
        raise NotConstant(f"{text} fits no integer type")

    def _float(self, text: str) -> float:
        body = text.rstrip("fFlL") if not text.lower().startswith("0x") else text.rstrip("lL")
        try:
            value = float.fromhex(body) if body.lower().startswith("0x") else float(body)
        except ValueError:
            raise NotConstant(f"{text} is not a number") from None
        return _single(value) if text[-1] in "fF" else value

    def _unary(self, node: c_ast.UnaryOp) -> Value:
        if node.op in ("sizeof", "_Alignof"):
            return self._sizeof(node)
        if node.op == "!":
            return Integer(int(not self._truth(node.expr)))
        value = self.value(node.expr)
        if isinstance(value, float) and node.op in "+-":
            return -value if node.op == "-" else value
        if not isinstance(value, Integer) or node.op not in "+-~":
            raise NotConstant(f"operator {node.op!r} does not apply here")
        value = value.promoted()
        result = {"+": value.value, "-": -value.value, "~": ~value.value}[node.op]
        return Integer.wrap(result, value.size, value.signed)

    def _sizeof(self, node: c_ast.UnaryOp) -> Integer:
        if not isinstance(node.expr, c_ast.Typename):
            if isinstance(node.expr, c_ast.Constant) and node.expr.type == "string":
                return Integer(len(string_value(node.expr.value).encode()) + 1, 8, False)
            operand = self.value(node.expr)
            return Integer(operand.size if isinstance(operand, Integer) else 8, 8, False)
        try:
            size, align = self.scope.size_align(self._typer(node.expr))
        except NoLayout as error:
            raise NotConstant(str(error)) from error
        return Integer(size if node.op == "sizeof" else align, 8, False)

    def _binary(self, node: c_ast.BinaryOp) -> Value:
        op: str = node.op
        if op in ("&&", "||"):
            left = self._truth(node.left)
            decided = left if op == "||" else not left
            return Integer(int(left if decided else self._truth(node.right)))
        left_value, right_value = self.value(node.left), self.value(node.right)
        if isinstance(left_value, Integer) and isinstance(right_value, Integer):
            return _integers(op, left_value.promoted(), right_value.promoted())
        if isinstance(left_value, str) or isinstance(right_value, str):
            raise NotConstant(f"operator {op!r} on a string")
        a = float(left_value.value if isinstance(left_value, Integer) else left_value)
        b = float(right_value.value if isinstance(right_value, Integer) else right_value)
        if op in _COMPARISONS:
            return Integer(int(_COMPARISONS[op](a, b)))
        if op not in _FLOAT_OPERATORS or (op == "/" and b == 0):
            raise NotConstant(f"operator {op!r} on these operands has no value")
        return _FLOAT_OPERATORS[op](a, b)

    def _cast(self, node: c_ast.Cast) -> Value:
        target = self.scope.number(self._typer(node.to_type))
        value = self.value(node.expr)
        if target is None or isinstance(value, str):
            raise NotConstant("a cast to this type has no value")
        if target.kind == "float":
            number = float(value.value if isinstance(value, Integer) else value)
            return _single(number) if target.size == 4 else number
        number = value.value if isinstance(value, Integer) else int(value)
        if target.kind == "bool":
            return Integer(int(bool(value.value if isinstance(value, Integer) else value)), 1, False)
        return Integer.wrap(number, target.size, target.signed)

    def _truth(self, node: c_ast.Node) -> bool:
        value = self.value(node)
        return bool(value.value if isinstance(value, Integer) else value)


def string_value(literal: str) -> str:
    """Return the text of a C string or character literal, whose bytes are UTF-8.

    Raises NotConstant for wide literals.
    """
    if literal[0] not in "\"'":
        raise NotConstant(f"{literal} is not a plain literal")
    body, out, at = literal[1:-1].replace('""', ""), bytearray(), 0
    while at < len(body):
        char = body[at]
        at += 1
        if char != "\\":
            out += char.encode()
            continue
        if octal := re.compile(r"[0-7]{1,3}").match(body, at):
            out.append(int(octal.group(), 8) & 0xFF)
            at = octal.end()
        elif hexadecimal := re.compile(r"x([0-9a-fA-F]+)").match(body, at):
            out.append(int(hexadecimal.group(1), 16) & 0xFF)
            at = hexadecimal.end()
        else:
            out.append(_ESCAPES.get(body[at], ord(body[at])))
            at += 1
    return out.decode("utf-8", "surrogateescape")


def _integers(op: str, a: Integer, b: Integer) -> Integer:
    if op in ("<<", ">>"):
        if not 0 <= b.value < 8 * a.size:
            raise NotConstant(f"shift by {b.value}")
        return Integer.wrap(_OPERATORS[op](a.value, b.value), a.size, a.signed)
    size = max(a.size, b.size)
    signed = all(v.signed or v.size < size for v in (a, b))
    x, y = (Integer.wrap(v.value, size, signed).value for v in (a, b))
    if op in _COMPARISONS:
        return Integer(int(_COMPARISONS[op](x, y)))
    if op in ("/", "%"):
        if y == 0:
            raise NotConstant("division by zero")
        quotient = abs(x) // abs(y) * (1 if (x < 0) == (y < 0) else -1)
        return Integer.wrap(quotient if op == "/" else x - quotient * y, size, signed)
    if op not in _OPERATORS:
        raise NotConstant(f"operator {op!r} has no constant value")
    return Integer.wrap(_OPERATORS[op](x, y), size, signed)


def _single(value: float) -> float:
    """Return `value` rounded to a C float."""
    rounded: float = struct.unpack("f", struct.pack("f", value))[0]
    return rounded
