"""Parse preprocessed C into the IR.

pycparser gives a syntax tree; this module walks it once, from top to bottom, keeping a scope so
that enum values and array lengths are evaluated where they stand.  Declarations from outside the
source root (our fake C library) are known by name only.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from pycparser import c_ast, c_parser
from pycparser.c_generator import CGenerator

from .errors import BindgenError
from .evaluate import Evaluator, NotConstant, string_value
from .ir import (
    Array,
    Constant,
    Declaration,
    Enum,
    Enumerator,
    Field,
    Function,
    FunctionType,
    Inline,
    Location,
    Named,
    Param,
    Pointer,
    Primitive,
    Qualified,
    Record,
    Skipped,
    Tagged,
    Type,
    Typedef,
    Unit,
    Variable,
)
from .models import DataModel
from .preprocess import Macro, Preprocessed
from .scope import Scope

_WORD_ORDER = ("signed", "unsigned", "short", "long", "char", "int", "float", "double")


def parse(preprocessed: Preprocessed, model: DataModel) -> Unit:
    """Return everything that the bound headers declare.

    Raises BindgenError with file and line for anything that is not C.
    """
    parser = _Parser(Scope(model))
    parser.declarations(_syntax_tree(preprocessed.text).ext)
    parser.macros(preprocessed)
    return Unit(tuple(parser.found), tuple(parser.skipped))


def _syntax_tree(text: str) -> c_ast.FileAST:
    try:
        return c_parser.CParser().parse(text, "<headers>")
    except c_parser.ParseError as error:
        match = re.match(r"(.*?):(\d+)(?::\d+)?: *(.*)", str(error), re.DOTALL)
        if match is None:
            raise BindgenError(f"not C: {error}") from error
        file, line, rest = match.groups()
        what = f"syntax error {rest}" if rest.startswith("before") else rest
        raise BindgenError(f"not C (or only C++): {what}", Location(file, int(line))) from error


@dataclass(frozen=True)
class _Notes:
    """What the pragmas behind a declaration say about it."""

    deprecated: str | None = None
    attributes: tuple[str, ...] = ()


class _Parser:
    """Walks the external declarations and collects the IR."""

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self.found: list[Declaration] = []
        self.skipped: list[Skipped] = []
        self._evaluator = Evaluator(scope, self._typename)
        self._packed = False
        self._functions: set[str] = set()
        self._type_names: set[str] = set()

    # --- top level ---------------------------------------------------------------------------------

    def declarations(self, nodes: Sequence[c_ast.Node]) -> None:
        """Take every external declaration in."""
        for node, notes in self._with_notes(nodes):
            if isinstance(node, c_ast.Typedef):
                self._typedef(node, notes)
            elif isinstance(node, c_ast.FuncDef):
                self._function(node.decl, notes, inline=True)
            elif isinstance(node, c_ast.Decl):
                self._declaration(node, notes)
            elif not isinstance(node, c_ast.StaticAssert):
                raise BindgenError(f"{type(node).__name__} at file scope", _place(node))

    def macros(self, preprocessed: Preprocessed) -> None:
        """Evaluate what each object-like macro expands to at the end of the headers."""
        for macro in preprocessed.macros:
            if macro.params is not None:
                self._skip("macro", macro.name, "function-like: expands in C source only", macro.location)
            elif not macro.body:
                self._skip("macro", macro.name, "empty: a guard or a switch", macro.location)
            else:
                self._macro(macro, preprocessed.expansions.get(macro.name, macro.body))

    def _macro(self, macro: Macro, expansion: str) -> None:
        words = set(re.findall(r"[A-Za-z_]\w*", expansion))
        types = "".join(f"typedef int {word};" for word in sorted(words & self._type_names))
        try:
            tree = c_parser.CParser().parse(f"{types} void f(void) {{ (void) ({expansion}); }}", "macro")
            value = self._evaluator.python_value(tree.ext[-1].body.block_items[0].expr)
        except c_parser.ParseError:
            self._skip("macro", macro.name, f"not an expression: {expansion or '(nothing)'}", macro.location)
        except NotConstant as error:
            self._skip("macro", macro.name, f"no constant value: {error}", macro.location)
        else:
            self.scope.constants[macro.name] = value
            self.found.append(Constant(macro.name, value, macro.body, macro.location))

    def _with_notes(self, nodes: Iterable[c_ast.Node]) -> Iterator[tuple[c_ast.Node, _Notes]]:
        """Yield each declaration with the `#pragma bindgen` lines that follow it."""
        waiting: c_ast.Node | None = None
        notes = _Notes()
        for node in nodes:
            if not isinstance(node, c_ast.Pragma):
                if waiting is not None:
                    yield waiting, notes
                waiting, notes = node, _Notes()
                continue
            words = node.string.split(None, 2)
            if words[:2] == ["bindgen", "deprecated"]:
                notes = replace(notes, deprecated=string_value(words[2]))
            elif words[:2] == ["bindgen", "attribute"]:
                notes = replace(notes, attributes=(*notes.attributes, words[2]))
            elif node.string.replace(" ", "").startswith("pack("):
                if waiting is not None:
                    yield waiting, notes
                    waiting = None
                self._packed = node.string.replace(" ", "") not in ("pack()", "pack(pop)")
        if waiting is not None:
            yield waiting, notes

    def _typedef(self, node: c_ast.Typedef, notes: _Notes) -> None:
        place = _place(node)
        type = self._type(node.type, notes)
        self._type_names.add(node.name)
        if notes.attributes and not isinstance(type, (Inline, Tagged)):
            self._skip("typedef", node.name, f"attribute {notes.attributes[0]} is not understood", place)
            return
        if place.file.startswith("<") or node.name in self.scope.typedefs:
            return  # C11 allows a typedef to be repeated
        self.scope.typedefs[node.name] = type
        self.found.append(Typedef(node.name, type, place))

    def _declaration(self, node: c_ast.Decl, notes: _Notes) -> None:
        place = _place(node)
        if isinstance(node.type, c_ast.FuncDecl):
            self._function(node, notes, inline=False)
            return
        type = self._type(node.type, notes)
        if node.name is None:
            if isinstance(type, Inline) and isinstance(type.definition, Enum):
                self._add(type.definition)
            return
        if "static" in node.storage:
            self._static(node, place)
        else:
            self._add(Variable(node.name, type, place))

    def _static(self, node: c_ast.Decl, place: Location) -> None:
        try:
            value = self._evaluator.python_value(node.init)
        except (NotConstant, AttributeError) as error:
            self._skip("variable", node.name, f"static, without a constant value: {error}", place)
            return
        self.scope.constants[node.name] = value
        self._add(Constant(node.name, value, "static const", place))

    def _function(self, node: c_ast.Decl, notes: _Notes, inline: bool) -> None:
        if node.name in self._functions:
            return
        self._functions.add(node.name)
        type = self._type(node.type, _Notes())
        assert isinstance(type, FunctionType)
        inline = inline or "static" in node.storage
        self._add(Function(node.name, type, _place(node), notes.deprecated, inline, notes.attributes))

    def _add(self, declaration: Declaration) -> None:
        if not declaration.location.file.startswith("<"):
            self.found.append(declaration)

    def _skip(self, kind: str, name: str, reason: str, location: Location) -> None:
        self.skipped.append(Skipped(kind, name, reason, location))

    # --- types -------------------------------------------------------------------------------------

    def _typename(self, node: c_ast.Node) -> Type:
        return self._type(node.type, _Notes())

    def _type(self, node: c_ast.Node, notes: _Notes) -> Type:
        if isinstance(node, c_ast.TypeDecl):
            return _qualify(self._type(node.type, notes), node.quals)
        if isinstance(node, c_ast.IdentifierType):
            return self._identifier(node)
        if isinstance(node, c_ast.PtrDecl):
            return _qualify(Pointer(self._type(node.type, notes)), node.quals)
        if isinstance(node, c_ast.ArrayDecl):
            length = None if node.dim is None else self._integer(node.dim, "array length")
            return Array(self._type(node.type, notes), length)
        if isinstance(node, c_ast.FuncDecl):
            return self._function_type(node)
        if isinstance(node, (c_ast.Struct, c_ast.Union)):
            return self._record(node, notes)
        if isinstance(node, c_ast.Enum):
            return self._enum(node)
        raise BindgenError(f"{type(node).__name__} is not a type that can be bound", _place(node))

    def _identifier(self, node: c_ast.IdentifierType) -> Type:
        names: list[str] = node.names
        if len(names) == 1 and names[0] not in (*_WORD_ORDER, "void", "_Bool"):
            return Named(names[0])
        return Primitive(_canonical(names))

    def _function_type(self, node: c_ast.FuncDecl) -> FunctionType:
        params: list[Param] = []
        variadic = False
        for param in node.args.params if node.args else ():
            if isinstance(param, c_ast.EllipsisParam):
                variadic = True
                continue
            if isinstance(param, c_ast.ID):
                raise BindgenError("parameters without types", _place(node))
            params.append(Param(param.name, _decay(self._type(param.type, _Notes()))))
        if [p.type for p in params] == [Primitive("void")]:
            params = []
        return FunctionType(self._type(node.type, _Notes()), tuple(params), variadic)

    def _record(self, node: c_ast.Struct | c_ast.Union, notes: _Notes) -> Type:
        kind = "struct" if isinstance(node, c_ast.Struct) else "union"
        attributes = (*notes.attributes, *(("pack",) if self._packed else ()))
        place = _place(node)
        fields: tuple[Field, ...] | None = None
        if node.decls is not None:
            fields = tuple(
                self._field(member, about)
                for member, about in self._with_notes(node.decls)
                if not isinstance(member, c_ast.StaticAssert)
            )
        record = Record(kind, node.name, fields, place, attributes if fields is not None else ())
        if node.name is None:
            return Inline(record)
        known = self.scope.records.get((kind, node.name))
        if known is None or (known.fields is None and fields is not None):
            self.scope.records[kind, node.name] = record
            if known is not None:
                self.found.remove(known)
            self._add(record)
        return Tagged(kind, node.name)

    def _field(self, node: c_ast.Decl, notes: _Notes) -> Field:
        bits = None if node.bitsize is None else self._integer(node.bitsize, "bit-field width")
        type = self._type(node.type, notes)
        return Field(node.name, type, _place(node), bits, notes.deprecated)

    def _enum(self, node: c_ast.Enum) -> Type:
        if node.values is None:
            return Tagged("enum", node.name)
        members: list[Enumerator] = []
        following = 0
        for item in node.values.enumerators:
            if item.value is not None:
                following = self._integer(item.value, f"value of {item.name}")
            text = None if item.value is None else _expression_text(item.value)
            members.append(Enumerator(item.name, following, text, _place(item)))
            self.scope.constants[item.name] = following
            following += 1
        enum = Enum(node.name, tuple(members), _place(node))
        if node.name is None:
            return Inline(enum)
        self.scope.enums[node.name] = enum
        self._add(enum)
        return Tagged("enum", node.name)

    def _integer(self, node: c_ast.Node, what: str) -> int:
        try:
            return self._evaluator.integer(node)
        except NotConstant as error:
            raise BindgenError(f"{what}: {error}", _place(node)) from error


def _place(node: c_ast.Node) -> Location:
    coord = getattr(node, "coord", None)
    return Location(coord.file, coord.line) if coord else Location("<unknown>", 0)


def _qualify(type: Type, quals: Sequence[str]) -> Type:
    kept = tuple(q for q in quals if q in ("const", "volatile"))
    return Qualified(type, kept) if kept else type


def _decay(type: Type) -> Type:
    if isinstance(type, Array):
        return Pointer(type.item)
    return Pointer(type) if isinstance(type, FunctionType) else type


def _canonical(names: Sequence[str]) -> str:
    """Return the one spelling of a type that C writes in many ways (`long unsigned int`)."""
    if "_Bool" in names:
        return "bool"
    if any(name not in _WORD_ORDER for name in names):
        return " ".join(names)
    words = [word for word in _WORD_ORDER for name in names if name == word]
    if words == ["int"] or words == ["signed"]:
        return "int"
    if "char" not in words:
        words = [word for word in words if word not in ("signed", "int")]
    if words in ([], ["unsigned"]):
        words.append("int")
    return " ".join(words)


def _expression_text(node: c_ast.Node) -> str:
    text: str = CGenerator().visit(node)
    return text
