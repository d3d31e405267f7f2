"""The policy: which headers are bound, which library defines what, what is left out and why.

Everything here is a decision, not a fact about a type; facts about types come from the headers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Header:
    """A header to bind: its path below the source root, and the library that defines its functions."""

    path: str
    library: str


@dataclass(frozen=True)
class Config:
    """One set of bindings.

    `elsewhere` lists functions that another library than their header's defines, by library;
    `undefined` those that are declared and defined nowhere, with the reason.  `include` lists folders
    below the source root that are searched beside the headers' own.  For ctypes, pointers to the structs
    in `handles` are plain addresses, and so are the members and parameters in `addresses`, each written
    "struct.member" or "function.parameter"; those in `buffers` are a `char *` to bytes that aren't text.
    """

    headers: tuple[Header, ...]
    module: str
    elsewhere: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    undefined: Mapping[str, str] = field(default_factory=dict)
    include: tuple[str, ...] = ()
    handles: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    buffers: tuple[str, ...] = ()

    def library_of(self, function: str, path: str) -> str:
        """Return the key of the library that exports `function`, declared in header `path`."""
        for library, names in self.elsewhere.items():
            if function in names:
                return library
        return next((h.library for h in self.headers if h.path == path), self.headers[0].library)

    def include_dirs(self, source: Path) -> list[Path]:
        """Return the folders that hold the headers, in the order of their first mention."""
        folders = [(source / h.path).parent for h in self.headers] + [source / path for path in self.include]
        return list(dict.fromkeys(folders))


LLAMA_CPP = Config(
    headers=(
        Header("ggml/include/ggml.h", "ggml-base"),
        Header("ggml/include/ggml-alloc.h", "ggml-base"),
        Header("ggml/include/ggml-backend.h", "ggml-base"),
        Header("ggml/include/ggml-cpu.h", "ggml-cpu"),
        Header("ggml/include/ggml-opt.h", "ggml-base"),
        Header("ggml/include/gguf.h", "ggml-base"),
        Header("ggml/include/ggml-rpc.h", "ggml-rpc"),
        Header("include/llama.h", "llama"),
        Header("tools/mtmd/mtmd.h", "mtmd"),
        Header("tools/mtmd/mtmd-helper.h", "mtmd"),
    ),
    module="llama_ffi._abi._ffi",
    # ggml-backend.h declares both the back ends' own functions (ggml-base) and the registry (ggml).
    elsewhere={
        "ggml": (
            "ggml_backend_dev_by_name",
            "ggml_backend_dev_by_type",
            "ggml_backend_dev_count",
            "ggml_backend_dev_get",
            "ggml_backend_device_register",
            "ggml_backend_init_best",
            "ggml_backend_init_by_name",
            "ggml_backend_init_by_type",
            "ggml_backend_load",
            "ggml_backend_load_all",
            "ggml_backend_load_all_from_path",
            "ggml_backend_reg_by_name",
            "ggml_backend_reg_count",
            "ggml_backend_reg_get",
            "ggml_backend_register",
            "ggml_backend_unload",
        ),
    },
    undefined={
        "ggml_threadpool_get_n_threads": "declared in ggml-cpu.h, defined in no source file of this version",
    },
    # What programs for llama-cpp-python store into these, and get from callbacks, are plain addresses.
    handles=("ggml_tensor",),
    addresses=(
        "llama_model_params.devices",
        "llama_model_params.tensor_buft_overrides",
        "llama_opt_epoch.callback_train",
        "llama_opt_epoch.callback_eval",
        "llama_opt_params.get_opt_pars",
        "llama_sampler_seq_config.sampler",
    ),
    buffers=(
        "mtmd_gen_inp.state_data",
        "mtmd_gen_out.state_data",
        "mtmd_helper_gen_audio_get_output.out_data",
        "mtmd_input_chunk_save.out_buf",
    ),
)

# --- what the front end understands ----------------------------------------------------------------

# Attributes that change neither layout nor calling convention: dropped without a word.
HARMLESS_ATTRIBUTES = frozenset(
    [
        "visibility",
        "format",
        "format_arg",
        "unused",
        "used",
        "nonnull",
        "returns_nonnull",
        "warn_unused_result",
        "malloc",
        "noreturn",
        "const",
        "pure",
        "cold",
        "hot",
        "always_inline",
        "noinline",
        "gnu_inline",
        "nothrow",
        "leaf",
        "sentinel",
        "alloc_size",
        "dllimport",
        "dllexport",
        "weak",
        "may_alias",
        "fallthrough",
        "no_sanitize",
        "artificial",
    ]
)
