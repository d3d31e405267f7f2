"""Nothing is lost: the counts of this version, and a reason for everything left out."""

from __future__ import annotations

from collections import Counter

from bindgen.analyze import Bindings
from bindgen.report import emit_report

# mtmd.h has 60 with the one that is C++ only; that one is in the report.
FUNCTIONS = {
    "include/llama.h": 255,
    "ggml/include/ggml.h": 375,
    "ggml/include/ggml-backend.h": 115,
    "ggml/include/ggml-cpu.h": 65,
    "ggml/include/ggml-opt.h": 37,
    "ggml/include/gguf.h": 61,
    "ggml/include/ggml-alloc.h": 13,
    "ggml/include/ggml-rpc.h": 7,
    "tools/mtmd/mtmd.h": 59,
    "tools/mtmd/mtmd-helper.h": 25,
}


def test_functions_per_header(bindings: Bindings) -> None:
    assert Counter(f.location.file for f in bindings.unit.functions) == FUNCTIONS


def test_every_function_is_bound_or_explained(bindings: Bindings) -> None:
    left_out = {s.name: s for s in bindings.skipped if s.kind in ("function", "C++")}
    assert set(left_out) == {"mtmd_get_memory_usage", "namespace mtmd", "namespace mtmd_helper"}
    assert str(left_out["mtmd_get_memory_usage"].location).startswith("tools/mtmd/mtmd.h:45")
    assert list(bindings.unavailable) == ["ggml_threadpool_get_n_threads"]


def test_the_report_names_everything_that_is_not_bound(bindings: Bindings) -> None:
    report = emit_report(bindings)
    for skipped in bindings.skipped:
        assert f"`{skipped.name}` | {skipped.location} |" in report
        assert skipped.reason
    assert "| include/llama.h | 255 |" in report
    assert "`ggml_threadpool_get_n_threads`" in report


def test_only_macros_without_a_value_are_skipped(bindings: Bindings) -> None:
    macros = {s.name for s in bindings.skipped if s.kind == "macro"}
    with_value = {
        "LLAMA_DEFAULT_SEED",
        "GGUF_MAGIC",
        "GGML_MEM_ALIGN",
        "LLAMA_SESSION_MAGIC",
        "RPC_PROTO_MAJOR_VERSION",
    }
    assert not macros & with_value
    assert {s.reason.partition(":")[0] for s in bindings.skipped if s.kind == "macro"} == {
        "function-like",
        "empty",
        "not an expression",
    }


def test_constants_of_this_version(bindings: Bindings) -> None:
    values = {c.name: c.value for c in bindings.unit.constants}
    assert values["LLAMA_DEFAULT_SEED"] == 0xFFFFFFFF
    assert values["LLAMA_TOKEN_NULL"] == -1
    assert values["LLAMA_SESSION_MAGIC"] == int.from_bytes(b"ggsn", "big")
    assert values["LLAMA_STATE_SEQ_FLAGS_ON_DEVICE"] == 2
    assert values["GGUF_MAGIC"] == "GGUF"
    assert values["GGUF_KEY_GENERAL_ALIGNMENT"] == "general.alignment"
    assert values["GGML_TENSOR_SIZE"] == 336
    assert values["GGML_N_TASKS_MAX"] == -1


def test_deprecations_carry_their_hints(bindings: Bindings) -> None:
    hints = {f.name: f.deprecated for f in bindings.unit.functions if f.deprecated is not None}
    assert hints["llama_load_model_from_file"] == "use llama_model_load_from_file instead"
    assert hints["ggml_type_sizef"] == "use ggml_row_size() instead"
    assert hints["llama_get_state_size"] == "use llama_state_get_size instead"
    assert "llama_decode" not in hints
    assert len(hints) == 47
