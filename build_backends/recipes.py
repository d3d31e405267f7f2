"""One recipe per back end: what to tell cmake, and what comes out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

# True for every build. OpenMP: a second run time beside another package's (torch has one) aborts the process.
COMMON: Mapping[str, str] = {
    "CMAKE_BUILD_TYPE": "Release",
    "BUILD_SHARED_LIBS": "ON",
    "GGML_OPENMP": "OFF",
    "LLAMA_BUILD_APP": "OFF",
    "LLAMA_BUILD_COMMON": "OFF",
    "LLAMA_BUILD_EXAMPLES": "OFF",
    "LLAMA_BUILD_MTMD": "ON",
    "LLAMA_BUILD_SERVER": "OFF",
    "LLAMA_BUILD_TESTS": "OFF",
    "LLAMA_BUILD_TOOLS": "OFF",
    "LLAMA_OPENSSL": "OFF",
}


@dataclass(frozen=True)
class Recipe:
    """How one back end is built.

    `defines` go to cmake on top of `COMMON`. `targets` are what is built. `private_names` puts the commit
    into the libraries' names, so that another ggml in the process is not mistaken for ours. `this_cpu` marks
    results that only run on a processor like the one they were built on.
    """

    name: str
    summary: str
    defines: Mapping[str, str] = field(default_factory=dict)
    targets: tuple[str, ...] = ("llama", "mtmd", "guard", "probe")
    private_names: bool = True
    this_cpu: bool = False


RECIPES: Mapping[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        Recipe(
            name="native",
            summary="for the processor of this machine, linked in",
            # GGML_NATIVE is always said: its default flips when SOURCE_DATE_EPOCH is set. It excludes
            # GGML_BACKEND_DL. RPC costs 250 KB and no dependency.
            defines={"GGML_NATIVE": "ON", "GGML_BACKEND_DL": "OFF", "GGML_RPC": "ON", "GGML_RPC_RDMA": "OFF"},
            this_cpu=True,
        ),
    )
}
