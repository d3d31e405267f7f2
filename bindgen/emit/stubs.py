"""The typed stub of the raw layer: `Lib` with one method per C function, a class per C type.

Distinct structs are distinct classes, so a type checker rejects a model where a context is wanted.
Parameters are positional only, as cffi takes them.
"""

from __future__ import annotations

import keyword

from ..analyze import Bindings
from ..ir import (
    Array,
    Enum,
    Field,
    Function,
    FunctionType,
    Inline,
    Named,
    Pointer,
    Primitive,
    Qualified,
    Record,
    Tagged,
    Type,
)
from ..scope import Scope
from .enums import constants

_PRELUDE = '''"""Types of `llama_ffi.raw`: for type checkers only, there is no such module at run time.

A struct `x` is the class `x`, a pointer to it `x_p`; `Ptr[int]` is a pointer to numbers.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import IO, Any, Final, Generic, SupportsInt, TypeAlias, TypeVar, overload

from typing_extensions import Buffer, Self

_T = TypeVar("_T")

class CData:
    """Any C value that cffi owns or points to."""

    def __eq__(self, other: object) -> bool: ...
    def __hash__(self) -> int: ...
    def __bool__(self) -> bool: ...
    def __enter__(self) -> Self: ...
    def __exit__(self, *exc: object) -> None: ...

class CType:
    """A C type, from `ffi.typeof`."""

    @property
    def kind(self) -> str: ...
    @property
    def cname(self) -> str: ...
    @property
    def item(self) -> CType: ...
    @property
    def length(self) -> int | None: ...
    @property
    def fields(self) -> list[tuple[str, Any]] | None: ...
    @property
    def args(self) -> tuple[CType, ...]: ...
    @property
    def result(self) -> CType: ...
    @property
    def elements(self) -> dict[int, str]: ...
    @property
    def relements(self) -> dict[str, int]: ...

class Ptr(CData, Generic[_T]):
    """A pointer to `_T`."""

    @overload
    def __getitem__(self, index: int) -> _T: ...
    @overload
    def __getitem__(self, index: slice) -> Array[_T]: ...
    @overload
    def __setitem__(self, index: int, value: _T) -> None: ...
    @overload
    def __setitem__(self, index: slice, value: Any) -> None: ...
    def __add__(self, items: int) -> Self: ...
    @overload
    def __sub__(self, other: int) -> Self: ...
    @overload
    def __sub__(self, other: Ptr[_T]) -> int: ...
    def __lt__(self, other: CData) -> bool: ...
    def __le__(self, other: CData) -> bool: ...
    def __gt__(self, other: CData) -> bool: ...
    def __ge__(self, other: CData) -> bool: ...

class Array(Ptr[_T]):
    """An array; it passes for a pointer to its first item."""

    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[_T]: ...

class FuncPtr(CData):
    """A pointer to a function; callable."""

    def __call__(self, *args: Any) -> Any: ...

class void_p(CData):
    """A `void *`; `ffi.cast` makes it a pointer to something."""

class FILE(CData):
    """C's FILE; Python file objects pass for pointers to it."""

_CData: TypeAlias = CData
_CType: TypeAlias = CType
_Void: TypeAlias = CData | Buffer
_Ints: TypeAlias = Ptr[int] | list[int] | tuple[int, ...]
_Floats: TypeAlias = Ptr[float] | list[float] | tuple[float, ...]
_Bools: TypeAlias = Ptr[bool] | list[bool] | tuple[bool, ...]
_Bytes: TypeAlias = bytes | Ptr[int] | list[int] | tuple[int, ...]
_String: TypeAlias = bytes | Ptr[bytes]

class FFI:
    """The cffi object of these bindings."""

    NULL: Final[Any]
    CData: type[_CData]
    CType: type[_CType]
    buffer: type[Any]
    error: type[Exception]
    errno: int
    def new(self, cdecl: str | _CType, init: Any = ...) -> Any: ...
    def new_allocator(
        self, alloc: Any = ..., free: Any = ..., should_clear_after_alloc: bool = ...
    ) -> Callable[..., Any]: ...
    def cast(self, cdecl: str | _CType, source: Any) -> Any: ...
    def string(self, cdata: _CData, maxlen: int = ...) -> bytes: ...
    def unpack(self, cdata: _CData, length: int) -> Any: ...
    @overload
    def from_buffer(self, buffer: Buffer, require_writable: bool = ...) -> Any: ...
    @overload
    def from_buffer(self, cdecl: str | _CType, buffer: Buffer, require_writable: bool = ...) -> Any: ...
    def memmove(self, dest: _CData | Buffer, src: _CData | Buffer, n: int) -> None: ...
    def sizeof(self, cdecl: str | _CType | _CData) -> int: ...
    def alignof(self, cdecl: str | _CType) -> int: ...
    def offsetof(self, cdecl: str | _CType, *fields: str | int) -> int: ...
    def typeof(self, cdecl: str | _CData | _CType) -> _CType: ...
    def getctype(self, cdecl: str | _CType, extra: str = ...) -> str: ...
    def addressof(self, cdata: Any, *fields: str | int) -> Any: ...
    def gc(self, cdata: _CData, destructor: Callable[[Any], Any] | None, size: int = ...) -> Any: ...
    def release(self, cdata: _CData) -> None: ...
    def new_handle(self, obj: object) -> void_p: ...
    def from_handle(self, handle: _CData) -> Any: ...
    def callback(
        self, cdecl: str | _CType, python_callable: Any = ..., error: Any = ..., onerror: Any = ...
    ) -> Any: ...
    def dlopen(self, name: str | None | _CData, flags: int = ...) -> Any: ...
    def dlclose(self, lib: Any) -> None: ...
    def list_types(self) -> tuple[list[str], list[str], list[str]]: ...
    def init_once(self, function: Callable[[], _T], tag: Any) -> _T: ...

ffi: Final[FFI]
'''


