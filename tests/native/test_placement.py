"""Where weights go: devices, patterns of tensor names, splits over devices."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import llama_ffi as lf
from llama_ffi.errors import ArgumentTypeError, BackendError, InvalidArgumentError, LlamaError, ModelLoadError

pytestmark = pytest.mark.model


def row(model: lf.Model) -> np.ndarray:
    with model.context(n_ctx=256, n_batch=32, n_threads=1) as ctx:
        ctx.decode(lf.Batch.from_tokens([1, 20, 300]))
        return ctx.logits(-1)


@pytest.fixture(scope="module")
def expected(tiny_model: Path) -> np.ndarray:
    with lf.Model.load(tiny_model) as model:
        return row(model)


@pytest.fixture
def cpu() -> lf.Device:
    return lf.Device.find("CPU")


def test_overrides_by_device_buffer_type_and_name(
    tiny_model: Path, cpu: lf.Device, expected: np.ndarray
) -> None:
    where = {r"blk\.0\.": cpu, r"ffn_(up|down)": cpu.buffer_type, "attn": "cpu", "^output": "CPU"}
    with lf.Model.load(tiny_model, tensor_buft_overrides=where) as model:
        assert np.array_equal(row(model), expected)


def test_an_override_reaches_c(tiny_model: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("DEBUG", logger="llama_ffi"):
        lf.Model.load(tiny_model, tensor_buft_overrides={r"ffn_up": "CPU"}).close()
    moved = [line for line in caplog.messages if "buffer type overridden to CPU" in line]
    assert len(moved) == 3 and all("ffn_up" in line for line in moved)


@pytest.mark.parametrize(
    ("pattern", "says"),
    [
        ("(", "no regular expression"),
        ("[b-a]", "no regular expression"),
        ("a{2,1}", "no regular expression"),
        ("[[a]", "no regular expression"),
        ("(?P<name>ffn)", "C.. doesn't know"),
        ("(?<!x)ffn", "C.. doesn't know"),
        ("no_such_tensor", "matches none of the 30 tensors"),
        ("(" * 600 + ")" * 600, "1200 bytes"),
        ("ffn\0", "NUL"),
        ("ffn\udc80", "surrogate"),
    ],
)
def test_patterns_that_cannot_be(tiny_model: Path, pattern: str, says: str) -> None:
    with pytest.raises(InvalidArgumentError, match=says):
        lf.Model.load(tiny_model, tensor_buft_overrides={pattern: "CPU"})


@settings(max_examples=60, deadline=None)
@given(st.text(st.sampled_from("abfn_.\\0123456789()[]{}|*+?^$-,:=!wdsWDSb"), min_size=1, max_size=12))
def test_any_pattern_loads_or_is_refused(pattern: str) -> None:
    said = "tensor_buft_overrides"
    try:
        lf.Model.load(lf.tiny_model_path(), no_alloc=True, tensor_buft_overrides={pattern: "CPU"}).close()
    except InvalidArgumentError as error:
        said = str(error)
    assert "tensor_buft_overrides" in said


@pytest.mark.parametrize("where", ["GPU", "CPU_REPACK", "", 3, None, object()])
def test_places_that_cannot_be(tiny_model: Path, where: object) -> None:
    with pytest.raises(InvalidArgumentError, match="choose one of: CPU"):
        lf.Model.load(tiny_model, tensor_buft_overrides={"ffn": where})  # type: ignore[dict-item]


def test_a_layout_for_some_tensors_only_is_refused(tiny_model: Path, cpu: lf.Device) -> None:
    for extra in cpu.extra_buffer_types:
        with pytest.raises(InvalidArgumentError, match="choose one of"):
            lf.Model.load(tiny_model, tensor_buft_overrides={"norm": extra})


def test_overrides_of_a_wrong_type(tiny_model: Path) -> None:
    with pytest.raises(ArgumentTypeError, match="tensor_buft_overrides must be a dict, not list"):
        lf.Model.load(tiny_model, tensor_buft_overrides=["ffn"])  # type: ignore[arg-type]
    with pytest.raises(ArgumentTypeError):
        lf.Model.load(tiny_model, tensor_buft_overrides={3: "CPU"})  # type: ignore[dict-item]
    too_many = {f"ffn{number}": "CPU" for number in range(lf.max_tensor_buft_overrides() + 1)}
    with pytest.raises(InvalidArgumentError, match="patterns"):
        lf.Model.load(tiny_model, tensor_buft_overrides=too_many)


def test_devices(tiny_model: Path, cpu: lf.Device, expected: np.ndarray) -> None:
    for devices in ([], ["CPU"], [cpu], cpu, "cpu"):
        with lf.Model.load(tiny_model, devices=devices) as model:  # type: ignore[arg-type]
            assert np.array_equal(row(model), expected)
    with pytest.raises(InvalidArgumentError, match="twice"):
        lf.Model.load(tiny_model, devices=[cpu, "CPU"])
    with pytest.raises(BackendError, match="no device named 'CUDA9'; there are:"):
        lf.Model.load(tiny_model, devices=["CUDA9"])
    with pytest.raises(ArgumentTypeError):
        lf.Model.load(tiny_model, devices=[3])  # type: ignore[list-item]
    with pytest.raises(ArgumentTypeError):
        lf.Model.load(tiny_model, devices=3)  # type: ignore[arg-type]


def test_shares_of_devices(tiny_model: Path, expected: np.ndarray) -> None:
    for shares in ([], [1.0], [0.0], [1, 2, 3], [0.5] * lf.max_devices()):
        with lf.Model.load(tiny_model, tensor_split=shares, devices=["CPU"]) as model:
            assert np.array_equal(row(model), expected)
    for wrong in ([0.5] * (lf.max_devices() + 1), [-1.0], [float("nan")], [float("inf")]):
        with pytest.raises(InvalidArgumentError, match="tensor_split"):
            lf.Model.load(tiny_model, tensor_split=wrong)


def test_tensors_split_over_the_cpu_would_crash(tiny_model: Path) -> None:
    with pytest.raises(InvalidArgumentError, match="can't use CPU"):
        lf.Model.load(tiny_model, devices=["CPU"], split_mode="tensor")
    with pytest.raises(BackendError, match="at least one GPU"):
        lf.Model.load(tiny_model, devices=[], split_mode="tensor")
    with pytest.raises(ModelLoadError, match="split buffers"):
        lf.Model.load(tiny_model, devices=["CPU"], split_mode="row")
    with pytest.raises(ModelLoadError, match="main_gpu"):
        lf.Model.load(tiny_model, devices=["CPU"], split_mode="none", main_gpu=5)


@pytest.mark.parametrize("load_mode", ["auto", "none", "mmap", "mlock", "mmap_mlock", "direct_io"])
@pytest.mark.parametrize("lazy_mode", ["off", "on"])
def test_every_way_to_load(tiny_model: Path, expected: np.ndarray, load_mode: str, lazy_mode: str) -> None:
    with lf.Model.load(tiny_model, load_mode=load_mode, lazy_mode=lazy_mode) as model:
        assert np.array_equal(row(model), expected)


def test_unknown_ways_to_load(tiny_model: Path) -> None:
    for parameters in ({"load_mode": "quick"}, {"lazy_mode": "maybe"}, {"split_mode": "half"}):
        with pytest.raises(LlamaError, match="choose one of"):
            lf.Model.load(tiny_model, **parameters)  # type: ignore[arg-type]


def test_auto_without_a_gpu(tiny_model: Path, expected: np.ndarray) -> None:
    with lf.Model.load(tiny_model, n_gpu_layers="auto", devices=["CPU"]) as model:
        assert np.array_equal(row(model), expected)
    with lf.Model.load(tiny_model, n_gpu_layers="auto", vocab_only=True) as words:
        assert words.vocab.n_tokens
    for wrong in ({"n_gpu_layers": "all"}, {"n_gpu_layers": 1, "fit_context": {"n_ctx": 512}}):
        with pytest.raises(InvalidArgumentError, match="auto"):
            lf.Model.load(tiny_model, **wrong)  # type: ignore[arg-type]
    with pytest.raises(ArgumentTypeError, match="no parameter 'n_contexts'"):
        lf.Model.load(tiny_model, n_gpu_layers="auto", fit_context={"n_contexts": 3})
    with pytest.raises(ArgumentTypeError, match="fit_context"):
        lf.Model.load(tiny_model, n_gpu_layers="auto", fit_context=3)  # type: ignore[arg-type]
