"""The tree of errors: what each one is, what it carries, what it says."""

from __future__ import annotations

import builtins
import pickle

import pytest

from llama_ffi import errors

CLASSES = [getattr(errors, name) for name in errors.__all__]


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_each_class(cls: type[errors.LlamaError]) -> None:
    assert cls.__name__.endswith("Error") and issubclass(cls, errors.LlamaError) and cls.__doc__
    if cls is not errors.LlamaError:
        natives = [base for base in cls.__mro__ if getattr(builtins, base.__name__, None) is base]
        assert natives[0] is not Exception, "derives from no builtin that a user would catch"
    error = cls("what was wrong", code=-3, log=["one", "two"])
    assert (str(error), error.code, error.log) == ("what was wrong", -3, ("one", "two"))
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), str(copy), copy.code, copy.log) == (cls, "what was wrong", -3, ("one", "two"))


def test_the_tree_is_complete() -> None:
    defined = {
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, Exception) and value.__module__ == errors.__name__
    }
    assert defined == set(errors.__all__)
