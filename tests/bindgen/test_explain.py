"""`bindgen explain` gathers what is known about a name."""

from __future__ import annotations

from pathlib import Path

import pytest

from bindgen.analyze import Bindings
from bindgen.errors import BindgenError
from bindgen.explain import explain
from bindgen.pipeline import ROOT


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A package whose docstrings name C functions."""
    folder = tmp_path_factory.mktemp("package")
    (folder / "model.py").write_text(
        '''
class Model:
    """A model.

    C: struct llama_model, owned.
    """

    n_embd: int
    """width. C: llama_model_n_embd"""

    def close(self):
        """Free it.

        C: llama_model_free
        """
''',
        encoding="utf-8",
    )
    return folder


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        (
            "llama_model_free",
            [
                "C       void llama_model_free(struct llama_model *model);",
                "cffi    def llama_model_free(self, model: llama_model_p, /) -> None",
                "ctypes  llama_model_free(model: ctypes.c_void_p) -> None",
                "library llama",
                "wraps   llama_ffi.model.Model.close",
            ],
        ),
        ("llama_model_n_embd", ["wraps   llama_ffi.model.Model.n_embd"]),
        ("llama_model", ["opaque: only pointers to it exist", "wraps   llama_ffi.model.Model"]),
        ("struct llama_batch", ["layout  56 bytes, aligned to 8 (LP64)", "8 +8    token: llama_token *"]),
        ("llama_load_model_from_file", ["deprecated: use llama_model_load_from_file instead"]),
        ("LLAMA_TOKEN_ATTR_CONTROL", ["= 8", "= 1 << 3", "Python  enums.TokenAttr.CONTROL"]),
        ("llama_pooling_type", ["LLAMA_POOLING_TYPE_MEAN = 1,", "Python  enums.PoolingType"]),
        ("LLAMA_SESSION_MAGIC", ["#define LLAMA_SESSION_MAGIC LLAMA_FILE_MAGIC_GGSN", "value   1734833006"]),
        ("ggml_threadpool_get_n_threads", ["library ggml-cpu, but not available: declared"]),
        ("GGML_PAD", ["is not bound: function-like"]),
        ("mtmd_get_memory_usage", ["is not bound: for C++ only"]),
        (
            "ggml_abort",
            ["ggml_abort(file: ctypes.c_char_p, line: ctypes.c_int32, fmt: ctypes.c_char_p, ...)"],
        ),
    ],
)
def test_what_is_said(bindings: Bindings, source: Path, package: Path, name: str, parts: list[str]) -> None:
    text = explain(bindings, source, package, name)
    for part in parts:
        assert part in text


def test_upstreams_comment_is_read_from_the_source(bindings: Bindings, source: Path, package: Path) -> None:
    text = explain(bindings, source, package, "llama_decode")
    header = (source / "include/llama.h").read_text(encoding="utf-8")
    comment = [
        line.strip() for line in text.partition("\n\n")[2].partition("\n\n")[2].splitlines() if line.strip()
    ]
    assert len(comment) > 5
    assert all(line in header for line in comment)


def test_an_unknown_name_is_answered_with_similar_ones(bindings: Bindings, source: Path) -> None:
    with pytest.raises(BindgenError, match=r"no header declares 'lama_decode'; similar: llama_decode"):
        explain(bindings, source, ROOT / "llama_ffi", "lama_decode")
