"""cyllama's functions on the library, the log and text."""

from __future__ import annotations

from pathlib import Path

import pytest

import llama_ffi as lf
import llama_ffi.compat.cyllama as cy
from tests.compat.cyllama.steps import TEXT, feed

pytestmark = pytest.mark.model


def test_functions(ctx: cy.LlamaContext) -> None:
    cy.common_init()
    cy.llama_backend_init()
    cy.ggml_backend_load_all()
    cy.llama_numa_init(cy.GGML_NUMA_STRATEGY_DISABLED)
    assert cy.llama_time_us() <= cy.ggml_time_us()
    assert cy.llama_max_devices() >= 1
    assert {
        "mmap": cy.llama_supports_mmap(),
        "mlock": cy.llama_supports_mlock(),
        "gpu_offload": cy.llama_supports_gpu_offload(),
        "rpc": cy.llama_supports_rpc(),
    } == {name: lf.supports(name) for name in ("mmap", "mlock", "gpu_offload", "rpc")}
    assert cy.ggml_backend_reg_count() == len(cy.ggml_backend_reg_names())
    assert cy.ggml_backend_dev_count() == len(cy.ggml_backend_dev_info())
    assert "CPU" in {each["type"] for each in cy.ggml_backend_dev_info()}
    assert cy.ggml_commit() == lf.library_info().commit
    assert [cy.llama_flash_attn_type_name(kind) for kind in (-1, 0, 1)] == ["auto", "disabled", "enabled"]
    with pytest.raises(ValueError, match="-1, 0 or 1"):
        cy.llama_flash_attn_type_name(2)
    tokens = cy.common_tokenize_from_model(ctx.model, TEXT, True)
    assert tokens == cy.common_tokenize(ctx, TEXT, True)
    assert cy.common_detokenize(ctx, tokens).endswith(TEXT)
    cy.llama_backend_free()
    feed(ctx)  # nothing was taken away


def test_the_log_goes_to_a_function() -> None:
    lines: list[tuple[int, str]] = []
    try:
        cy.set_log_callback(lambda level, text: lines.append((level, text)))
        cy.LlamaModel(path_model=lf.tiny_model_path()).close()
        levels = {cy.GGML_LOG_LEVEL_DEBUG, cy.GGML_LOG_LEVEL_INFO, cy.GGML_LOG_LEVEL_WARN}
        assert len(lines) > 10 and {level for level, _ in lines} <= levels
        assert all(text.endswith("\n") for _, text in lines)
        count = len(lines)
        cy.disable_logging()
        cy.LlamaModel(path_model=lf.tiny_model_path()).close()
        assert len(lines) == count
        with pytest.raises(TypeError):
            cy.set_log_callback("print")  # type: ignore[arg-type]
    finally:
        cy.set_log_callback(None)
        cy.log_set_verbosity(0)


def test_adapters(ctx: cy.LlamaContext, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        ctx.model.lora_adapter_init(tmp_path / "none.gguf")
    ctx.lora_adapter_clear()
    with pytest.raises(TypeError, match="LlamaAdapterLora"):
        ctx.lora_adapter_set("a.gguf", 1.0)  # type: ignore[arg-type]
