"""C's GGUF object: every type there and back, what it refuses, files."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import llama_ffi as lf
from llama_ffi import errors
from llama_ffi.gguf import GgufContext, Typed

pytestmark = pytest.mark.native

_INTS = {f"{kind}{bits}": kind == "i" for kind in "iu" for bits in (8, 16, 32, 64)}


def _range(type: str) -> st.SearchStrategy[int]:
    bits = int(type[1:])
    return (
        st.integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
        if type[0] == "i"
        else st.integers(0, 2**bits - 1)
    )


_SCALARS: dict[str, st.SearchStrategy[Any]] = {
    **{type: _range(type) for type in _INTS},
    "f32": st.floats(width=32),
    "f64": st.floats(),
    "bool": st.booleans(),
    "str": st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])),
}
_TYPED = st.one_of(
    [st.tuples(values, st.just(type)) for type, values in _SCALARS.items()]
    + [st.tuples(st.lists(values, max_size=5), st.just(type)) for type, values in _SCALARS.items()]
).map(lambda pair: Typed(*pair))
_KEYS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1).filter(
    lambda key: key != "general.alignment"
)


@pytest.fixture
def gguf() -> Iterator[GgufContext]:
    with GgufContext() as context:
        yield context


@given(st.dictionaries(_KEYS, _TYPED, max_size=5))
def test_every_value_comes_back_with_its_type_through_the_bytes_too(metadata: dict[str, Typed]) -> None:
    with GgufContext(metadata) as made, GgufContext.from_bytes(made.to_bytes()) as read:
        for context in (made, read):
            assert context.keys() == list(metadata)
            for key, (value, type) in metadata.items():
                found = context.typed(key)
                assert found.type == type
                np.testing.assert_equal(found.value, value)  # NaN is NaN here


@pytest.mark.parametrize(
    ("value", "type"),
    [
        (1, "u32"),
        (-1, "i32"),
        (2**32, "u64"),
        (-(2**31) - 1, "i64"),
        (1.5, "f32"),
        (True, "bool"),
        ("x", "str"),
        ([1, -1], "i32"),
        ([1, 2**31], "u32"),
        ([-1, 2**31], "i64"),
        ([1, 2**40], "u64"),
        ([1, 2.5], "f32"),
        ([True, False], "bool"),
        (["a", "b"], "str"),
        (np.uint16(3), "u16"),
        (np.array([1, 2], np.int8), "i8"),
        (np.float64(2.5), "f64"),
    ],
)
def test_the_type_that_a_value_gets(gguf: GgufContext, value: Any, type: str) -> None:
    gguf.set("key", value)
    assert gguf.typed("key").type == type
    np.testing.assert_equal(gguf["key"], value)


@pytest.mark.parametrize(
    ("value", "error"),
    [
        ([], errors.InvalidArgumentError),
        (None, errors.ArgumentTypeError),
        (1j, errors.ArgumentTypeError),
        ([1, "a"], errors.ArgumentTypeError),
        ([[1]], errors.ArgumentTypeError),
        ([None], errors.ArgumentTypeError),
        (2**64, errors.InvalidArgumentError),
        (Typed(-1, "u32"), errors.InvalidArgumentError),
        (Typed(256, "u8"), errors.InvalidArgumentError),
        (Typed(1, "u7"), errors.InvalidArgumentError),
        (Typed(1, "arr"), errors.InvalidArgumentError),
        (Typed(1, "bool"), errors.ArgumentTypeError),
        (Typed(True, "u32"), errors.ArgumentTypeError),
        (Typed(1e40, "f32"), errors.InvalidArgumentError),
        (Typed("1", "f32"), errors.ArgumentTypeError),
        ("a\0b", errors.InvalidArgumentError),
        ("\ud800", errors.InvalidArgumentError),
        (np.zeros((2, 2)), errors.InvalidArgumentError),
    ],
)
def test_values_that_are_refused(gguf: GgufContext, value: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        gguf.set("key", value)
    assert "key" not in gguf


def test_keys(gguf: GgufContext) -> None:
    gguf.update({"a": 1, "b": [1.0, 2.0]})
    gguf.set("a", "again")
    assert (
        len(gguf) == 2 and list(gguf) == ["b", "a"] and dict(gguf.items()) == {"b": [1.0, 2.0], "a": "again"}
    )
    assert gguf.get("c") is None and gguf.get("c", 3) == 3
    del gguf["b"]
    assert "b" not in gguf and 3 not in gguf and "\0" not in gguf
    for bad in (lambda: gguf["b"], lambda: gguf.__delitem__("b"), lambda: gguf.typed("")):
        with pytest.raises(KeyError):
            bad()
    with pytest.raises(errors.InvalidArgumentError, match="empty"):
        gguf.set("", 1)
    with pytest.raises(errors.ArgumentTypeError, match="mapping"):
        gguf.update([("a", 1)])  # type: ignore[arg-type]
    with GgufContext({"a": 2, "z": "z"}) as other:
        gguf.update(other)
        gguf.update(gguf)
    assert dict(gguf.items()) == {"a": 2, "z": "z"}
    gguf.close()
    with pytest.raises(lf.errors.ClosedError):
        len(gguf)


def test_an_alignment_that_c_would_not_heed_is_refused(gguf: GgufContext) -> None:
    gguf.set("general.alignment", Typed(32, "u32"))
    for value in (64, Typed(32, "u64"), "32", [32], 0, 3):
        with pytest.raises(errors.UnsupportedError, match="can only be 32"):
            gguf.set("general.alignment", value)
    head = bytearray(gguf.to_bytes())
    at = head.index(b"general.alignment") + len("general.alignment") + 4
    head[at : at + 4] = (64).to_bytes(4, "little")
    with GgufContext.from_bytes(bytes(head)) as other:
        assert other.alignment == 64
        with pytest.raises(errors.UnsupportedError):
            gguf.update(other)
        with pytest.raises(errors.UnsupportedError):
            del other["general.alignment"]


def test_tensors_and_files(gguf: GgufContext, tmp_path: Path) -> None:
    gguf.set("general.architecture", "none")
    a, b = np.arange(6, dtype=np.float32).reshape(2, 3), np.arange(32, dtype=np.float16)
    gguf.add_tensor("a", a.shape, "f32", a)
    gguf.add_tensor("b", b.shape, "F16")
    assert [tensor[:3] for tensor in gguf.tensors] == [("a", (2, 3), "f32"), ("b", (32,), "f16")]
    path = tmp_path / "a.gguf"
    with pytest.raises(errors.UnsupportedError, match="'b' the first"):
        gguf.write(path)
    with pytest.raises(errors.InvalidArgumentError, match="64 bytes"):
        gguf.set_tensor_data("b", a)
    with pytest.raises(errors.ArgumentTypeError):
        gguf.set_tensor_data("b", [1, 2])
    gguf.set_tensor_data("b", b)
    gguf.write(path)
    data = path.read_bytes()
    for read in (
        GgufContext.load(path),
        GgufContext.from_bytes(data),
        GgufContext.from_file_object(io.BytesIO(data)),
    ):
        with read:
            assert read.tensors == gguf.tensors and read["general.architecture"] == "none"
            assert read.version == 3
            for tensor, array in zip(read.tensors, (a, b), strict=True):
                at = read.data_offset + tensor.offset
                assert data[at : at + tensor.n_bytes] == array.tobytes()
            with pytest.raises(errors.UnsupportedError):
                read.write(tmp_path / "b.gguf")
            read.write(tmp_path / "b.gguf", only_meta=True)
            assert (tmp_path / "b.gguf").read_bytes() == gguf.to_bytes() == read.to_bytes()
    gguf.set_tensor_type("b", "q8_0")
    assert gguf.tensors[1].n_bytes == 34
    with pytest.raises(errors.UnsupportedError):
        gguf.write(path)  # the data was of the old type
    with pytest.raises(errors.ModelSaveError):
        gguf.write(tmp_path / "no folder" / "a.gguf", only_meta=True)


@pytest.mark.parametrize(
    ("name", "shape", "type"),
    [
        ("", (1,), "f32"),
        ("n" * 64, (1,), "f32"),
        ("a", (), "f32"),
        ("a", (1, 1, 1, 1, 1), "f32"),
        ("a", (0,), "f32"),
        ("a", (2**40, 2**40), "f32"),
        ("a", (2, 33), "q8_0"),
        ("a", (2,), "q9_9"),
        ("a", (2,), "count"),
        ("old", (2,), "f32"),
    ],
)
def test_tensors_that_cannot_be(gguf: GgufContext, name: str, shape: tuple[int, ...], type: str) -> None:
    gguf.add_tensor("old", (1,))
    with pytest.raises(errors.InvalidArgumentError):
        gguf.add_tensor(name, shape, type)
    for bad in (lambda: gguf.set_tensor_type("x", "f16"), lambda: gguf.set_tensor_data("x", b"")):
        with pytest.raises(KeyError):
            bad()
    assert len(gguf.tensors) == 1


def test_what_is_no_gguf(tmp_path: Path) -> None:
    with pytest.raises(errors.ModelNotFoundError):
        GgufContext.load(tmp_path / "none")
    with pytest.raises(errors.ModelFileError):
        GgufContext.from_bytes(b"GGUF" + bytes(40))
    with pytest.raises(errors.ArgumentTypeError):
        GgufContext.from_bytes("text")
    with pytest.raises(errors.ModelFileError):
        GgufContext.from_file_object(io.BytesIO(b""))

    class Broken(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            raise OSError("the wire is cut")

    with pytest.raises(OSError, match="the wire is cut"):
        GgufContext.from_file_object(Broken(b"GGUF" + bytes(40)))


@pytest.mark.parametrize(
    "how", [GgufContext.from_bytes, lambda data: GgufContext.from_file_object(io.BytesIO(data))]
)
def test_bytes_and_files_are_looked_at_before_c_sees_them(
    gguf: GgufContext, how: Callable[[bytes], GgufContext]
) -> None:
    gguf.set("general.alignment", Typed(32, "u32"))
    head = gguf.to_bytes()
    at = head.index(b"general.alignment") + len("general.alignment") + 4
    for changed, words in (
        (head[:at] + bytes(4) + head[at + 4 :], "general.alignment is 0"),
        (head[:8] + (2**62).to_bytes(8, "little") + head[16:], "announces 4611686018427387904 tensors"),
        (head[: len(head) // 2], "damaged or cut off"),
        (b"", "is empty"),
    ):
        with pytest.raises(errors.ModelFileError, match=words) as caught:
            how(changed)
        assert not caught.value.log


def test_files_that_give_anything_else() -> None:
    class Texts(io.StringIO):
        name = "texts"

    with pytest.raises(errors.ArgumentTypeError, match=r"file\.read must return bytes, not str"):
        GgufContext.from_file_object(Texts("GGUF"))  # type: ignore[arg-type]

    class Nowhere(io.BytesIO):
        def seek(self, *_: int) -> None:  # type: ignore[override]
            return None

    with pytest.raises(errors.ArgumentTypeError, match="must return a position, not NoneType"):
        GgufContext.from_file_object(Nowhere(b"GGUF"))

    class TooMuch(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            return super().read(size) + bytes(100_000)

    with GgufContext({"a": 1}) as made, GgufContext.from_file_object(TooMuch(made.to_bytes())) as read:
        assert read["a"] == 1
