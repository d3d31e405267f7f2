"""The enum module: right values, made lazily, named by one rule."""

from __future__ import annotations

import enum
import pickle
import subprocess
import sys

import pytest

from bindgen.analyze import Bindings
from bindgen.naming import class_name, member_names, safe
from llama_ffi._abi import enums


def test_every_member_has_the_value_of_the_header(bindings: Bindings) -> None:
    seen = 0
    for c_name, declared in bindings.named_enums():
        cls = enums.CLASSES[c_name]
        names = member_names(c_name, [m.name for m in declared.members])
        for member in declared.members:
            assert cls[names[member.name]].value == member.value, member
            seen += 1
        assert len(cls.__members__) == len(declared.members)
    assert seen > 400
    assert len(enums.CLASSES) == len(bindings.named_enums()) == 45


def test_values_that_a_guess_gets_wrong() -> None:
    assert enums.TokenAttr.CONTROL == 8
    assert enums.TokenAttr(5) == enums.TokenAttr.UNKNOWN | enums.TokenAttr.NORMAL
    assert enums.GgmlType.F16 == 1
    assert enums.PoolingType.UNSPECIFIED == -1
    assert enums.RopeType.NEOX == enums.CONSTANTS["GGML_ROPE_TYPE_NEOX"] == 2


def test_flags_and_plain_enums() -> None:
    assert issubclass(enums.TokenAttr, enum.IntFlag)
    assert issubclass(enums.GgmlTensorFlag, enum.IntFlag)
    assert issubclass(enums.GgmlLogLevel, enum.IntEnum)
    assert not issubclass(enums.GgmlLogLevel, enum.Flag)


def test_members_pickle_and_classes_are_made_once() -> None:
    assert pickle.loads(pickle.dumps(enums.PoolingType.MEAN)) is enums.PoolingType.MEAN
    assert enums.CLASSES["llama_pooling_type"] is enums.PoolingType
    assert "PoolingType" in dir(enums)
    with pytest.raises(AttributeError, match="NoSuchType"):
        _ = enums.NoSuchType  # type: ignore[attr-defined]


def test_importing_makes_no_class() -> None:
    show = "print('GgmlOp' in vars(enums))"
    code = f"from llama_ffi._abi import enums; {show}; enums.GgmlOp; {show}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.split() == ["False", "True"], done.stderr


@pytest.mark.parametrize(
    ("c_name", "expected"),
    [
        ("llama_pooling_type", "PoolingType"),
        ("ggml_type", "GgmlType"),
        ("ggml_log_level", "GgmlLogLevel"),
        ("mtmd_input_chunk_type", "MtmdInputChunkType"),
        ("some_kind_t", "SomeKind"),
    ],
)
def test_class_names(c_name: str, expected: str) -> None:
    assert class_name(c_name) == expected


def test_member_names_drop_what_they_share() -> None:
    assert member_names("a_kind", ["A_KIND_X", "A_KIND_Y_Z"]) == {"A_KIND_X": "X", "A_KIND_Y_Z": "Y_Z"}
    assert member_names("other", ["PRE_X", "PRE_XY"]) == {"PRE_X": "X", "PRE_XY": "XY"}
    assert member_names("single", ["LONELY_ONE"]) == {"LONELY_ONE": "LONELY_ONE"}
    assert member_names("t", ["T_1D", "T_2D"]) == {"T_1D": "_1D", "T_2D": "_2D"}
    assert safe("None") == "_None"
