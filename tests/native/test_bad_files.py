"""Files that are no model, and parameters that no model can be loaded with: typed errors that say why."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest

import llama_ffi as lf
from llama_ffi.errors import (
    ArgumentTypeError,
    BackendError,
    ClosedError,
    InvalidArgumentError,
    LlamaError,
    ModelFileError,
    ModelLoadError,
    ModelNotFoundError,
    ModelPermissionError,
    ModelSaveError,
    UnsupportedError,
)

pytestmark = pytest.mark.native


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError, match="no such file") as caught:
        lf.Model.load(tmp_path / "absent.gguf")
    assert isinstance(caught.value, FileNotFoundError | OSError)
    assert "absent.gguf" in str(caught.value)


def test_directory(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="directory"):
        lf.Model.load(tmp_path)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "empty"),
        (b"GGUF", "cut off"),
        (b"GGUF\3\0\0\0", "cut off"),
        (b"NOPE" + bytes(100), "not a GGUF file: it begins with b'NOPE'"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "not a GGUF file"),
        (b"Once upon a time there was a text file.\n" * 3, "text file"),
        (b"PK\3\4" + bytes(100), "PyTorch"),
        (b"lmgg" + bytes(100), "older GGML"),
        (b"\x10\0\0\0\0\0\0\0{" + bytes(100), "safetensors"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (b"GGUF" + struct.pack(">I", 3) + bytes(100), "byte order"),
        (b"GGUF" + struct.pack("<Iqq", 3, 2**60, 5) + bytes(100), "damaged"),
        (b"GGUF" + struct.pack("<Iqq", 3, -1, 5) + bytes(100), "damaged"),
        (b"GGUF" + struct.pack("<Iqq", 3, 0, 1) + b"\xff" * 100, ""),
        (b"GGUF" + struct.pack("<Iqq", 99, 0, 0) + bytes(100), ""),
    ],
)
def test_files_that_are_no_model(tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "file.gguf"
    path.write_bytes(content)
    with pytest.raises(ModelLoadError) as caught:
        lf.Model.load(path)
    assert says in str(caught.value)
    assert str(path) in str(caught.value)
    assert isinstance(caught.value, OSError)


@pytest.mark.parametrize("share", [0.01, 0.2, 0.5, 0.9, 0.999])
def test_truncated_file(random_model_path: Path, tmp_path: Path, share: float) -> None:
    path = tmp_path / "cut.gguf"
    data = random_model_path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(ModelFileError, match=r"cut off|damaged") as caught:
        lf.Model.load(path)
    assert "the file ends" in str(caught.value)


@pytest.mark.skipif(os.name == "nt", reason="POSIX permissions")
def test_unreadable_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "secret.gguf"
    path.write_bytes(b"GGUF")
    path.chmod(0)
    if os.geteuid() == 0:  # root reads everything: let open() say what it says to others

        def refuse(*args: object, **kwargs: object) -> None:
            raise PermissionError(13, "Permission denied", str(path))

        monkeypatch.setattr("builtins.open", refuse)
    with pytest.raises(ModelPermissionError, match="may not be read") as caught:
        lf.Model.load(path)
    assert isinstance(caught.value, PermissionError)


def test_a_projector_is_no_model(source: Path, tmp_path: Path) -> None:
    from llama_ffi.raw import lib

    gguf = lib.gguf_init_empty()
    lib.gguf_set_val_str(gguf, b"general.architecture", b"no_such_architecture")
    path = tmp_path / "other.gguf"
    assert lib.gguf_write_to_file(gguf, str(path).encode(), True)
    lib.gguf_free(gguf)
    with pytest.raises(ModelLoadError, match="unknown model architecture"):
        lf.Model.load(path)


def test_bad_parameters(random_model_path: Path) -> None:
    load = lf.Model.load
    with pytest.raises(InvalidArgumentError, match="load_mode is 'fast'; choose one of: auto"):
        load(random_model_path, load_mode="fast")
    with pytest.raises(InvalidArgumentError, match="split_mode"):
        load(random_model_path, split_mode=17)
    with pytest.raises(BackendError, match="no device named 'TPU9'"):
        load(random_model_path, devices=["TPU9"])
    with pytest.raises(InvalidArgumentError, match="tensor_split has 999 shares"):
        load(random_model_path, tensor_split=[1.0] * 999)
    with pytest.raises(InvalidArgumentError, match="finite"):
        load(random_model_path, tensor_split=[float("nan")])
    with pytest.raises(InvalidArgumentError, match="127 bytes"):
        load(random_model_path, kv_overrides={"a" * 128: 1})
    with pytest.raises(InvalidArgumentError, match="NUL"):
        load(random_model_path, kv_overrides={"a\0b": 1})
    with pytest.raises(InvalidArgumentError, match="127 are possible"):
        load(random_model_path, kv_overrides={"a": "b" * 128})
    with pytest.raises(InvalidArgumentError, match="empty list"):
        load([])
    with pytest.raises(InvalidArgumentError, match="NUL"):
        load("a\0b")


def test_overrides_of_the_wrong_type_say_what_they_are(random_model_path: Path) -> None:
    with pytest.raises(InvalidArgumentError, match=r"block_count.* expected int but got str") as caught:
        lf.Model.load(random_model_path, kv_overrides={"llama.block_count": "two"})
    assert caught.value.log
    with lf.Model.load(random_model_path, kv_overrides={"llama.context_length": 300}) as model:
        assert model.n_ctx_train == 300


@pytest.mark.parametrize("mode", ["auto", "none", "mmap", "direct_io"])
def test_load_modes(random_model_path: Path, mode: str) -> None:
    with lf.Model.load(random_model_path, load_mode=mode, tensor_split=[1.0], check_tensors=True) as model:
        assert model.n_layer == 2


def test_progress_can_watch_and_cancel(random_model_path: Path) -> None:
    seen: list[float] = []
    lf.Model.load(random_model_path, progress=seen.append).close()
    assert seen == sorted(seen)
    assert seen[-1] == 1.0
    with pytest.raises(ModelLoadError, match="cancelled"):
        lf.Model.load(random_model_path, progress=lambda _share: False)
    with pytest.raises(ArgumentTypeError, match="progress must be a function, not int"):
        lf.Model.load(random_model_path, progress=3)  # type: ignore[arg-type]


def test_an_exception_in_progress_arrives(random_model_path: Path) -> None:
    class OurOwnError(Exception):
        pass

    def fail(_share: float) -> None:
        raise OurOwnError("enough")

    with pytest.raises(OurOwnError, match="enough"):
        lf.Model.load(random_model_path, progress=fail)


def test_saving(random_model: lf.Model, tmp_path: Path) -> None:
    path = tmp_path / "copy.gguf"
    path.write_bytes(b"old")
    random_model.save_to_file(path)
    with lf.Model.load(path) as copy:
        assert copy.n_params > 0
        assert copy.n_embd == random_model.n_embd
    assert [each.name for each in tmp_path.iterdir()] == ["copy.gguf"]
    with pytest.raises(ModelSaveError):
        random_model.save_to_file(tmp_path / "absent" / "copy.gguf")
    with pytest.raises(InvalidArgumentError):
        random_model.save_to_file("")


def test_a_vocabulary_alone(source: Path, tmp_path: Path) -> None:
    """Half of the getters would abort on a model without layers."""
    with lf.Model.load(source / "models/ggml-vocab-gpt-2.gguf", vocab_only=True) as model:
        for name in dir(type(model)):
            if not name.startswith("_") and isinstance(getattr(type(model), name), property):
                getattr(model, name)
        assert model.n_head == model.n_head_kv == 0
        assert "vocabulary only" in repr(model)
        assert model.chat_template("absent") is None
        with pytest.raises(UnsupportedError, match="vocab_only"):
            model.context()
        with pytest.raises(UnsupportedError, match="vocabulary"):
            model.save_to_file(tmp_path / "x.gguf")


EPSILON = "llama.attention.layer_norm_rms_epsilon"


def with_epsilon(path: Path, value: float, copy: Path) -> Path:
    content = bytearray(path.read_bytes())
    place = content.index(EPSILON.encode()) + len(EPSILON) + 4  # behind the name and the type
    assert struct.unpack_from("<f", content, place)[0] == pytest.approx(1e-5)
    struct.pack_into("<f", content, place, value)
    copy.write_bytes(content)
    return copy


@pytest.mark.parametrize("value", [-1.0, -1e-9, float("nan"), -float("nan"), float("inf"), -float("inf")])
def test_an_epsilon_that_every_decode_would_die_of(
    random_model_path: Path, tmp_path: Path, value: float
) -> None:
    path = with_epsilon(random_model_path, value, tmp_path / "bad.gguf")
    with pytest.raises(ModelFileError, match=f"bad.gguf: .*{EPSILON}.*kv_overrides"):
        lf.Model.load(path)
    with pytest.raises(InvalidArgumentError, match=EPSILON):
        lf.Model.load(random_model_path, kv_overrides={EPSILON: value})
    lf.Model.load(path, vocab_only=True).close()  # to look at it is safe
    with lf.Model.load(path, kv_overrides={EPSILON: 1e-5}) as model:
        model.context(n_ctx=256, n_threads=1).decode(lf.Batch.from_tokens([1, 5, 6]))


@pytest.mark.parametrize("value", [0.0, 1e-9, 1.0])
def test_an_epsilon_that_is_fine(random_model_path: Path, tmp_path: Path, value: float) -> None:
    lf.Model.load(with_epsilon(random_model_path, value, tmp_path / "good.gguf")).close()
    lf.Model.load(random_model_path, kv_overrides={EPSILON: value}).close()


def test_what_checks_rely_on_is_read_only(source: Path) -> None:
    with lf.Model.load(source / "models/ggml-vocab-llama-spm.gguf", vocab_only=True) as model:
        with pytest.raises(AttributeError):
            model.vocab_only = False  # type: ignore[misc]
        with pytest.raises(AttributeError):
            model.vocab.n_tokens = 10**6  # type: ignore[misc]
        assert model.vocab_only
        assert model.vocab.n_tokens == len(model.vocab) == 32_000


def test_a_closed_model_answers_nothing_from_its_cache(source: Path) -> None:
    model = lf.Model.load(source / "models/ggml-vocab-llama-spm.gguf", vocab_only=True)
    assert model.arch == model.metadata["general.architecture"] == "llama"
    model.close()
    for ask in (lambda: model.metadata, lambda: model.arch, lambda: model.desc):
        with pytest.raises(ClosedError, match="model is closed"):
            ask()
    assert model.vocab_only
    assert "closed" in repr(model)


def test_every_error_is_ours_and_python_s() -> None:
    for error in (ModelLoadError, ModelNotFoundError, ModelFileError, ModelPermissionError):
        assert issubclass(error, LlamaError)
        assert issubclass(error, OSError)


@pytest.mark.parametrize("wrong", [5, [("a", 1)], "a"])
def test_overrides_that_are_no_mapping(random_model_path: Path, wrong: object) -> None:
    with pytest.raises(ArgumentTypeError, match="kv_overrides must be a dict"):
        lf.Model.load(random_model_path, kv_overrides=wrong)  # type: ignore[arg-type]


def test_a_flag_that_is_an_array(random_model_path: Path) -> None:
    import numpy as np

    with pytest.raises(ArgumentTypeError, match="vocab_only must be True or False"):
        lf.Model.load(random_model_path, vocab_only=np.array([1, 2]))  # type: ignore[arg-type]
