"""Templates that a stranger could write: each must end, soon and in little memory, with an error or text."""

from __future__ import annotations


def grow(step: str, start: str = "'x'", end: str = "") -> str:
    """Return a template that replaces n.x by ``step`` 99 times."""
    loop = "{% for i in range(99) %}{% set n.x = " + step + " %}{% endfor %}"
    return "{% set n = namespace(x=" + start + ") %}" + loop + end


def twice(body: str) -> str:
    """Return a loop in a loop around ``body``."""
    return "{% for a in range(99999) %}{% for b in range(99999) %}" + body + "{% endfor %}{% endfor %}"


def often(step: str) -> str:
    """Return a loop around an assignment of ``step``."""
    return "{% for a in range(99999) %}{% set x = " + step + " %}{% endfor %}"


ENDLESS = {
    "nested loops": twice(""),
    "loops that print": twice("x"),
    "filtered loops": "{% for a in range(99999) %}{% for b in range(99999) if 0 %}{% endfor %}{% endfor %}",
    "recursive loop": "{% for a in range(9999) recursive %}{{ loop(range(9999)) }}{% endfor %}",
    "recursive macro": "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    "branching macros": "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}"
    "{{ f(60) }}",
    "calls that call": "{% macro f() %}{{ caller() }}{{ caller() }}{% endmacro %}"
    + "{% call f() %}" * 40
    + "x"
    + "{% endcall %}" * 40,
    "lazy maps": "{{ range(99999) | map('string') | map('upper') | list | length }}" * 1000,
    "products of ranges": often("range(99999) | list"),
    "sums": often("range(99999) | sum"),
    "searching": "{% set t = 'a' * 99999 %}{% for a in range(99999) %}{% set x = t in t ~ 'b' %}{% endfor %}",
    "sorting": often("range(99999) | sort(reverse=true)"),
    "strings of loops": "{% for c in 'x' * 9999999 %}{% for d in 'x' * 9999999 %}{% endfor %}{% endfor %}",
}
HUGE = {
    "doubling with ~": grow("n.x ~ n.x"),
    "doubling with +": grow("n.x + n.x"),
    "doubling a list": grow("n.x + n.x", "[1]"),
    "doubling with join": grow("[n.x, n.x] | join"),
    "doubling with join()": grow("n.x.join([n.x, n.x])"),
    "doubling with replace": grow("n.x | replace('x', n.x)", "'xx'"),
    "doubling with replace()": grow("n.x.replace('x', n.x)", "'xx'"),
    "doubling with format": grow("'{0}{0}'.format(n.x)"),
    "doubling with %": grow("'%s%s' % (n.x, n.x)"),
    "doubling with the filter format": grow("'%s%s' | format(n.x, n.x)"),
    "doubling with a macro": "{% macro d(x) %}{{ x }}{{ x }}{% endmacro %}{% set n = namespace(x='x') %}"
    "{% for i in range(99) %}{% set n.x = d(n.x) %}{% endfor %}",
    "doubling with set": "{% set n = namespace(x='x') %}{% for i in range(99) %}{% set y %}{{ n.x }}{{ n.x }}"
    "{% endset %}{% set n.x = y %}{% endfor %}",
    "doubling with tojson": grow("[n.x, n.x] | tojson"),
    "nested lists": grow("[n.x, n.x]", "[1]", "{{ n.x }}"),
    "nested dicts": grow("{'a': n.x, 'b': n.x}", "{}", "{{ n.x }}"),
    "nested dict()": grow("dict(a=n.x, b=n.x)", "{}", "{{ n.x | tojson }}"),
    "nested namespaces": grow("namespace(a=n.x, b=n.x)", "1", "{{ n.x }}"),
    "nested batches": grow("[n.x, n.x] | batch(1) | list + [n.x]", "[1, 1]", "{{ n.x }}"),
    "nested tuples as keys": grow("(n.x, n.x)", "(1,)", "{{ {n.x: 1} }}"),
    "comparing": "{% set n = namespace(x=[1], y=[1]) %}{% for i in range(99) %}{% set n.x = [n.x, n.x] %}"
    "{% set n.y = [n.y, n.y] %}{% endfor %}{{ n.x == n.y }}",
    "times": "{{ 'x' * 10**12 }}",
    "times a list": "{{ ([1] * 10**10) | length }}",
    "list times": "{{ 1000000000000 * 'x' }}",
    "power": "{{ 9 ** 9 ** 9 }}",
    "power tower": grow("n.x * n.x", "9", "{{ n.x }}"),
    "power of a negative": "{{ (-9) ** 999999999 }}",
    "center": "{{ 'x' | center(10000000000) }}",
    "center()": "{{ 'x'.center(10000000000) }}",
    "ljust": "{{ 'x'.ljust(10000000000) }}",
    "zfill": "{{ 'x'.zfill(10000000000) }}",
    "expandtabs": "{{ '\t'.expandtabs(10000000000) }}",
    "indent": "{{ ('\n' * 99999) | indent(99999) }}",
    "indent by text": "{{ ('\n' * 99999) | indent('x' * 99999) }}",
    "width": "{{ '%10000000000d' % 1 }}",
    "width by argument": "{{ '%*d' % (10000000000, 1) }}",
    "many widths": "{{ ('%99999d' * 9999) % ((1,) * 9999) }}",
    "format width": "{{ '{:10000000000}'.format(1) }}",
    "format width by argument": "{{ '{:{}}'.format(1, 10000000000) }}",
    "format precision": "{{ '{:.10000000000f}'.format(1.0) }}",
    "filter format": "{{ '%10000000000d' | format(1) }}",
    "range": "{{ range(10000000000) | list }}",
    "batch": "{{ [1] | batch(10000000000, 0) | list }}",
    "slice": "{{ [1] | slice(10000000000) | list }}",
    "round": "{{ 1 | round(10000000000) }}",
    "tojson indent": "{{ [[[[1]]]] | tojson(indent=10000000000) }}",
    "tojson indent text": "{{ ([1] * 9999) | tojson(indent='x' * 99999) }}",
    "tojson separators": "{{ ([1] * 9999) | tojson(separators=('x' * 99999, 'y')) }}",
    "to_bytes": "{{ (1).to_bytes(10000000000, 'big') }}",
    "encode": "{{ 'x'.encode('utf-8').ljust(10000000000) }}",
    "translate": "{{ ('a' * 99999).translate({97: 'b' * 99999}) }}",
    "splitting": "{{ ('a ' * 30000000).split(' ') | length }}",
    "characters": "{{ ('a' * 60000000) | list | length }}",
    "sum of lists": "{{ ([[1]] * 999999) | sum(start=[]) | length }}",
    "lipsum": "{{ lipsum(n=1000000) }}",
    "strftime": "{{ strftime_now('%c' * 9999999) }}",
    "a large number": "{{ " + "9" * 100_000 + " }}",
    "a large message": "{{ raise_exception('x' * 50000000) }}",
    "cycler": grow("[n.x, n.x] | map('string') | join"),
}
ESCAPES = {
    "class": "{{ ''.__class__ }}",
    "class by item": "{{ ''['__class__'] }}",
    "class by filter": "{{ '' | attr('__class__') }}",
    "class by map": "{{ [''] | map(attribute='__class__') | list }}",
    "subclasses": "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "globals": "{{ raise_exception.__globals__ }}",
    "globals of now": "{{ strftime_now.__globals__ }}",
    "globals of namespace": "{{ namespace.__init__.__globals__ }}",
    "globals of a macro": "{% macro f() %}{% endmacro %}{{ f.__init__.__globals__ }}",
    "globals of a method": "{{ ''.join.__self__.__class__ }}",
    "our class": "{{ 'x'.split.__globals__ }}",
    "our class by func": "{{ 'x'.strip.__func__.__globals__ }}",
    "closure": "{{ strftime_now.__closure__ }}",
    "code": "{{ strftime_now.__code__ }}",
    "self": "{{ self.__init__ }}",
    "self context": "{{ self._TemplateReference__context }}",
    "loop": "{% for x in [1] %}{{ loop.__init__.__globals__ }}{% endfor %}",
    "undefined": "{{ missing.__init__ }}",
    "format": "{{ '{0.__class__}'.format('') }}",
    "format_map": "{{ '{x.__class__}'.format_map({'x': ''}) }}",
    "format by attr": "{{ ('{0.__class__}' | attr('format'))('') }}",
    "indirect format": "{% set f = 'a{0.__class__}'[1:].format %}{{ f('') }}",
    "format by map": "{{ ['{0.__class__.__mro__}'] | map('format', '') | list }}",
    "generator": "{{ ([1] | map('string')).gi_frame }}",
    "generator code": "{{ ([1] | select).gi_code }}",
    "append": "{{ messages.append(1) }}",
    "pop": "{{ messages.pop() }}",
    "update": "{{ messages[0].update({'role': 'x'}) }}",
    "setdefault": "{{ messages[0].setdefault('x', 1) }}",
    "dict class": "{{ dict.__class__.__bases__ }}",
    "namespace dunder": "{% set n = namespace(__class__=1) %}{{ n }}",
    "namespace dunder set": "{% set n = namespace() %}{% set n.__class__ = 1 %}{{ n }}",
    "include": "{% include 'x' %}",
    "import": "{% import 'os' as os %}{{ os }}",
    "from": "{% from 'os' import system %}",
    "extends": "{% extends 'x' %}",
    "cycler": "{{ cycler.__init__.__globals__ }}",
    "joiner": "{{ joiner.__init__.__globals__ }}",
    "context": "{{ strftime_now.__kwdefaults__ }}",
    "environment": "{{ environment.globals }}{{ context.parent }}",
}
WRONG = {
    "not closed": "{% if true %}",
    "not opened": "{% endif %}",
    "no expression": "{{ }}",
    "unknown tag": "{% frobnicate %}",
    "unknown filter": "{{ 1 | frobnicate }}",
    "unknown test": "{{ 1 is frobnicate }}",
    "unknown function": "{{ frobnicate() }}",
    "division": "{{ 1 / 0 }}",
    "modulo": "{{ 1 % 0 }}",
    "index": "{{ messages[99].content.x }}",
    "types": "{{ 1 + 'x' }}",
    "types of ~": "{{ (1 ~ none) + 1 }}",
    "arguments": "{{ range() }}",
    "not iterable": "{% for x in 1 %}{% endfor %}",
    "not callable": "{{ 1() }}",
    "bad int": "{{ '%d' % 'x' }}",
    "bad format": "{{ '{'.format(1) }}",
    "deep parentheses": "{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}",
    "deep lists": "{{ " + "[" * 5000 + "]" * 5000 + " }}",
    "deep sums": "{{ " + "+".join(["1"] * 20_000) + " }}",
    "deep attributes": "{{ x" + ".a" * 20_000 + " }}",
    "deep ifs": "{% if 1 %}" * 2000 + "{% endif %}" * 2000,
    "deep loops": "{% for x in [1] %}" * 30 + "{% endfor %}" * 30,
    "deep nots": "{{ " + "not " * 20_000 + "1 }}",
    "deep macros": "{% macro f() %}" * 300 + "{% endmacro %}" * 300,
    "deep filters": "{{ 1" + " | string" * 20_000 + " }}",
    "deep conditions": "{{ " + "1 if 1 else " * 5000 + "1 }}",
    "many variables": "".join(f"{{% set v{i} = {i} %}}" for i in range(10_000)),
    "a long name": "{{ " + "x" * 200_000 + " }}",
    "a long comment": "{# " + "x" * 200_000 + " #}",
    "many outputs": "{{ 1 }}" * 36_000,
    "too long": "x" * 262_145,
    "NUL": "a\0b{{ '\0' }}",
    "surrogate": "a\ud800{{ '\udfff' }}",
    "every letter": "".join(map(chr, range(0x80, 0x3000))),
    "refusing": "{{ raise_exception('no') }}",
    "refusing by number": "{{ raise_exception(12) }}",
    "break outside": "{% break %}",
    "continue outside": "{% continue %}",
    "super": "{{ super() }}",
    "block": "{% block a %}{{ self.a() }}{% endblock %}",
    "own namespace": "{% set n = namespace() %}{% set n.n = n %}{{ n }}{{ [n, n] | tojson }}",
    "a list of itself": "{% set n = namespace(x=[]) %}{% for i in range(99999) %}{% set n.x = [n.x] %}"
    "{% endfor %}"
    "{{ n.x }}",
    "autoescape": "{% autoescape true %}{{ '<' }}{% endautoescape %}",
    "generation": "{% generation %}{{ 1 }}",
    "async": "{% for x in messages %}{{ loop.async }}{% endfor %}",
}
ALL = {
    f"{kind}: {name}": text
    for kind, group in (("endless", ENDLESS), ("huge", HUGE), ("escape", ESCAPES), ("wrong", WRONG))
    for name, text in group.items()
}