def emit_stubs(bindings: Bindings) -> str:
    """Return the source of `c_api.pyi`."""
    return "\n".join(_Stubs(bindings).lines()) + "\n"


def stub_line(bindings: Bindings, function: Function) -> str:
    """Return how the stub types one function, on one line."""
    text = " ".join(line.strip() for line in _Stubs(bindings).function(function))
    return text.replace("( self", "(self").replace(", )", ")").removesuffix(": ...")


class _Stubs:
    """Writes the classes first, then `Lib`."""

    def __init__(self, bindings: Bindings) -> None:
        self.bindings = bindings
        self.scope: Scope = bindings.scope
        # A method of `Lib` hides the struct of the same name there: such structs get an alias.
        self._hidden = {f.name for f in bindings.unit.functions} & {
            _bare(n) for n, _ in bindings.named_records()
        }

    def lines(self) -> list[str]:
        """Return all lines of the stub."""
        defined = dict(self.bindings.named_records())
        opaque = self._opaque_tags(defined)
        out = [_PRELUDE]
        for tag in opaque:
            out += [f"class {tag}(CData): ...", f"class {tag}_p(Ptr[{tag}]): ...", ""]
        for name, record in defined.items():
            out += self._record(_bare(name), record)
        out += self._typedefs()
        out += ["", "class Lib:", '    """Every C function under its name, and the constants."""', ""]
        out += [
            f"    {_safe(name)}: Final[{type(value).__name__}]" for name, value in constants(self.bindings)
        ]
        out += [f"    {m.name}: Final[int]" for _, enum in self.bindings.named_enums() for m in enum.members]
        out += [f"    {v.name}: {self._result(v.type)}" for v in self.bindings.unit.variables]
        out += [line for f in self.bindings.unit.functions for line in self.function(f)]
        return [*out, "", "lib: Final[Lib]"]

    def _opaque_tags(self, defined: dict[str, Record]) -> list[str]:
        known = {_bare(name) for name in defined}
        tags: dict[str, None] = {}
        for type in _all_types(self.bindings):
            for tag in _tags(type):
                if tag not in known:
                    tags[tag] = None
        return list(tags)

    def _record(self, name: str, record: Record) -> list[str]:
        assert record.fields is not None
        members = [line for f in record.fields for line in self._member(f)]
        return [
            f"class _{name}:",
            *(members or ["    pass"]),
            f"class {name}(_{name}, CData): ...",
            f"class {name}_p(_{name}, Ptr[{name}]): ...",
            *([f"{name}_: TypeAlias = {name}"] if name in self._hidden else []),
            "",
        ]

    def _member(self, field: Field) -> list[str]:
        inner = field.type.definition if isinstance(field.type, Inline) else None
        if field.name is None:
            assert isinstance(inner, Record)
            return [line for f in inner.fields or () for line in self._member(f)]
        if keyword.iskeyword(field.name):
            return []
        return [f"    {field.name}: {self._result(field.type)}"]

    def _typedefs(self) -> list[str]:
        out = []
        taken = {_bare(name) for name, _ in self.bindings.named_records()}
        for typedef in self.bindings.unit.typedefs:
            target = self.scope.resolve(typedef.type)
            name = typedef.name
            if name in taken or self.scope.record(target) is not None:
                continue
            if isinstance(target, Pointer) and isinstance(self.scope.resolve(target.target), FunctionType):
                out.append(f"class {name}(FuncPtr): ...")
            elif not isinstance(target, (FunctionType, Inline)):
                out.append(f"{name}: TypeAlias = {self._result(typedef.type)}")
            elif self.scope.enum(target):
                out.append(f"{name}: TypeAlias = int")
        return out

    def function(self, function: Function) -> list[str]:
        """Return the method for one C function."""
        params = [
            f"{_param_name(p.name, i)}: {self._param(p.type)}" for i, p in enumerate(function.type.params)
        ]
        tail = [*(["/"] if params else []), *(["*args: CData"] if function.type.variadic else [])]
        result = self._result(function.type.result)
        head = f"    def {function.name}("
        one = f"{head}{', '.join(['self', *params, *tail])}) -> {result}: ..."
        if len(one) <= 110:
            return [one]
        return [
            head,
            *(f"        {part}," for part in ["self", *params, *tail[:1]]),
            *(f"        {part}," for part in tail[1:]),
            f"    ) -> {result}: ...",
        ]

    def _param(self, type: Type) -> str:
        """Return what a parameter accepts: cffi converts bytes, lists and files on the way in."""
        named = self._callback_name(type)
        if named:
            return named
        resolved = self.scope.resolve(type)
        if not isinstance(resolved, Pointer):
            return self._result(type)
        target = resolved.target
        const = isinstance(target, Qualified) and "const" in target.quals
        item = self.scope.resolve(target)
        if item == Primitive("void"):
            return "_Void"
        if item == Named("FILE"):
            return "Ptr[FILE] | IO[Any]"
        if item == Primitive("char"):
            return "_String" if const else "Ptr[bytes]"
        number = self.scope.number(item)
        if const and number:
            if number.kind == "int" and number.size == 1:
                return "_Bytes"
            return {"int": "_Ints", "float": "_Floats", "bool": "_Bools"}.get(number.kind, "_Ints")
        if const and isinstance(item, Pointer):
            inner = self._result(item)
            return f"Ptr[{inner}] | list[{inner}] | tuple[{inner}, ...]"
        return self._result(type)

    def _callback_name(self, type: Type) -> str | None:
        """Return the class of a callback typedef, which reads better than a bare FuncPtr."""
        while isinstance(type, Qualified):
            type = type.base
        if not isinstance(type, Named) or type.name not in self.scope.typedefs:
            return None
        target = self.scope.resolve(type)
        if isinstance(target, Pointer) and isinstance(self.scope.resolve(target.target), FunctionType):
            return type.name
        return None

    def _result(self, type: Type) -> str:
        """Return what a value of `type` is when it comes out of C."""
        if named := self._callback_name(type):
            return named
        type = self.scope.resolve(type)
        if type == Primitive("void"):
            return "None"
        if number := self.scope.number(type):
            return {"int": "int", "float": "float", "bool": "bool", "char": "bytes"}[number.kind]
        if isinstance(type, Pointer):
            return self._pointer(type)
        if isinstance(type, Array):
            return f"Array[{self._result(type.item)}]"
        record_name = self._record_name(type)
        return record_name or "CData"

    def _pointer(self, pointer: Pointer) -> str:
        target = self.scope.resolve(pointer.target)
        if target == Primitive("void"):
            return "void_p"
        if target == Named("FILE"):
            return "Ptr[FILE]"
        if isinstance(target, FunctionType):
            return "FuncPtr"
        record_name = self._record_name(target)
        return f"{record_name.rstrip('_')}_p" if record_name else f"Ptr[{self._result(target)}]"

    def _record_name(self, type: Type) -> str | None:
        if isinstance(type, Tagged) and type.kind != "enum":
            return f"{type.tag}_" if type.tag in self._hidden else type.tag
        if isinstance(type, Inline) and isinstance(type.definition, Record):
            return next((t.name for t in self.bindings.unit.typedefs if t.type == type), None)
        return None


