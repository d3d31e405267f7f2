"""Any GGUF file: written by us and read by C, written by C and read by us, edited, and damaged."""

from __future__ import annotations

import io
import math
import random
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import llama_ffi as lf
from llama_ffi._core import gguf_types as types
from llama_ffi._core.gguf_scan import MAX_DEPTH, scan
from llama_ffi.errors import ArgumentTypeError, GgufError, InvalidArgumentError
from llama_ffi.raw import ffi, lib
from tests.native.gguf_in_c import c_reads, c_writes
from tests.native.test_gguf_files import we_read

pytestmark = pytest.mark.native

few = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

keys = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=40).filter(
    lambda key: key != "general.alignment"
)
names = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=15)
texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=30)


def numbers(kind: str) -> st.SearchStrategy[Any]:
    if kind == "bool":
        return st.booleans()
    if kind == "str":
        return texts
    if kind in ("f32", "f64"):
        return st.floats(width=int(kind[1:]), allow_nan=False)
    low, high = types.RANGES[types.NAMES.index(kind)]
    return st.integers(low, high)


kinds = st.sampled_from([name for name in types.NAMES if name != "arr"])


@st.composite
def entries(draw: Any) -> tuple[str, Any]:
    kind = draw(kinds)
    if draw(st.booleans()):
        return f"arr[{kind}]", draw(st.lists(numbers(kind), max_size=8))
    return kind, draw(numbers(kind))


@st.composite
def tensors(draw: Any) -> list[tuple[str, str, tuple[int, ...], bytes]]:
    result = []
    for name in draw(st.lists(names, max_size=4, unique=True)):
        kind = draw(st.sampled_from(["f32", "f16", "bf16", "i8", "i64", "q4_0", "q8_0", "q6_k"]))
        known = types.tensor_types()[kind]
        rest = draw(st.lists(st.integers(1, 3), max_size=3))
        ne = (known.block * draw(st.integers(1, 3)), *rest)
        size = types.n_bytes(known, ne)
        result.append((name, kind, ne, random.Random(size).randbytes(size)))
    return result


damage = st.lists(st.tuples(st.floats(0, 1), st.integers(0, 7)), max_size=3)
metadata = st.dictionaries(keys, entries(), max_size=6)


def we_write(path: Path, values: dict[str, tuple[str, Any]], given: Any, alignment: int | None) -> None:
    with lf.gguf.GgufWriter(path) as writer:
        if alignment:
            writer.add("general.alignment", alignment)
        for key, (kind, value) in values.items():
            writer.add(key, value, kind.removeprefix("arr[").removesuffix("]"))
        for name, kind, ne, data in given:
            writer.add_tensor(name, data, type=kind, shape=reversed(ne))


@few
@given(values=metadata, given_=tensors(), alignment=st.sampled_from([None, 1, 8, 64]))
def test_c_reads_what_we_write(tmp_path: Path, values: Any, given_: Any, alignment: int | None) -> None:
    path = tmp_path / "ours.gguf"
    we_write(path, values, given_, alignment)
    seen = c_reads(path)
    assert seen == we_read(path)
    assert {key: seen["metadata"][key] for key in values} == values
    assert list(seen["tensors"]) == [name for name, *_ in given_]
    with lf.gguf.read(path) as file:
        for name, kind, ne, data in given_:
            tensor = file.tensors[name]
            assert (tensor.type, tensor.ne) == (kind, ne) and tensor.data.tobytes() == data
            assert tensor.shape == tuple(reversed(ne))


@few
@given(values=metadata, given_=tensors())
def test_we_read_and_write_what_c_writes(tmp_path: Path, values: Any, given_: Any) -> None:
    theirs, ours = tmp_path / "theirs.gguf", tmp_path / "ours.gguf"
    given_ = [(name, kind, strip(ne), data) for name, kind, ne, data in given_]
    c_writes(theirs, values, given_)
    assert we_read(theirs) == c_reads(theirs)
    with lf.gguf.read(theirs) as file:
        assert {key: file.fields[key].value for key in file.fields} == {k: v for k, (_, v) in values.items()}
        for name, _, _, data in given_:
            assert file.tensors[name].data.tobytes() == data
    we_write(ours, values, given_, None)
    assert ours.read_bytes() == theirs.read_bytes()
    lf.gguf.edit(theirs, ours)
    assert ours.read_bytes() == theirs.read_bytes()


def strip(ne: tuple[int, ...]) -> tuple[int, ...]:
    """C doesn't write sizes of 1 at the end."""
    while len(ne) > 1 and ne[-1] == 1:
        ne = ne[:-1]
    return ne


