"""Quantization: every type and option does what it says."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import llama_ffi as lf
from llama_ffi import errors, gguf

from .quantizing import TEXT, ones, types

pytestmark = pytest.mark.model


# --- what comes out ---


@pytest.mark.parametrize(
    ("type", "most", "loss"),
    [
        ("q8_0", 9.0, 0.02),
        ("Q6_K", 7.0, 0.05),
        ("q5_k_m", 6.3, 0.1),
        ("q4_k", 5.8, 0.3),
        ("q4_0", 5.3, 0.4),
        ("iq4_xs", 5.3, 0.4),
        ("f16", 16.1, 0.001),
        ("bf16", 16.1, 0.01),
    ],
)
def test_a_quantized_model_is_smaller_and_almost_as_good(
    plain: Path, tmp_path: Path, type: str, most: float, loss: float
) -> None:
    path = tmp_path / "out.gguf"
    result = lf.quantize(plain, path, type, n_threads=2)
    assert result.paths == (str(path),)
    assert result.type == type.lower()
    assert result.bits_per_weight < most
    assert result.size_after < result.size_before < os.path.getsize(plain)
    assert result.size_after < os.path.getsize(path) < result.size_after + 100_000
    assert {name: each.type_after for name, each in result.tensors.items()} == types(path)
    assert {name: each.type_before for name, each in result.tensors.items()} == types(plain)
    exact = lf.score(plain, TEXT, n_threads=1)
    found = lf.score(path, TEXT, n_threads=1)
    assert found.tokens == exact.tokens
    assert abs(found.total - exact.total) / len(exact.tokens) < loss


def test_all_types_of_the_tool_are_known(plain: Path) -> None:
    names = (
        "q1_0 q2_0 q4_0 q4_1 mxfp4_moe q5_0 q5_1 iq2_xxs iq2_xs iq2_s iq2_m iq1_s iq1_m tq1_0 tq2_0 q2_k "
        "q2_k_s iq3_xxs iq3_s iq3_m q3_k iq3_xs q3_k_s q3_k_m q3_k_l iq4_nl iq4_xs q4_k q4_k_s q4_k_m q5_k "
        "q5_k_s q5_k_m q6_k q8_0 f16 bf16 f32 copy"
    )
    matrix = ones(plain)
    for name in names.split():
        result = lf.quantize(plain, None, name, dry_run=True, imatrix=matrix)
        assert result.paths == ()
        assert 1 < result.bits_per_weight <= 32.1, name
    bare = lf.quantize(plain, None, "iq2_xs", dry_run=True)
    assert any("will require an imatrix" in each for each in bare.warnings)
    by_number = lf.quantize(plain, None, int(lf.Ftype.MOSTLY_Q8_0), dry_run=True)
    assert by_number.type == "q8_0"


def test_a_dry_run_says_what_a_real_one_does(plain: Path, tmp_path: Path) -> None:
    planned = lf.quantize(plain, None, "q4_k_m", dry_run=True)
    done = lf.quantize(plain, tmp_path / "out.gguf", "q4_k_m", n_threads=1)
    assert planned.tensors == done.tensors
    assert planned.size_after == done.size_after
    assert len(set(types(tmp_path / "out.gguf").values())) == 3  # a mixture, and f32 for the norms


def test_options_choose_types(plain: Path, tmp_path: Path) -> None:
    path = tmp_path / "out.gguf"
    lf.quantize(
        plain,
        path,
        "q4_0",
        n_threads=1,
        output_tensor_type="Q8_0",
        token_embedding_type="q5_1",
        tensor_types={r"blk\.[01]\.ffn_(up|gate)": "q8_0", r"attn_v": "f16"},
        max_buf_size=1 << 16,
    )
    found = types(path)
    assert found["output.weight"] == "q8_0"
    assert found["token_embd.weight"] == "q5_1"
    assert found["blk.0.ffn_up.weight"] == found["blk.1.ffn_gate.weight"] == "q8_0"
    assert found["blk.0.attn_v.weight"] == "f16"
    assert found["blk.2.ffn_up.weight"] == found["blk.0.attn_q.weight"] == "q4_0"
    assert found["output_norm.weight"] == "f32"


def test_pure_and_without_the_output(plain: Path, tmp_path: Path) -> None:
    lf.quantize(plain, tmp_path / "pure.gguf", "q4_k_m", pure=True, n_threads=1)
    matrices = {kind for name, kind in types(tmp_path / "pure.gguf").items() if "norm" not in name}
    assert matrices == {"q4_k"}
    lf.quantize(plain, tmp_path / "kept.gguf", "q4_0", quantize_output_tensor=False, n_threads=1)
    assert types(tmp_path / "kept.gguf")["output.weight"] == "f32"


def test_copy_changes_metadata_only(tmp_path: Path) -> None:
    source, path = lf.tiny_model_path(), tmp_path / "copy.gguf"
    overrides = {"general.name": "other", "x.int": 7, "x.float": 0.5, "x.bool": True}
    lf.quantize(source, path, "copy", kv_overrides=overrides)
    with gguf.read(source) as old, gguf.read(path) as new:
        assert new.metadata["general.name"] == "other"
        assert (new.metadata["x.int"], new.metadata["x.float"], new.metadata["x.bool"]) == (7, 0.5, True)
        assert new.metadata["general.file_type"] == old.metadata["general.file_type"]
        assert old.tensors.keys() == new.tensors.keys()
        for name, tensor in old.tensors.items():
            assert np.array_equal(tensor.data, new.tensors[name].data)
    lf.quantize(source, tmp_path / "same.gguf", "q8_0", only_copy=True)
    assert types(tmp_path / "same.gguf") == types(source)


def test_rows_that_do_not_fit_fall_back_and_say_so(tmp_path: Path) -> None:
    path = tmp_path / "odd.gguf"
    lf.testing.save_random_model(path, "llama", seed=1)
    result = lf.quantize(path, tmp_path / "out.gguf", "q4_k_m", n_threads=1)
    assert any("falling back to" in each for each in result.warnings)
    assert "q5_0" in types(tmp_path / "out.gguf").values()


@pytest.mark.parametrize("kind", ["llama", "llama-moe", "gemma3", "bert", "t5", "mamba", "rwkv7", "gpt2"])
def test_random_models_of_other_kinds(kind: str, tmp_path: Path) -> None:
    source, path = tmp_path / "in.gguf", tmp_path / "out.gguf"
    lf.testing.save_random_model(source, kind, seed=1)
    result = lf.quantize(source, path, "q8_0", n_threads=1)
    assert result.size_after < result.size_before
    with lf.Model.load(path) as model, model.context(n_ctx=64, n_threads=1) as context:
        assert model.ftype_name.startswith("Q8_0")
        assert context.n_ctx > 0


# --- importance, layers, parts ---


def test_an_importance_matrix_is_used_and_noted(plain: Path, tmp_path: Path) -> None:
    flat = ones(plain)
    random = np.random.default_rng(1)
    entries = {name: (random.random(len(each.sums)) ** 8, [1]) for name, each in flat.entries.items()}
    steep = lf.ImportanceMatrix(entries, datasets=["a text"], chunk_count=3, chunk_size=128)
    steep.save(tmp_path / "steep.imatrix")
    options: dict[str, Any] = {"tensor_types": {r"blk\.0\.ffn_up": "iq3_xxs"}, "n_threads": 1}
    lf.quantize(plain, tmp_path / "flat.gguf", "q8_0", imatrix=flat, **options)
    lf.quantize(plain, tmp_path / "steep.gguf", "q8_0", imatrix=tmp_path / "steep.imatrix", **options)
    with gguf.read(tmp_path / "flat.gguf") as one, gguf.read(tmp_path / "steep.gguf") as two:
        name = "blk.0.ffn_up.weight"
        assert one.tensors[name].type == two.tensors[name].type == "iq3_xxs"
        assert not np.array_equal(one.tensors[name].data, two.tensors[name].data)
        assert two.metadata["quantize.imatrix.file"].endswith("steep.imatrix")
        assert two.metadata["quantize.imatrix.dataset"] == "a text"
        assert two.metadata["quantize.imatrix.entries_count"] == len(entries)
        assert two.metadata["quantize.imatrix.chunks_count"] == 3
        with gguf.read(plain) as exact:
            weights = entries[name][0] + 1e-9
            error = [
                float((((each.tensors[name].dequantize() - exact.tensors[name].data) ** 2) * weights).sum())
                for each in (one, two)
            ]
    assert error[1] < error[0], "the columns that matter came out worse"


def test_layers_are_left_out(plain: Path, tmp_path: Path) -> None:
    path = tmp_path / "pruned.gguf"
    matrix = ones(plain)
    result = lf.quantize(plain, path, "q8_0", prune_layers=[1], imatrix=matrix, n_threads=1)
    with lf.Model.load(plain) as before, lf.Model.load(path) as after:
        assert after.n_layer == before.n_layer - 1
    assert "blk.2.attn_q.weight" not in result.tensors
    with gguf.read(plain) as old, gguf.read(path) as new:
        moved, kept = new.tensors["blk.1.attn_norm.weight"], old.tensors["blk.2.attn_norm.weight"]
        assert np.array_equal(moved.data, kept.data)


def test_parts_stay_parts_or_become_one(plain: Path, tmp_path: Path) -> None:
    with gguf.read(plain) as file:
        names = list(file.tensors)
        halves = names[: len(names) // 2], names[len(names) // 2 :]
        for number, half in enumerate(halves):
            with gguf.GgufWriter(tmp_path / f"in-{number + 1:05}-of-00002.gguf") as writer:
                if number == 0:
                    for key, field in file.fields.items():
                        typed = field.typed
                        writer.add(key, typed.value, typed.type)
                writer.add("split.no", number, "u16")
                writer.add("split.count", 2, "u16")
                writer.add("split.tensors.count", len(names), "i32")
                for name in half:
                    writer.add_tensor(name, file.tensors[name])
    first = tmp_path / "in-00001-of-00002.gguf"
    one = lf.quantize(first, tmp_path / "one.gguf", "q8_0", n_threads=1)
    two = lf.quantize(first, tmp_path / "two.gguf", "q8_0", n_threads=1, keep_split=True)
    assert [Path(path).name for path in two.paths] == ["two-00001-of-00002.gguf", "two-00002-of-00002.gguf"]
    assert one.tensors == two.tensors
    assert types(tmp_path / "one.gguf") == types(two.paths[0]) | types(two.paths[1])
    assert lf.score(two.paths[0], TEXT).total == lf.score(one.paths[0], TEXT).total
    assert not [each for each in tmp_path.iterdir() if each.name.startswith(".")]
    with pytest.raises(errors.InvalidArgumentError, match="the same file"):
        lf.quantize(first, tmp_path / "in-00002-of-00002.gguf", "q8_0")


def test_another_alignment_than_32(plain: Path, tmp_path: Path) -> None:
    """llama.cpp copies the key and aligns by 32 all the same: such a file could not be read."""
    gguf.edit(plain, tmp_path / "in.gguf", set={"general.alignment": 256})
    lf.quantize(tmp_path / "in.gguf", tmp_path / "out.gguf", "q8_0", n_threads=1)
    lf.quantize(plain, tmp_path / "usual.gguf", "q8_0", n_threads=1)
    assert lf.score(tmp_path / "out.gguf", TEXT).total == lf.score(tmp_path / "usual.gguf", TEXT).total
    with pytest.raises(errors.InvalidArgumentError, match="aligns by 32"):
        lf.quantize(plain, tmp_path / "x.gguf", "q8_0", kv_overrides={"general.alignment": 64})
