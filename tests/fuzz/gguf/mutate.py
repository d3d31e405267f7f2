"""Damage to GGUF files, reproducible by number: half of it blind, half with sizes that stay consistent.

Blind damage (flipped bits, cut ends, huge counts) is what checks of counts and offsets must stop. The
other half takes the file apart, changes what it says and writes it again as a sound file: it gets past
those checks and shows what libllama makes of it.
"""

from __future__ import annotations

import io
import random
import struct
from collections.abc import Callable
from pathlib import Path

from llama_ffi._core import gguf_types as types
from llama_ffi._core.gguf_scan import Header, scan

INTERESTING = [
    0, 1, 2, 3, 4, 7, 8, 15, 16, 31, 32, 33, 63, 64, 127, 128, 255, 256, 511, 512, 513, 1024, 4096, 65535,
    65536, 2**24, 2**30, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**40, 2**62, 2**63 - 1, 2**63,
    2**64 - 32, 2**64 - 1,
]  # fmt: skip
FLOATS = [0.0, -0.0, 1.0, -1.0, 1e-45, 1e-9, 0.5, 2.0, 1e9, 3.4e38, float("inf"), float("-inf"), float("nan")]
ARCHITECTURES = [
    "llama", "gpt2", "bert", "qwen2moe", "gemma3", "mamba", "mamba2", "rwkv6", "rwkv7", "t5", "t5encoder",
    "jamba", "falcon-h1", "deepseek2", "phi3", "clip", "nemotron_h", "lfm2", "gemma4", "gpt-oss", "eagle3",
    "wavtokenizer-dec", "", "no such architecture", "dream", "granitehybrid", "minicpm3", "cogvlm",
    "kimi-linear", "command-r",
]  # fmt: skip
KEYS = [
    "block_count", "context_length", "embedding_length", "feed_forward_length", "attention.head_count",
    "attention.head_count_kv", "attention.key_length", "attention.value_length", "rope.dimension_count",
    "rope.dimension_sections", "rope.freq_base", "rope.scaling.type", "rope.scaling.factor", "expert_count",
    "expert_used_count", "expert_group_count", "expert_group_used_count", "expert_gating_func",
    "attention.sliding_window", "attention.causal", "pooling_type", "vocab_size", "ssm.conv_kernel",
    "ssm.inner_size", "ssm.state_size", "ssm.time_step_rank", "ssm.group_count", "wkv.head_size",
    "leading_dense_block_count", "nextn_predict_layers", "attention.max_alibi_bias", "attention.clamp_kqv",
    "logit_scale", "embedding_scale", "residual_scale", "expert_weights_scale", "rescale_every_n_layers",
    "attention.relative_buckets_count", "decoder_start_token_id", "final_logit_softcapping",
    "n_deepstack_layers",
    "attention.sliding_window_pattern", "classifier.output_labels", "embedding_length_out", "features_length",
    "rope.scaling.original_context_length", "rope.scaling.yarn_log_multiplier", "rope.freq_base_swa",
    "tensor_data_layout", "token_shift_count", "interleave_moe_layer_step", "attention.kv_lora_rank",
]  # fmt: skip