def _all_types(bindings: Bindings) -> list[Type]:
    unit = bindings.unit
    types: list[Type] = [Tagged(r.kind, r.tag) for r in unit.records if r.tag and r.fields is None]
    types += (
        [t.type for t in unit.typedefs] + [f.type for f in unit.functions] + [v.type for v in unit.variables]
    )
    return types + [f.type for _, record in bindings.named_records() for f in record.fields or ()]


def _tags(type: Type) -> list[str]:
    """Return the struct and union tags that a type mentions."""
    if isinstance(type, Tagged):
        return [] if type.kind == "enum" else [type.tag]
    if isinstance(type, Qualified):
        return _tags(type.base)
    if isinstance(type, Pointer):
        return _tags(type.target)
    if isinstance(type, Array):
        return _tags(type.item)
    if isinstance(type, FunctionType):
        return [tag for part in (type.result, *(p.type for p in type.params)) for tag in _tags(part)]
    if isinstance(type, Inline) and not isinstance(type.definition, Enum):
        return [tag for f in type.definition.fields or () for tag in _tags(f.type)]
    return []


def _bare(spelling: str) -> str:
    return spelling.rpartition(" ")[2]


def _safe(name: str) -> str:
    return f"{name}_" if keyword.iskeyword(name) else name


def _param_name(name: str | None, index: int) -> str:
    return _safe(name) if name and name != "self" else f"arg{index}"
