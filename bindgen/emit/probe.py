"""The C program that lets a compiler judge our view.

It includes the real headers and prints, as canonical JSON, what the compiler makes of every struct,
field, enum, constant, typedef and function.  Types are judged by `_Generic`: where the compiler finds
our spelling of a field's or a function's type compatible with its own, the spelling is printed,
otherwise null.  Everything is printed in sorted order, so the output can be compared by digest.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from ..analyze import Bindings
from ..ir import Array, Inline, Pointer, Qualified, Type
from ..layout import facts, signature
from ..models import LP64
from ..scope import Scope
from ..spell import spell

_HELPERS = r"""
#include <stddef.h>
#include <stdio.h>

#if defined(__GNUC__)
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
#endif

#if defined(_WIN32)
#define PROBE_DATA_MODEL "llp64"
#else
#define PROBE_DATA_MODEL "lp64"
#endif

/* The text when the expression has exactly this type, else JSON's null. */
#define PROBE_JUDGE(expression, type, text) _Generic((expression), type: text, default: "null")
#define PROBE_OFFSET(type, member) ((unsigned long long) offsetof(type, member))
#define PROBE_SIZE(what) ((unsigned long long) sizeof(what))
#define PROBE_MEMBER(type, member) (((type *) 0)->member)

static void probe_integer(const char *before, const char *name, unsigned long long bits, int negative) {
    if (negative) {
        printf("%s\"%s\":%lld", before, name, (long long) bits);
    } else {
        printf("%s\"%s\":%llu", before, name, bits);
    }
}
/* Below 1 and not 0: compilers warn about "unsigned < 0" but not about this. */
#define PROBE_INTEGER(before, name, value) \
    probe_integer(before, name, (unsigned long long) (value), (value) < 1 && (value) != 0)

static void probe_text(const char *before, const char *name, const char *value) {
    printf("%s\"%s\":\"", before, name);
    for (; *value; value++) {
        unsigned char c = (unsigned char) *value;
        if (c == '"' || c == '\\') {
            printf("\\%c", c);
        } else if (c < 0x20 || c > 0x7e) {
            printf("\\u%04x", c);
        } else {
            putchar(c);
        }
    }
    putchar('"');
}
"""


def emit_probe(bindings: Bindings) -> str:
    """Return the source of `probe.c`; it needs the headers' folders on the include path, no library."""
    includes = [f'#include "{header.path.rpartition("/")[2]}"' for header in bindings.config.headers]
    parts = [
        _constants(bindings),
        '    fputs(",\\"data_model\\":\\"" PROBE_DATA_MODEL "\\"", stdout);\n',
        _enums(bindings),
        _functions(bindings),
        _structs(bindings),
        _typedefs(bindings),
    ]
    main = (
        "\nint main(void) {\n    putchar('{');\n" + "".join(parts) + "    putchar('}');\n    return 0;\n}\n"
    )
    return "\n".join(includes) + "\n" + _HELPERS + main


def _constants(bindings: Bindings) -> str:
    values = facts(bindings, LP64)["constants"]
    out = ['    fputs("\\"constants\\":{", stdout);\n']
    for comma, name in _commas(values):
        value = values[name]
        if isinstance(value, int):
            out.append(f'    PROBE_INTEGER("{comma}", "{name}", {name});\n')
        elif isinstance(value, float):
            out.append(f'    printf("{comma}\\"{name}\\":%.17g", (double) ({name}));\n')
        else:
            out.append(f'    probe_text("{comma}", "{name}", {name});\n')
    return "".join(out) + "    putchar('}');\n"


def _enums(bindings: Bindings) -> str:
    enums = dict(bindings.named_enums())
    out = ['    fputs(",\\"enums\\":{", stdout);\n']
    for comma, name in _commas(enums):
        out.append(f'    fputs("{comma}\\"{name}\\":{{\\"members\\":{{", stdout);\n')
        for inner, member in _commas({m.name: m for m in enums[name].members}):
            out.append(f'    PROBE_INTEGER("{inner}", "{member}", {member});\n')
        out.append(f'    printf("}},\\"size\\":%llu}}", PROBE_SIZE({bindings.spell_enum(name)}));\n')
    return "".join(out) + "    putchar('}');\n"


def _functions(bindings: Bindings) -> str:
    functions = {f.name: f for f in bindings.unit.functions}
    out = ['    fputs(",\\"functions\\":{", stdout);\n']
    for comma, name in _commas(functions):
        spelled = _json_literal(signature(functions[name]))
        out.append(f'    fputs("{comma}\\"{name}\\":", stdout);\n')
        pointer = spell(Pointer(functions[name].type))
        out.append(f"    fputs(PROBE_JUDGE(&{name}, {pointer}, {spelled}), stdout);\n")
    return "".join(out) + "    putchar('}');\n"


def _structs(bindings: Bindings) -> str:
    scope = Scope.of(bindings.unit, LP64)
    records = dict(bindings.named_records())
    out = ['    fputs(",\\"structs\\":{", stdout);\n']
    for comma, name in _commas(records):
        fields = {field: type for field, _, _, type in scope.layout(records[name]).fields}
        out.append(
            f'    printf("{comma}\\"{name}\\":{{\\"align\\":%d,\\"fields\\":{{", (int) _Alignof({name}));\n'
        )
        for inner, field in _commas(fields):
            out.append(f'    printf("{inner}\\"{field}\\":[%llu,%llu,", {_place(name, field)});\n')
            out.append(f"    fputs({_field_judge(name, field, fields[field])}, stdout);\n    putchar(']');\n")
        out.append(f'    printf("}},\\"size\\":%llu}}", PROBE_SIZE({name}));\n')
    return "".join(out) + "    putchar('}');\n"


def _typedefs(bindings: Bindings) -> str:
    out = ['    fputs(",\\"typedefs\\":{", stdout);\n']
    for comma, name in _commas(facts(bindings, LP64)["typedefs"]):
        out.append(f'    printf("{comma}\\"{name}\\":%llu", PROBE_SIZE({name}));\n')
    return "".join(out) + "    putchar('}');\n"


def _place(struct: str, field: str) -> str:
    return f"PROBE_OFFSET({struct}, {field}), PROBE_SIZE(PROBE_MEMBER({struct}, {field}))"


def _field_judge(struct: str, field: str, type: Type) -> str:
    spelled = _json_literal(spell(type))
    if _has_inline(type):
        return spelled  # a nameless type has no other spelling; its members are judged one by one
    return f"PROBE_JUDGE(&PROBE_MEMBER({struct}, {field}), {spell(Pointer(type))}, {spelled})"


def _has_inline(type: Type) -> bool:
    """Return whether a type contains a definition without a name."""
    if isinstance(type, Pointer):
        return _has_inline(type.target)
    if isinstance(type, Qualified):
        return _has_inline(type.base)
    return _has_inline(type.item) if isinstance(type, Array) else isinstance(type, Inline)


def _json_literal(value: str) -> str:
    """Return a C literal of the JSON text of `value`."""
    text = json.dumps(value)
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _commas(names: Mapping[str, object]) -> list[tuple[str, str]]:
    """Return the sorted names, each with what separates it from the one before."""
    return [("," if i else "", name) for i, name in enumerate(sorted(names))]
