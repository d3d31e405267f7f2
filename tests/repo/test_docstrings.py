"""Every public docstring says what CONTRIBUTING.md wants; the checker notices each kind of gap."""

from __future__ import annotations

import ast
from textwrap import dedent

import pytest

from devtools import docstrings, names
from devtools.names import Public


def test_every_public_docstring_is_complete() -> None:
    problems = docstrings.check_all()
    assert problems == [], "\n".join(problems)


def test_all_kinds_of_names_are_looked_at() -> None:
    found = {each.name: each.kind for each in names.public_names()}
    assert found["Model"] == "class"
    assert found["Model.load"] == "method"
    assert found["Model.n_embd"] == "property"  # from a base class
    assert found["Model.path"] == "attribute"
    assert found["generate"] == found["log.to_file"] == "function"
    assert found["log"] == "module"
    assert not [name for name in found if name.split(".")[-1].startswith("_")]


def public(source: str, kind: str) -> Public:
    node = ast.parse(dedent(source)).body[0]
    assert isinstance(node, ast.FunctionDef | ast.ClassDef)
    return Public(f"thing.{node.name}", kind, "llama_ffi.thing", node.name, ast.get_docstring(node), node)


COMPLETE = '''
def logits(self, i: int, *rest: int, how: str = "") -> NDArray[np.float32]:
    """Return the logits of one token.

    C: llama_get_logits_ith

    Arguments:
        i: its index.
        rest: more of them.
        how: a word.

    Returns:
        (n_vocab,) float32, a copy.

    Raises:
        InvalidArgumentError: the index is negative.

    Threads: any.
    """
    if i < 0:
        raise InvalidArgumentError("no")
    return lib.llama_get_logits_ith(i)
'''


def test_a_complete_docstring_has_no_problem() -> None:
    assert list(docstrings.check(public(COMPLETE, "method"))) == []


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("Return the logits of one token.", "Returns the logits of one token.", "as an order"),
        ("Return the logits of one token.", "The logits of one token.", "as an order"),
        ("Return the logits of one token.", "return the logits of one token.", "small letter"),
        ("Return the logits of one token.", "Return the logits of one token", "without its end"),
        ("    C: llama_get_logits_ith\n", "", "calls llama_get_logits_ith and has no C: line"),
        ("C: llama_get_logits_ith", "C: llama_get_logit_ith", "which no header declares"),
        ("        rest: more of them.\n", "", "the argument rest"),
        ("        how: a word.\n", "", "the argument how"),
        ("(n_vocab,) float32", "float32", "shape"),
        ("(n_vocab,) float32", "(n_vocab,)", "dtype"),
        (", a copy.", ".", "memory"),
        ("        InvalidArgumentError: the index is negative.\n", "", "raises InvalidArgumentError"),
        ("    Threads: any.\n", "", "nothing about threads"),
    ],
)
def test_each_gap_is_a_problem(old: str, new: str, problem: str) -> None:
    assert old in COMPLETE
    found = list(docstrings.check(public(COMPLETE.replace(old, new, 1), "method")))
    assert any(problem in each for each in found), found


def test_no_docstring_at_all() -> None:
    assert list(docstrings.check(public("def f(): pass", "function"))) == ["has no docstring"]


def test_a_class_that_owns_a_c_object_says_something_about_threads() -> None:
    source = 'class Thing:\n    """A thing."""\n    __slots__ = ("_handle",)\n'
    assert list(docstrings.check(public(source, "class"))) == [
        "owns a C object and says nothing about threads"
    ]


def test_a_value_that_is_returned_is_told() -> None:
    problems = list(docstrings.check(public('def f() -> int:\n    """Do it."""', "function")))
    assert problems == ["doesn't say what it returns (int)"]


def test_a_reference_tells_what_the_other_one_tells() -> None:
    source = 'def add_x(self, p: float, min_keep: int) -> Self:\n    """Append :meth:`Sampler.top_p`."""'
    assert list(docstrings.check(public(source, "method"))) == []
