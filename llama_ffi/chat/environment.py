"""jinja2's sandbox, as chat templates expect it, with a budget and with marked text.

The one module that imports jinja2; it is imported when the first template is rendered. Templates see what
transformers shows them: trimmed blocks, loop controls, ``tojson`` that leaves HTML alone,
``raise_exception``, ``strftime_now``, ``{% generation %}``. Compiled code differs from jinja2's own in three
places: constants are the template's *own* text, loops count, and what joins text asks the budget first.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import jinja2
import jinja2.ext
from jinja2 import nodes
from jinja2.compiler import CodeGenerator, Frame, operators
from jinja2.exceptions import SecurityError
from jinja2.runtime import Context, Undefined
from jinja2.sandbox import ImmutableSandboxedEnvironment, SandboxedFormatter
from jinja2.utils import Namespace

from ..errors import ChatTemplateError
from . import costs, marked
from .budget import Budget, current
from .costs import number, weigh

_COUNTED = "counted items"
"""a filter's name that no template can spell"""
_LEFT_OUT = frozenset({"pprint", "striptags", "urlize", "wordwrap", "xmlattr"})
_TAKES_APART = frozenset(
    {"batch", "dictsort", "groupby", "list", "map", "reject", "select", "slice", "sort", "unique"}
)
_SHALLOW = frozenset(
    {"attr", "batch", "count", "d", "default", "first", "items", "last", "length", "list", "map", "reject"}
    | {"rejectattr", "reverse", "select", "selectattr", "slice"}
)
"""filters that don't look into the elements of what they are given"""
_REFUSED = {
    str: frozenset({"encode", "expandtabs", "format_map", "maketrans", "striptags", "translate", "unescape"}),
    int: frozenset({"from_bytes", "to_bytes"}),
}


class Refused(Exception):
    """What ``raise_exception()`` raises: the template's own words."""


class _Generator(CodeGenerator):
    """Emits code in which constants are marked and containers are weighed."""

    def _output_child_to_const(self, node: nodes.Expr, frame: Frame, finalize: Any) -> str:
        if isinstance(node, nodes.TemplateData):
            return str(node.as_const(frame.eval_ctx))
        raise nodes.Impossible  # nothing is computed while compiling: there is no budget

    def _output_const_repr(self, group: Iterable[Any]) -> str:
        return f"environment.own({''.join(group)!r})"

    def visit_Const(self, node: nodes.Const, frame: Frame) -> None:
        if isinstance(node.value, str):
            self.write(f"environment.own({node.value!r})")
        else:
            super().visit_Const(node, frame)

    def visit_Concat(self, node: nodes.Concat, frame: Frame) -> None:
        self._call("tilde", frame, node.nodes)

    def visit_List(self, node: nodes.List, frame: Frame) -> None:
        self._built(super().visit_List, node, frame)

    def visit_Dict(self, node: nodes.Dict, frame: Frame) -> None:
        self._built(super().visit_Dict, node, frame)

    def visit_Tuple(self, node: nodes.Tuple, frame: Frame) -> None:
        if node.ctx == "load":
            self._built(super().visit_Tuple, node, frame)
        else:
            super().visit_Tuple(node, frame)

    def visit_Compare(self, node: nodes.Compare, frame: Frame) -> None:
        self.write("(")
        self._call("operand", frame, [node.expr])
        for operand in node.ops:
            self.write(f" {operators[operand.op]} ")
            self._call("operand", frame, [operand.expr])
        self.write(")")

    def _built(self, visit: Callable[[Any, Frame], None], node: nodes.Expr, frame: Frame) -> None:
        self.write("environment.built(")
        visit(node, frame)
        self.write(")")

    def _call(self, name: str, frame: Frame, args: Iterable[nodes.Expr]) -> None:
        self.write(f"environment.{name}(")
        for arg in args:
            self.visit(arg, frame)
            self.write(", ")
        self.write(")")


class _Generation(jinja2.ext.Extension):
    """``{% generation %}…{% endgeneration %}`` marks what an assistant wrote; rendering ignores the marks."""

    tags = frozenset({"generation"})  # type: ignore[assignment]

    def parse(self, parser: Any) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.CallBlock(self.call_method("_body"), [], [], body).set_lineno(line)

    def _body(self, caller: Callable[[], str]) -> str:
        return caller()


