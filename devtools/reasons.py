"""Why a C function has no call of the safe layer: the only exceptions that `docs/coverage.md` knows.

Each entry is one sentence for a reader of that table. A function that is used needs none; one that is used
*and* stands here is an error, so that the list can't go stale.
"""

from __future__ import annotations

REASONS: dict[str, str] = {
    "llama_opt_param_filter_all": "It answers True to every tensor; `Trainer` has a filter that looks at "
    "each of them.",
    "llama_backend_free": "It frees tables of the process that a quantization in another thread may be "
    "using; the system frees them at the end.",
    "llama_flash_attn_type_name": "`FlashAttnType` has the names.",
    "llama_get_model": "`Context.model` is the Python object that owns it.",
    "llama_load_mode_from_str": "`Model.load` takes the names of `LoadMode`; C throws on any other.",
    "llama_load_mode_name": "`LoadMode` has the names.",
    "llama_log_get": "The callback is ours from the start; `log` says where its lines go.",
    "llama_perf_context_print": "`Context.perf` returns what it would print.",
    "gguf_get_val_data": "It gives the address of a single number, which the typed getters return.",
    "gguf_init_from_file_ptr": "`GgufContext.from_file_object` reads any Python file through "
    "gguf_init_from_callback, which doesn't bypass the file's buffer.",
    "gguf_write_to_file_ptr": "`GgufContext.write` takes a path; what goes to an open file are "
    "`GgufContext.to_bytes` and the tensors' data.",
    "llama_sampler_init_grammar_lazy_patterns": "`Sampler.grammar_lazy` waits for its triggers in Python; "
    "C does it with std::regex, which throws, and overflows the stack on long texts.",
    "llama_adapter_lora_init_from_file_ptr": "`Model.load_lora` takes a path, whose file is checked before C "
    "reads it.",
    "llama_batch_init": "The arrays of a `Batch` belong to Python, which fills them by block copies.",
    "llama_batch_free": "It frees what llama_batch_init has made, which `Batch` doesn't use.",
    "llama_set_abort_callback": (
        "The context is made with a callback in C that reads a flag (`Context.cancel`); one in Python would "
        "be called on ggml's threads, some ninety times per decode."
    ),
    "llama_state_load_file": "It believes the file; `PromptCache.load` checks it, and hands C the bytes.",
    "llama_state_save_file": "It writes over the old file; `PromptCache.save` replaces it in one step.",
    "llama_state_seq_load_file": "It believes the file; `PromptCache.load` checks it, and hands C the bytes.",
    "llama_state_seq_save_file": "It writes over the old file; `PromptCache.save` replaces it in one step.",
    "llama_state_seq_get_size": "llama_state_seq_get_size_ext with flags 0 is the same.",
    "llama_state_seq_get_data": "llama_state_seq_get_data_ext with flags 0 is the same.",
    "llama_state_seq_set_data": "llama_state_seq_set_data_ext with flags 0 is the same.",
}
"""C function → reason"""

PENDING: frozenset[str] = frozenset()
"""C functions that wait for their safe call or their test; this list may only shrink, and ends empty"""