@few
@given(
    values=metadata,
    given_=tensors(),
    cut=st.floats(0, 1),
    flips=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 7)), max_size=3),
)
def test_we_never_take_what_c_refuses(
    tmp_path: Path, values: Any, given_: Any, cut: float, flips: list[tuple[float, int]]
) -> None:
    """And the other way round but for what is documented: NULs in names and long keys."""
    path = tmp_path / "damaged.gguf"
    we_write(path, values, given_, None)
    data = bytearray(path.read_bytes())
    for place, bit in flips:
        data[int(place * (len(data) - 1))] ^= 1 << bit
    if not flips:
        del data[int(cut * len(data)) :]
    path.write_bytes(data)
    params = ffi.new("struct gguf_init_params *", {"no_alloc": True, "ctx": ffi.NULL})
    gguf = lib.gguf_init_from_file(str(path).encode(), params[0])
    theirs = gguf != ffi.NULL
    if theirs:
        lib.gguf_free(gguf)
    try:
        scan(io.BytesIO(bytes(data)), len(data), types.tensor_type)
        ours, why = True, ""
    except GgufError as error:
        ours, why = False, str(error)
    if ours:
        assert theirs
    elif theirs:
        # C looks at the tensors' data only when it reads them
        assert "NUL" in why or "the file ends" in why, why


def test_values_that_dont_fit(tmp_path: Path) -> None:
    writer = lf.gguf.GgufWriter(tmp_path / "never.gguf")
    add: Any = writer.add
    for value, type_, error, words in [
        (256, "u8", InvalidArgumentError, "0 to 255"),
        (-1, "u64", InvalidArgumentError, "u64"),
        (2**64, None, InvalidArgumentError, "64 bits"),
        (1e39, "f32", InvalidArgumentError, "f64"),
        ("a", "u8", ArgumentTypeError, "u8"),
        (True, "u8", ArgumentTypeError, "u8"),
        (1, "bool", ArgumentTypeError, "bool"),
        (1, "str", ArgumentTypeError, "str"),
        (1, "arr", InvalidArgumentError, "no type of metadata"),
        (1, "float", InvalidArgumentError, "choose one of: u8"),
        ([], None, InvalidArgumentError, "Typed"),
        ([1, "a"], None, ArgumentTypeError, "one type"),
        ([1, True], None, ArgumentTypeError, "one type"),
        ([-1, 2**63], None, InvalidArgumentError, "no type of GGUF"),
        (None, None, ArgumentTypeError, "NoneType"),
        ({}, None, ArgumentTypeError, "dict"),
        ("\ud800", None, InvalidArgumentError, "surrogate"),
        (np.zeros((2, 2)), None, InvalidArgumentError, "2 dimensions"),
        (np.zeros(2, complex), None, ArgumentTypeError, "complex"),
    ]:
        with pytest.raises(error, match=words):
            add("key", value, type_)
    for key in ("", "a\0b", "k" * 65_536):
        with pytest.raises(InvalidArgumentError):
            add(key, 1)
    with pytest.raises(ArgumentTypeError):
        add(5, 1)
    for value, type_ in [(0, None), (3, None), (2**32, None), (32, "i32")]:
        with pytest.raises(InvalidArgumentError, match=r"general\.alignment"):
            add("general.alignment", value, type_)
    assert writer.header() == b"GGUF" + struct.pack("<Iqq", 3, 0, 0) + bytes(8)


def test_tensors_that_dont_fit(tmp_path: Path) -> None:
    writer = lf.gguf.GgufWriter(tmp_path / "never.gguf")
    add: Any = writer.add_tensor
    writer.add_tensor("taken", np.zeros(3, np.float32))
    for name, data, options, words in [
        ("taken", np.zeros(3, np.float32), {}, "already"),
        ("", np.zeros(3, np.float32), {}, "0 bytes"),
        ("n" * 64, np.zeros(3, np.float32), {}, "64 bytes"),
        ("a", np.zeros(3, np.uint8), {}, "uint8"),
        ("a", np.zeros(3, np.float32), {"type": "q4_0"}, "convert it first"),
        ("a", np.zeros((2, 17), np.uint8), {"type": "q4_0"}, "multiple of 18 bytes"),
        ("a", np.zeros((1,) * 5, np.float32), {}, "5 dimensions"),
        ("a", bytes(12), {"type": "f32", "shape": [4]}, "16 bytes, not 12"),
        ("a", bytes(12), {"type": "f32"}, "both type= and shape="),
        ("a", bytes(18), {"type": "q4_0", "shape": [31]}, "multiple of 32"),
        ("a", bytes(4), {"type": "f33", "shape": [1]}, "no type 'f33'"),
        ("a", bytes(4), {"type": "f32", "shape": [-1]}, "-1"),
        ("a", bytes(4), {"type": "f32", "shape": [2**62, 4]}, "too many elements"),
        ("a", 5, {"type": "f32", "shape": [1]}, "not int"),
    ]:
        with pytest.raises((InvalidArgumentError, ArgumentTypeError), match=words):
            add(name, data, **options)


