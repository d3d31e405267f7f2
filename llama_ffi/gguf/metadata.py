"""The metadata of C's GGUF object: a mapping of keys to typed values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from .._core import binding
from .._core import text as text_
from .._core.handle import Handle
from .._core.owned import Owned
from ..errors import ArgumentTypeError, InvalidArgumentError, UnsupportedError
from . import values

_ALIGNMENT = "general.alignment"
_SETTERS = {
    "u8": "gguf_set_val_u8",
    "i8": "gguf_set_val_i8",
    "u16": "gguf_set_val_u16",
    "i16": "gguf_set_val_i16",
    "u32": "gguf_set_val_u32",
    "i32": "gguf_set_val_i32",
    "f32": "gguf_set_val_f32",
    "bool": "gguf_set_val_bool",
    "str": "gguf_set_val_str",
    "u64": "gguf_set_val_u64",
    "i64": "gguf_set_val_i64",
    "f64": "gguf_set_val_f64",
}

_GETTERS = {
    "u8": "gguf_get_val_u8",
    "i8": "gguf_get_val_i8",
    "u16": "gguf_get_val_u16",
    "i16": "gguf_get_val_i16",
    "u32": "gguf_get_val_u32",
    "i32": "gguf_get_val_i32",
    "f32": "gguf_get_val_f32",
    "bool": "gguf_get_val_bool",
    "u64": "gguf_get_val_u64",
    "i64": "gguf_get_val_i64",
    "f64": "gguf_get_val_f64",
}


class GgufMetadata(Owned):
    """The metadata half of a :class:`GgufContext`."""

    __slots__ = ("_ffi", "_lib")

    def __init__(self, metadata: Mapping[str, Any] | None = None, *, pointer: Any = None) -> None:
        """Make an empty one, filled from ``metadata``. C: gguf_init_empty

        Arguments:
            metadata: key → value; see :meth:`set`.
            pointer: a ``struct gguf_context *`` that raw code made, to take over instead of a new one.

        Raises:
            InvalidArgumentError, ArgumentTypeError: a value that GGUF can't hold.
        """
        active = binding.active()
        self._ffi: Any = active.ffi
        self._lib: Any = active.lib
        if pointer is None:
            pointer = active.lib.gguf_init_empty()
        if pointer == active.NULL:
            raise InvalidArgumentError("the pointer is NULL")
        self._handle = Handle(active.ffi, pointer, active.lib.gguf_free, "GGUF context", exclusive=True)
        if metadata is not None:
            self.update(metadata)

    # --- metadata ---

    def __len__(self) -> int:
        """Return how many keys there are. C: gguf_get_n_kv"""
        with self._handle as context:
            return int(self._lib.gguf_get_n_kv(context))

    def __iter__(self) -> Iterator[str]:
        """Iterate over the keys. C: gguf_get_key"""
        return iter(self.keys())

    def __contains__(self, key: object) -> bool:
        """Tell whether there is such a key. C: gguf_find_key"""
        if not isinstance(key, str) or "\0" in key:
            return False
        with self._handle as context:
            return bool(self._lib.gguf_find_key(context, text_.encode_c(key)) >= 0)

    def __getitem__(self, key: str) -> Any:
        """Return a value, a copy: int, float, bool, str or a list of them; bytes where C's text isn't UTF-8.

        C: gguf_get_val_u8, gguf_get_val_i8, gguf_get_val_u16, gguf_get_val_i16, gguf_get_val_u32,
        gguf_get_val_i32, gguf_get_val_u64, gguf_get_val_i64, gguf_get_val_f32, gguf_get_val_f64,
        gguf_get_val_bool, gguf_get_val_str, gguf_get_arr_n, gguf_get_arr_data, gguf_get_arr_str

        Raises:
            KeyError: there is no such key.
        """
        return self.typed(key).value

    def typed(self, key: str) -> values.Typed:
        """Return a value with its type, a copy.

        C: gguf_get_kv_type, gguf_get_arr_type, gguf_type_name

        Raises:
            KeyError: there is no such key.
        """
        with self._handle as context:
            index = self._find(context, key)
            type, array = self._type(context, index)
            return values.Typed(self._value(context, index, type, array), type)

    def get(self, key: str, default: Any = None) -> Any:
        """Return the value of ``key``, or ``default`` if there is none."""
        try:
            return self[key]
        except KeyError:
            return default

    def keys(self) -> list[str]:
        """Return all keys in their order, a copy. C: gguf_get_n_kv, gguf_get_key"""
        with self._handle as context:
            count = self._lib.gguf_get_n_kv(context)
            return [self._text(self._lib.gguf_get_key(context, index)) for index in range(count)]

    def items(self) -> list[tuple[str, Any]]:
        """Return all keys with their values, a copy."""
        return [(key, self[key]) for key in self.keys()]

    def set(self, key: str, value: Any, type: str | None = None) -> None:
        """Set a value, in place of an older one of that key.

        C: gguf_set_val_u8, gguf_set_val_i8, gguf_set_val_u16, gguf_set_val_i16, gguf_set_val_u32,
        gguf_set_val_i32, gguf_set_val_u64, gguf_set_val_i64, gguf_set_val_f32, gguf_set_val_f64,
        gguf_set_val_bool, gguf_set_val_str, gguf_set_arr_data, gguf_set_arr_str

        Arguments:
            key: not empty.
            value: bool, int, float, str, a list of them, a numpy scalar or array, or a :class:`Typed`.
            type: "u8", "i8", "u16", "i16", "u32", "i32", "u64", "i64", "f32", "f64", "bool" or "str"; None =
                what llama.cpp reads: f32, u32 (i32 in arrays and below 0), 64 bits for larger ones.

        Raises:
            InvalidArgumentError: an empty key, a value out of its type's range, an empty list without type.
            ArgumentTypeError: GGUF has no type for the value.
            UnsupportedError: "general.alignment", which C writes and then doesn't heed.
        """
        name = text_.encode_c(key, "the key")
        if not name:
            raise InvalidArgumentError("the key is empty")
        type, array, value = values.resolve(key, value, type)
        ffi, lib = self._ffi, self._lib
        with self._handle as context:
            if key == _ALIGNMENT:
                self._check_alignment(context, type, array, value)
            if not array:
                getattr(lib, _SETTERS[type])(context, name, value)
            elif type == "str":
                kept = [ffi.new("char[]", item) for item in value]
                lib.gguf_set_arr_str(context, name, ffi.new("const char *[]", kept), len(kept))
            else:
                kind, c_type = values.NUMBERS[type]
                data = ffi.new(f"{c_type}[]", value)
                lib.gguf_set_arr_data(context, name, getattr(lib, f"GGUF_TYPE_{kind}"), data, len(value))

    def update(self, other: Mapping[str, Any] | GgufMetadata) -> None:
        """Set all values of ``other``, a mapping or another context. C: gguf_set_kv, gguf_get_val_u32

        Raises:
            InvalidArgumentError, ArgumentTypeError: as :meth:`set`; what came before is set.
        """
        if isinstance(other, GgufMetadata):
            if other is self:
                return
            with self._handle as context, other._handle as source:
                index = self._lib.gguf_find_key(source, _ALIGNMENT.encode())
                if index >= 0:
                    value = self._lib.gguf_get_val_u32(source, index)
                    self._check_alignment(context, "u32", False, value)
                self._lib.gguf_set_kv(context, source)
            return
        if not isinstance(other, Mapping):
            raise ArgumentTypeError(f"metadata must be a mapping, not {type(other).__name__}")
        for key, value in other.items():
            self.set(key, value)

    def __delitem__(self, key: str) -> None:
        """Remove a key. C: gguf_remove_key

        Raises:
            KeyError: there is no such key.
        """
        with self._handle as context:
            self._find(context, key)
            if key == _ALIGNMENT and self._lib.gguf_get_alignment(context) != 32:
                raise UnsupportedError(f"{_ALIGNMENT} can't be removed: C would go on using it")
            self._lib.gguf_remove_key(context, text_.encode_c(key))

    # --- facts ---

    @property
    def version(self) -> int:
        """Return the format's version. C: gguf_get_version"""
        with self._handle as context:
            return int(self._lib.gguf_get_version(context))

    @property
    def alignment(self) -> int:
        """Return to how many bytes the tensors' data is aligned. C: gguf_get_alignment"""
        with self._handle as context:
            return int(self._lib.gguf_get_alignment(context))

    @property
    def data_offset(self) -> int:
        """Return where the tensors' data begins in the file that it was read from. C: gguf_get_data_offset"""
        with self._handle as context:
            return int(self._lib.gguf_get_data_offset(context))

    # --- helpers ---

    def _find(self, context: Any, key: str) -> int:
        index = int(self._lib.gguf_find_key(context, text_.encode_c(key, "the key")))
        if index < 0:
            raise KeyError(key)
        return index

    def _check_alignment(self, context: Any, type: str, array: bool, value: Any) -> None:
        # gguf_set_val_u32 leaves the alignment that tensors are written with: the file would be broken
        used = self._lib.gguf_get_alignment(context)
        if (type, array, value) != ("u32", False, used):
            raise UnsupportedError(
                f"{_ALIGNMENT} can only be {used} (u32) here: C doesn't heed another value when it writes"
            )

    def _type(self, context: Any, index: int) -> tuple[str, bool]:
        lib = self._lib
        number = lib.gguf_get_kv_type(context, index)
        array = number == lib.GGUF_TYPE_ARRAY
        if array:
            number = lib.gguf_get_arr_type(context, index)
        return self._text(lib.gguf_type_name(number)), array

    def _value(self, context: Any, index: int, type: str, array: bool) -> Any:
        ffi, lib = self._ffi, self._lib
        if type == "str":
            if not array:
                return self._text(lib.gguf_get_val_str(context, index))
            count = lib.gguf_get_arr_n(context, index)
            return [self._text(lib.gguf_get_arr_str(context, index, each)) for each in range(count)]
        if not array:
            return getattr(lib, _GETTERS[type])(context, index)
        count = lib.gguf_get_arr_n(context, index)
        if count == 0:
            return []
        c_type = values.NUMBERS[type][1]
        found = ffi.unpack(ffi.cast(f"{c_type} *", lib.gguf_get_arr_data(context, index)), count)
        return [bool(each) for each in found] if type == "bool" else found

    def _text(self, pointer: Any) -> Any:
        data: bytes = self._ffi.string(pointer)
        try:
            return data.decode()
        except UnicodeDecodeError:
            return data
