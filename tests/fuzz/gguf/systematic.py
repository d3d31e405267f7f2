"""Every single change of a kind, none by chance: each tensor of each type, each number at its limits."""

from __future__ import annotations

import random
import struct
from pathlib import Path

from llama_ffi._core import gguf_types as types
from tests.fuzz.gguf.file import FLOATS, INTERESTING, File, refill


def systematic(bases: dict[str, Path]) -> list[tuple[str, str, int, int]]:
    """Return every single change, as (base, what, index, variant).

    Each tensor gone or of each type, each number of the metadata at each interesting value.
    """
    kinds = sorted(each.number for each in types.tensor_types().values())
    cases = []
    for name in sorted(bases):
        file = File(bases[name].read_bytes())
        for index in range(len(file.tensors)):
            cases.append((name, "remove_tensor", index, 0))
            own = file.tensors[index][2]
            cases += [(name, "retype_tensor", index, kind) for kind in kinds if kind != own]
        for index, (key, value) in enumerate(file.entries):
            kind = struct.unpack("<i", value[:4])[0]
            if kind in (types.F32, types.F64):
                cases += [(name, "set", index, variant) for variant in range(len(FLOATS))]
            elif kind in types.SIZES:
                cases += [(name, "set", index, variant) for variant in range(len(INTERESTING))]
            elif not key.startswith(b"tokenizer") or kind != types.STRING:
                cases.append((name, "remove", index, 0))
    return cases


def systematic_case(chosen: tuple[str, str, int, int], bases: dict[str, Path]) -> tuple[str, bytes, str]:
    """Return base, bytes and description of one of the systematic cases."""
    name, what, index, variant = chosen
    file = File(bases[name].read_bytes())
    if what == "remove_tensor":
        done = f"without {file.tensors[index][0].decode()}"
        del file.tensors[index]
    elif what == "retype_tensor":
        tensor = file.tensors[index]
        tensor[2] = variant
        refill(tensor, random.Random(1))
        kind = types.tensor_type(variant)
        done = f"{tensor[0].decode()} as {kind.name if kind else variant}"
    elif what == "set":
        entry = file.entries[index]
        kind = struct.unpack("<i", entry[1][:4])[0]
        if kind in (types.F32, types.F64):
            value: float = FLOATS[variant]
            content = struct.pack("<" + types.CODES[kind], value)
        else:
            value, size = INTERESTING[variant], types.SIZES[kind]
            content = (INTERESTING[variant] % 2 ** (8 * size)).to_bytes(size, "little")
        entry[1] = entry[1][:4] + content
        done = f"{entry[0].decode()} = {value}"
    else:
        done = f"without {file.entries[index][0].decode()}"
        del file.entries[index]
    return name, file.join(), done