class File:
    """A GGUF file taken apart: entries and tensors, each as bytes that can be put together again."""

    def __init__(self, data: bytes) -> None:
        header = scan(io.BytesIO(data), len(data), types.tensor_type)
        self.entries = [
            [each.key.encode("utf-8", "surrogateescape"), data[_value(each) : each.end]]
            for each in header.entries.values()
        ]
        self.tensors = [
            [each.name.encode(), list(each.ne), each.type, _bytes(data, header, each.name)]
            for each in header.tensors.values()
        ]

    def join(self, alignment: int = 32) -> bytes:
        for key, value in self.entries:
            if key == b"general.alignment" and len(value) == 8:
                (given,) = struct.unpack("<I", value[4:])
                if given and not given & (given - 1) and given <= 4096:
                    alignment = given
        parts = [b"GGUF", struct.pack("<Iqq", 3, len(self.tensors), len(self.entries))]
        parts += [_string(key) + value for key, value in self.entries]
        offset = 0
        for name, ne, kind, content in self.tensors:
            parts.append(_string(name) + struct.pack("<I", len(ne)))
            parts.append(b"".join(struct.pack("<Q", each % 2**64) for each in ne))
            parts.append(struct.pack("<iQ", kind, offset))
            offset += -(-len(content) // alignment) * alignment
        head = b"".join(parts)
        data = [head, bytes(-len(head) % alignment)]
        for *_, content in self.tensors:
            data += [content, bytes(-len(content) % alignment)]
        return b"".join(data)


def _value(entry: object) -> int:
    key = entry.key.encode("utf-8", "surrogateescape")  # type: ignore[attr-defined]
    return int(entry.begin + 8 + len(key))  # type: ignore[attr-defined]


def _bytes(data: bytes, header: Header, name: str) -> bytes:
    info = header.tensors[name]
    kind = types.tensor_type(info.type)
    assert kind is not None
    begin = header.data + info.offset
    return data[begin : begin + types.n_bytes(kind, info.ne)]


def _string(data: bytes) -> bytes:
    return struct.pack("<Q", len(data)) + data


# --- blind -------------------------------------------------------------------------------------------


def _header_end(data: bytes) -> int:
    return scan(io.BytesIO(data), len(data)).info_end


def flip_bits(data: bytes, rng: random.Random) -> bytes:
    changed, end = bytearray(data), _header_end(data)
    for _ in range(rng.choice([1, 1, 1, 2, 4, 16])):
        changed[rng.randrange(end)] ^= 1 << rng.randrange(8)
    return bytes(changed)


def cut(data: bytes, rng: random.Random) -> bytes:
    return data[: rng.randrange(_header_end(data) if rng.random() < 0.7 else len(data))]


def overwrite(data: bytes, rng: random.Random) -> bytes:
    changed, end = bytearray(data), _header_end(data)
    for _ in range(rng.choice([1, 1, 2, 3])):
        form = rng.choice(["<B", "<H", "<I", "<Q"])
        at = rng.randrange(max(1, end - 8))
        struct.pack_into(form, changed, at, rng.choice(INTERESTING) % 2 ** (8 * struct.calcsize(form)))
    return bytes(changed)


def counts(data: bytes, rng: random.Random) -> bytes:
    """Lie about a count, a length or an offset that is really one."""
    header = scan(io.BytesIO(data), len(data))
    places = [(8, 8), (16, 8)]
    for entry in header.entries.values():
        places.append((entry.begin, 8))
        if entry.item >= 0:
            places += [(entry.start - 8, 8), (entry.start - 12, 4), (entry.start, 8)]
        else:
            places.append((entry.start - 4, 4))
    for info in header.tensors.values():
        dims = info.begin + 8 + len(info.name)
        places += [(info.begin, 8), (dims, 4), (dims + 4, 8), (dims + 4 + 8 * len(info.ne) + 4, 8)]
        places.append((dims + 4 + 8 * len(info.ne), 4))
    changed = bytearray(data)
    for _ in range(rng.choice([1, 1, 2])):
        at, size = rng.choice(places)
        old = int.from_bytes(changed[at : at + size], "little")
        near = [old + 1, old - 1, old * 2, old + 32, old ^ (1 << rng.randrange(8 * size))]
        new = rng.choice([rng.choice(INTERESTING), *near])
        changed[at : at + size] = (new % 2 ** (8 * size)).to_bytes(size, "little")
    return bytes(changed)


def splice(data: bytes, rng: random.Random) -> bytes:
    end = _header_end(data)
    at, length = rng.randrange(end), rng.choice([1, 4, 8, 32, 200])
    if rng.random() < 0.5:
        return data[:at] + data[at + length :]
    return data[:at] + data[rng.randrange(end) :][:length] + data[at:]


# --- consistent ---------------------------------------------------------------------------------------


def scalar(file: File, rng: random.Random) -> None:
    """Another value of the same type."""
    entry = rng.choice(file.entries)
    kind = struct.unpack("<i", entry[1][:4])[0]
    entry[1] = entry[1][:4] + _content(kind, rng, entry[1])


def _content(kind: int, rng: random.Random, old: bytes = b"") -> bytes:
    if kind == types.STRING:
        return _string(_text(rng, old[12:]))
    if kind == types.ARRAY:
        item, count = struct.unpack("<iQ", old[4:16]) if len(old) >= 16 else (types.I32, 3)
        return _array(item, count, rng)
    if kind in (types.F32, types.F64):
        return struct.pack("<" + types.CODES[kind], rng.choice(FLOATS))
    size = types.SIZES[kind]
    value = rng.choice(INTERESTING) if rng.random() < 0.8 else rng.getrandbits(64)
    return (value % 2 ** (8 * size)).to_bytes(size, "little")


def _array(item: int, count: int, rng: random.Random) -> bytes:
    count = rng.choice([0, 1, 2, count, count, count // 2, count + 1, min(2 * count, 5000), 512, 513, 600])
    head = struct.pack("<iQ", item, count)
    if item == types.STRING:
        return head + b"".join(_string(_text(rng, b"")) for _ in range(count))
    if item == types.ARRAY:
        return head + b"".join(_array(types.I32, 1, rng) for _ in range(min(count, 5)))
    one = _content(item, rng)
    many = rng.random() < 0.5
    return head + (b"".join(_content(item, rng) for _ in range(count)) if many else one * count)


def _text(rng: random.Random, old: bytes) -> bytes:
    choice = rng.randrange(10)
    if choice == 0:
        return b""
    if choice == 1:
        return bytes(rng.getrandbits(8) for _ in range(rng.randrange(40)))
    if choice == 2:
        return b"\xff\xfe\xf0\x9f"
    if choice == 3:
        return b"a\0b"
    if choice == 4 and rng.random() < 0.1:
        return b"x" * 1_000_000
    if choice == 5:
        return rng.choice(["none", "linear", "yarn", "longrope", "no such thing"]).encode()
    if choice == 6:
        return rng.choice(["llama", "gpt2", "bert", "t5", "rwkv", "plamo2", "none", "hybriddna"]).encode()
    if choice == 7:
        return rng.choice(
            [b"default", b"llama-bpe", b"gpt-2", b"qwen2", b"gemma4", b"tekken", b"viking", b"?"]
        )
    changed = bytearray(old[:2000] or b"abc")
    changed[rng.randrange(len(changed))] = rng.getrandbits(8)
    return bytes(changed)


def array_item(file: File, rng: random.Random) -> None:
    """Change a few elements of an array, or its length, the others as they were."""
    array, nested = struct.pack("<i", types.ARRAY), struct.pack("<ii", types.ARRAY, types.ARRAY)
    arrays = [each for each in file.entries if each[1][:4] == array and each[1][:8] != nested]
    if not arrays:
        return scalar(file, rng)
    entry = rng.choice(arrays)
    item, count = struct.unpack("<iQ", entry[1][4:16])
    items = _items(entry[1][16:], item, count)
    for _ in range(rng.choice([1, 1, 4])):
        if not items:
            break
        at, what = rng.randrange(len(items)), rng.randrange(5)
        if what == 0:
            del items[at]
        elif what == 1:
            items.insert(at, items[rng.randrange(len(items))])
        elif what == 2:
            items[at] = items[rng.randrange(len(items))]
        else:
            items[at] = _string(_text(rng, items[at][8:])) if item == types.STRING else _content(item, rng)
    entry[1] = entry[1][:8] + struct.pack("<Q", len(items)) + b"".join(items)
    return None


def _items(data: bytes, item: int, count: int) -> list[bytes]:
    if item != types.STRING:
        size = types.SIZES[item]
        return [data[index * size : (index + 1) * size] for index in range(count)]
    items, at = [], 0
    for _ in range(count):
        end = at + 8 + struct.unpack_from("<Q", data, at)[0]
        items.append(data[at:end])
        at = end
    return items


def retype(file: File, rng: random.Random) -> None:
    """A value of another type under the same key."""
    entry = rng.choice(file.entries)
    kind = rng.randrange(13)
    entry[1] = struct.pack("<i", kind)
    entry[1] += _array(rng.randrange(13), 3, rng) if kind == types.ARRAY else _content(kind, rng)


def remove_entry(file: File, rng: random.Random) -> None:
    file.entries.remove(rng.choice(file.entries))


def add_entry(file: File, rng: random.Random) -> None:
    arch = next((each[1][12:] for each in file.entries if each[0] == b"general.architecture"), b"llama")
    key = arch + b"." + rng.choice(KEYS).encode()
    entry = next((each for each in file.entries if each[0] == key), None)
    if entry is None:
        entry = [key, b""]
        file.entries.append(entry)
    kind = rng.choice([types.U32] * 6 + [types.F32] * 3 + [types.I32, types.STRING, types.BOOL, types.ARRAY])
    if kind == types.ARRAY:
        item = rng.choice([types.U32, types.I32, types.F32, types.BOOL])
        entry[1] = struct.pack("<i", kind) + _array(item, 2, rng)
    else:
        entry[1] = struct.pack("<i", kind) + _content(kind, rng)


def duplicate_entry(file: File, rng: random.Random) -> None:
    file.entries.append(list(rng.choice(file.entries)))


def rename_entry(file: File, rng: random.Random) -> None:
    entry = rng.choice(file.entries)
    key = entry[0]
    entry[0] = rng.choice([b"", b"\xff\xfe", key + b"\0x", b"k" * 70_000, key[:-1], b"general.alignment"])


def architecture(file: File, rng: random.Random) -> None:
    """Claim to be another architecture, with all keys renamed to it."""
    old = next((each[1][12:] for each in file.entries if each[0] == b"general.architecture"), b"llama")
    new = rng.choice(ARCHITECTURES).encode()
    for entry in file.entries:
        if entry[0] == b"general.architecture":
            entry[1] = entry[1][:4] + _string(new)
        elif entry[0].startswith(old + b"."):
            entry[0] = new + entry[0][len(old) :]


def alignment(file: File, rng: random.Random) -> None:
    value = rng.choice([0, 1, 2, 3, 4, 8, 16, 33, 64, 4096, 2**31, 2**32 - 1])
    file.entries.append([b"general.alignment", struct.pack("<iI", types.U32, value)])


def split_keys(file: File, rng: random.Random) -> None:
    """Claim to be part of more files: too many, of a cycle, of oneself."""
    values = [
        (b"split.no", "<iH", types.U16, rng.choice([0, 1, 2, 65535])),
        (b"split.count", "<iH", types.U16, rng.choice([0, 1, 2, 3, 65535])),
        (b"split.tensors.count", "<ii", types.I32, rng.choice([0, 1, -1, 21, 2**31 - 1])),
    ]
    for key, form, kind, value in values:
        if rng.random() < 0.9:
            file.entries = [each for each in file.entries if each[0] != key]
            file.entries.append([key, struct.pack(form, kind, value)])


def reshape(file: File, rng: random.Random) -> None:
    """Another shape of a tensor, with as many bytes as it needs."""
    if not file.tensors:
        return scalar(file, rng)
    tensor = rng.choice(file.tensors)
    ne = tensor[1]
    what = rng.randrange(7)
    if what == 0:
        ne.reverse()
    elif what == 1 and ne:
        ne[rng.randrange(len(ne))] = rng.choice([0, 1, 2, 16, 31, 32, 33, 64, 300])
    elif what == 2:
        ne.append(rng.choice([0, 1, 2]))
    elif what == 3 and ne:
        ne.pop()
    elif what == 4:
        ne[:] = [0]
    elif what == 5 and ne:
        ne[-1] *= 2
    else:
        tensor[2] = rng.randrange(45)
    del ne[5:]
    _refill(tensor, rng)
    return None


def retype_tensor(file: File, rng: random.Random) -> None:
    if not file.tensors:
        return scalar(file, rng)
    names = [each.number for each in types.tensor_types().values()]
    for tensor in rng.sample(file.tensors, rng.choice([1, 1, min(3, len(file.tensors)), len(file.tensors)])):
        tensor[2] = rng.choice(names)
        _refill(tensor, rng)
    return None


def _refill(tensor: list, rng: random.Random) -> None:  # type: ignore[type-arg]
    kind = types.tensor_type(tensor[2])
    ne = tensor[1]
    if kind is None or not kind.block or len(ne) > 4:
        return
    if ne and ne[0] % kind.block:
        ne[0] = max(1, ne[0] // kind.block) * kind.block
    length = types.n_bytes(kind, tuple(ne))
    if length <= 4_000_000:
        old = tensor[3] or b"\0"
        tensor[3] = (old * (length // len(old) + 1))[:length]


def remove_tensor(file: File, rng: random.Random) -> None:
    if file.tensors:
        file.tensors.remove(rng.choice(file.tensors))


def rename_tensor(file: File, rng: random.Random) -> None:
    if not file.tensors:
        return
    tensor = rng.choice(file.tensors)
    other = rng.choice(file.tensors)[0]
    names = [other, tensor[0].replace(b"0", b"1"), b"output.weight", b"rope_freqs.weight"]
    tensor[0] = rng.choice([*names, b"", b"x" * 63, b"x" * 64, b"a\0b", b"\xff"])


def swap_tensors(file: File, rng: random.Random) -> None:
    rng.shuffle(file.tensors)
    if len(file.tensors) > 1 and rng.random() < 0.5:
        first, second = rng.sample(file.tensors, 2)
        first[0], second[0] = second[0], first[0]


def data_bytes(file: File, rng: random.Random) -> None:
    """NaNs, infinities or any bytes as weights."""
    if not file.tensors:
        return
    for tensor in rng.sample(file.tensors, rng.choice([1, len(file.tensors)])):
        unit = rng.choice([b"\xff", b"\0\0\xc0\x7f", b"\0\0\x80\x7f", b"\0\x7c", rng.randbytes(64), b"\0"])
        tensor[3] = (unit * (len(tensor[3]) // len(unit) + 1))[: len(tensor[3])]


BLIND: list[Callable[[bytes, random.Random], bytes]] = [flip_bits, cut, overwrite, counts, splice]
CONSISTENT: list[Callable[[File, random.Random], None]] = [
    scalar, scalar, scalar, array_item, array_item, array_item, retype, remove_entry, add_entry, add_entry,
    add_entry, duplicate_entry, rename_entry, architecture, alignment, split_keys, reshape, retype_tensor,
    remove_tensor, rename_tensor, swap_tensors, data_bytes,
]  # fmt: skip


def mutate(data: bytes, rng: random.Random) -> tuple[bytes, str]:
    """Return a damaged file and what was done to it."""
    if rng.random() < 0.5:
        blind = rng.choice(BLIND)
        return blind(data, rng), blind.__name__
    file, done = File(data), []
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        change = rng.choice(CONSISTENT)
        if file.entries:
            change(file, rng)
            done.append(change.__name__)
    return file.join(), "+".join(done)


def case(number: int, seed: int, bases: dict[str, Path]) -> tuple[str, bytes, str]:
    """Return base, bytes and description of case ``number``; the same for the same seed."""
    rng = random.Random(f"{seed}-{number}")
    name = rng.choice(sorted(bases))
    data, done = mutate(bases[name].read_bytes(), rng)
    return name, data, done


# --- systematic ------------------------------------------------------------------------------------------


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
        _refill(tensor, random.Random(1))
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