class Environment(ImmutableSandboxedEnvironment):
    """The sandbox; one for all templates and threads, what a rendering has left is in ``budget.current``."""

    code_generator_class = _Generator
    intercepted_binops = frozenset({"+", "*", "**", "%"})
    own = staticmethod(marked.own)

    def __init__(self) -> None:
        super().__init__(
            trim_blocks=True,
            lstrip_blocks=True,
            optimized=False,
            finalize=_printed,
            extensions=[jinja2.ext.loopcontrols, _Generation],
        )
        filters = {name: _bounded(name, f) for name, f in self.filters.items() if name not in _LEFT_OUT}
        filters["tojson"] = _bounded("tojson", _tojson)
        join = functools.partial(_join, self.filters["join"])
        filters["join"] = _bounded("join", jinja2.pass_eval_context(join))
        filters[_COUNTED] = lambda items: current.get().count(items)
        self.filters = filters
        del self.globals["lipsum"]
        self.globals.update(raise_exception=_raise, namespace=_Namespace, dict=_Dict())

    def _generate(self, source: nodes.Template, *rest: Any, **named: Any) -> str:
        for loop in list(source.find_all(nodes.For)):
            loop.iter = nodes.Filter(loop.iter, _COUNTED, [], [], None, None, lineno=loop.lineno)
        return super()._generate(source, *rest, **named)

    # --- what compiled code calls ---

    @staticmethod
    def concat(parts: Iterable[str]) -> str:
        """Join what a macro or a block put out."""
        texts = list(parts)
        current.get().produce(sum(map(len, texts)))
        return marked.join(texts)

    @staticmethod
    def tilde(*parts: Any) -> str:
        """``a ~ b``"""
        left = current.get()
        left.step()
        texts = [part if isinstance(part, str) else str(_printed(part)) for part in parts]
        left.produce(sum(map(len, texts)))
        return marked.join(str(text) for text in texts)

    @staticmethod
    def built(value: Any) -> Any:
        """A list, tuple or dict that the template has written down."""
        current.get().step()
        weigh(value)
        return value

    @staticmethod
    def operand(value: Any) -> Any:
        """One side of a comparison."""
        if not isinstance(value, str):
            weigh(value)
        return value

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        costs.binop(current.get(), operator, left, right)
        return super().call_binop(context, operator, left, right)

    def call(__self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:
        left = current.get()
        left.step()
        owner = getattr(__obj, "__self__", None)
        if isinstance(owner, str | int | bytes) and not isinstance(__obj, type):
            args = _method(left, owner, str(getattr(__obj, "__name__", "")), args, kwargs)
        return _result(left, super().call(__context, __obj, *args, **kwargs))

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        wrapped = super().wrap_str_format(value)
        if wrapped is None or hasattr(value.__self__, "__html__"):
            return wrapped
        text: str = value.__self__

        def format_(*args: Any, **kwargs: Any) -> str:
            values = [*args, *kwargs.values()]
            costs.formatted(current.get(), text, values)
            made: str = SandboxedFormatter(self).vformat(text, args, kwargs)
            return marked.own(made) if marked.is_own(text) and all(map(marked.is_own, values)) else str(made)

        return format_


def _method(left: Budget, owner: Any, name: str, args: tuple[Any, ...], kwargs: Any) -> tuple[Any, ...]:
    """Take what a method of a text or a number will cost from the budget; return the arguments."""
    if isinstance(owner, bytes) or any(
        isinstance(owner, kind) and name in names for kind, names in _REFUSED.items()
    ):
        raise SecurityError(f"templates can't call {type(owner).__name__}.{name}()")
    for value in (*args, *kwargs.values()):
        number(value)
    if not isinstance(owner, str):
        return args
    if name == "join" and args:
        items = list(left.count(args[0]))
        left.produce(sum(len(item) for item in items if isinstance(item, str)) + len(owner) * len(items))
        return (items, *args[1:])
    if name == "replace" and len(args) > 1 and isinstance(args[0], str) and isinstance(args[1], str):
        left.produce(len(owner) + len(args[1]) * owner.count(args[0]))
    elif name in ("split", "rsplit"):
        sep = args[0] if args and isinstance(args[0], str) and args[0] else " "
        left.produce(64 * owner.count(sep))
    elif name == "splitlines":
        left.produce(64 * owner.count("\n"))
    return args


def _bounded(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a filter that pays."""
    skip = 1 if hasattr(function, "jinja_pass_arg") else 0

    @functools.wraps(function, assigned=("__doc__",))
    def bounded(*args: Any, **kwargs: Any) -> Any:
        left = current.get()
        left.step()
        value = args[skip] if len(args) > skip else None
        rest = args[skip + 1 :]
        for arg in (*rest, *kwargs.values()):
            number(arg)
        if name not in _SHALLOW:
            weigh(value)
        if isinstance(value, str):
            _text_filter(left, name, value, rest, kwargs)
        elif name == "sum" and not isinstance(kwargs.get("start", (*rest, 0, 0)[1]), int | float):
            raise ChatTemplateError("the filter sum adds numbers only")
        return _result(left, function(*args, **kwargs))

    return bounded


def _text_filter(left: Budget, name: str, text: str, args: tuple[Any, ...], kwargs: Any) -> None:
    if name == "replace":
        old, new = str((*args, "", "")[0]), str((*args, "", "")[1])
        left.produce(len(text) + len(kwargs.get("new", new)) * text.count(kwargs.get("old", old)))
    elif name == "indent":
        width = kwargs.get("width", (*args, 4)[0])
        left.produce((text.count("\n") + 1) * (len(width) if isinstance(width, str) else int(width)))
    elif name == "format":
        costs.formatted(left, text, [*args, *kwargs.values()])
    elif name in (
        "list",
        "sort",
        "unique",
        "batch",
        "slice",
        "map",
        "select",
        "reject",
        "dictsort",
        "groupby",
    ):
        left.produce(64 * len(text))


def _result(left: Budget, value: Any) -> Any:
    """Take what came out of a call or a filter from the budget."""
    if isinstance(value, str):
        left.produce(len(value))
    elif isinstance(value, list | tuple | dict):
        weigh(value)
    elif isinstance(value, Iterator):
        return left.count(value)
    return value


def _printed(value: Any) -> Any:
    """Return a value as it is put out, or raise if its text would be too large."""
    if not isinstance(value, str | int | float | Undefined):
        weigh(value)
        value = str(value)
        current.get().produce(len(value))
    return value


def _join(original: Callable[..., Any], eval_ctx: Any, value: Any, d: Any = "", attribute: Any = None) -> str:
    left = current.get()
    items = list(left.count(value))
    weigh(items)
    if attribute is not None:
        return str(original(eval_ctx, items, d, attribute))
    texts = [str(_printed(item)) for item in items]
    sep = str(d)
    left.produce(sum(map(len, texts)) + len(sep) * len(texts))
    if any(hasattr(text, "__html__") for text in [*items, d]):
        return str(original(eval_ctx, items, d))
    return marked.join(marked.between(texts, sep))


def _tojson(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | str | None = None,
    separators: Iterable[str] | None = None,
    sort_keys: bool = False,
) -> str:
    parts: Any = None if separators is None else tuple(separators)
    if (
        len(str(indent)) > 100
        or sum(map(len, parts or ())) > 100
        or (isinstance(indent, int) and indent > 100)
    ):
        raise ChatTemplateError("tojson: indent and separators may have 100 characters")
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=parts, sort_keys=sort_keys)


def _raise(message: Any) -> None:
    raise Refused(str(message)[:2000])


class _Dict:
    """``dict()`` without the class behind it."""

    def __call__(self, *args: Any, **kwargs: Any) -> dict[Any, Any]:
        return dict(*args, **kwargs)

    def fromkeys(self, *args: Any, **kwargs: Any) -> dict[Any, Any]:
        return dict.fromkeys(*args, **kwargs)


class _Namespace(Namespace):
    """``namespace()``, without names that begin with an underscore."""

    def __init__(*args: Any, **kwargs: Any) -> None:
        self, *rest = args
        attrs: dict[str, Any] = dict(*rest, **kwargs)
        for name in attrs:
            _check_name(name)
        Namespace.__init__(self, attrs)

    def __setitem__(self, name: str, value: Any) -> None:
        _check_name(name)
        super().__setitem__(name, value)


def _check_name(name: Any) -> None:
    if isinstance(name, str) and name.startswith("_"):
        raise SecurityError(f"a namespace can't have a name like {name!r:.40}")


def variables(values: Mapping[str, Any], strftime_now: Callable[[str], str]) -> dict[str, Any]:
    """Return what the template sees besides jinja2's own functions."""

    def now(format: str) -> str:
        if len(format) > 200:
            raise ChatTemplateError("strftime_now takes a format of at most 200 characters")
        return strftime_now(format)

    return {"strftime_now": now, **values}


@functools.lru_cache(maxsize=1)
def environment() -> Environment:
    """Return the one environment."""
    return Environment()