def test_arrays_of_any_layout(tmp_path: Path) -> None:
    values = np.arange(24, dtype=np.float32).reshape(4, 6)
    arrays = {
        "turned": values.T,
        "steps": values[::2, ::3],
        "big": values.astype(">f4"),
        "scalar": np.float32(3.5).reshape(()),
        "none": np.zeros((0, 5), np.float32),
        "half": values.astype(np.float16),
    }
    lf.gguf.write(tmp_path / "a.gguf", {}, arrays)
    with lf.gguf.read(tmp_path / "a.gguf") as file:
        for name, array in arrays.items():
            assert np.array_equal(file.tensors[name].data, array), name
            assert file.tensors[name].shape == array.shape


def test_nested_arrays_are_ours_alone(tmp_path: Path) -> None:
    path = tmp_path / "nested.gguf"
    lf.gguf.write(path, {"a": [[1, 2], ["x"], [[True]]]})
    with lf.gguf.read(path) as file:
        assert file.metadata["a"] == [[1, 2], ["x"], [[True]]]
        assert file.fields["a"].type == "arr"
    with pytest.raises(lf.errors.ModelFileError, match="array of arrays"):
        lf.Model.load(path)
    deep: Any = [1]
    for _ in range(MAX_DEPTH):
        deep = [deep]
    lf.gguf.write(path, {"a": deep})
    with pytest.raises(GgufError, match="deeper than 8"):
        lf.gguf.read(path)


def test_floats_keep_their_bits(tmp_path: Path) -> None:
    path = tmp_path / "floats.gguf"
    lf.gguf.write(path, {"nan": math.nan, "inf": [math.inf, -math.inf, -0.0], "d": lf.gguf.Typed(0.1, "f64")})
    with lf.gguf.read(path) as file:
        assert math.isnan(file.metadata["nan"])
        assert file.metadata["inf"] == [math.inf, -math.inf, 0.0]
        assert math.copysign(1, file.metadata["inf"][2]) == -1
        assert file.metadata["d"] == 0.1 and file.fields["d"].to_numpy is not None
        assert file.fields["inf"].to_numpy().dtype == np.float32
    signalling = path.read_bytes().replace(struct.pack("<f", math.nan), b"\x01\x00\xa0\x7f")
    path.write_bytes(signalling)
    lf.gguf.edit(path, path, set={"more": 1}, remove=["d"])
    assert b"\x01\x00\xa0\x7f" in path.read_bytes()


def test_text_that_is_no_utf8(tmp_path: Path) -> None:
    path = tmp_path / "bytes.gguf"
    lf.gguf.write(path, {"a": b"\xff\xfe", "b": [b"\x80", "ok"], "c": "nul\0inside"})
    with lf.gguf.read(path) as file:
        assert file.metadata["a"] == "\udcff\udcfe"
        assert file.metadata["b"] == ["\udc80", "ok"]
        assert file.metadata["c"] == "nul\0inside"
        again = {key: field.typed for key, field in file.fields.items()}
    copy = tmp_path / "copy.gguf"
    lf.gguf.write(copy, again)
    assert copy.read_bytes() == path.read_bytes()


def header(n_kv: int, version: int = 3, order: str = "<") -> bytes:
    return b"GGUF" + struct.pack(f"{order}Iqq", version, 0, n_kv)


def entry(kind: int, form: str = "", *values: Any) -> bytes:
    return struct.pack(f"<Q1si{form}", 1, b"k", kind, *values)


@pytest.mark.parametrize(
    ("data", "offset", "words"),
    [
        (header(0, 1), 4, "version 1"),
        (header(0, 4), 4, "version 4"),
        (header(0, order=">"), 4, "byte order"),
        (header(2**40), 8, "more than fit"),
        (header(1) + struct.pack("<Q", 2**63) + bytes(9), 24, "65535"),
        (header(1) + entry(13) + bytes(4), 33, "type 13"),
        (header(1) + entry(9, "iQ", 4, 2**61), 41, "elements"),
        (header(1) + entry(9, "iQ", 0, 50), 41, "50 elements"),
        (header(1) + entry(8, "Q", 99) + b"abc", 45, "99 bytes"),
        (header(2) + 2 * entry(0, "B", 1), 38, "twice"),
    ],
)
def test_errors_name_place_and_value(tmp_path: Path, data: bytes, offset: int, words: str) -> None:
    path = tmp_path / "bad.gguf"
    path.write_bytes(data)
    with pytest.raises(GgufError, match=words) as caught:
        lf.gguf.read(path)
    assert caught.value.offset == offset
    assert "bad.gguf" in str(caught.value)


def test_a_file_that_shrinks_is_an_error_without_a_map(tmp_path: Path) -> None:
    path = tmp_path / "shrinks.gguf"
    lf.gguf.write(path, {"a": "b" * 100}, {"t": np.zeros(1000, np.float32)})
    with lf.gguf.read(path, mmap=False) as file:
        with open(path, "r+b") as other:
            other.truncate(60)
        with pytest.raises(GgufError, match="became shorter"):
            _ = file.tensors["t"].data
        with pytest.raises(GgufError, match="became shorter"):
            _ = file.metadata["a"]
