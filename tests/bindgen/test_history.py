"""The generator takes every llama.h since the API settled.

The headers come from source distributions on the package index, by name and with pinned hashes; half a
gigabyte, so the test is slow and opt-in.  Each version is judged by the compiler.
"""

from __future__ import annotations

import subprocess
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from bindgen.analyze import Bindings
from bindgen.compare import compare
from bindgen.pipeline import load_present
from bindgen.preprocess import find_compiler
from bindgen.probe import check
from vendor.pin import IndexSource

IndexHeaders = Callable[[IndexSource, tuple[str, ...]], Path]
PROJECT = "llama-cpp-python"
FOLDERS = ("include/", "ggml/include/", "tools/mtmd/")


@dataclass(frozen=True)
class Version:
    """A released version: its archive, and how many functions llama.h and ggml.h declare in it."""

    name: str
    size: int
    sha256: str
    llama: int
    ggml: int
    not_c: tuple[str, ...] = ()


OPT = ("ggml/include/ggml-opt.h",)  # uses struct tags as type names, which only C++ allows
VERSIONS = (
    Version("0.2.90", 63762953, "419b041c62dbdb9f7e67883a6ef2f247d583d08417058776be0bff05b4ec9e3d", 143, 377),
    Version("0.3.0", 63897013, "ae328375acf55f137dfe9c990d1661cc5b7c10aca679f09a2da9645c1a5dfaac", 157, 396),
    Version(
        "0.3.5", 64461879, "f5ce47499d53d3973e28ca5bdaf2dfe820163fa3fb67e3050f98e2e9b58d2cf6", 167, 345, OPT
    ),
    Version(
        "0.3.9", 67858575, "a3a985f558385e2f5de5b663f4e9b0817506d6af98122450142cd98e79216370", 213, 292, OPT
    ),
    Version("0.3.16", 50688636, "34ed0f9bd9431af045bb63d9324ae620ad0536653740e9bb163a2e1fcb973be6", 223, 328),
    Version("0.3.20", 59323017, "70f01b7d915d31c617dc66610a332cb2d51cde84c8b152d09a352206323616f5", 233, 358),
    Version("0.3.28", 68296944, "958227b394f413425d6039952096daa0b8b98328c6b99d652862aec775f1672d", 232, 359),
    Version("0.3.33", 70533021, "369ba03d02caaef42c1ed07bbdc454f7436e47c7675b8b9757fa13fbac6acd92", 235, 360),
)


@pytest.fixture(scope="module")
def sources(index_headers: IndexHeaders) -> dict[str, Path]:
    """The headers of every version, below a folder each."""
    return {version.name: index_headers(origin(version), FOLDERS) for version in VERSIONS}


def origin(version: Version) -> IndexSource:
    stem = f"{PROJECT.replace('-', '_')}-{version.name}"
    prefix = f"{stem}/vendor/llama.cpp/"
    return IndexSource(PROJECT, version.name, f"{stem}.tar.gz", version.size, version.sha256, prefix)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("version", VERSIONS, ids=lambda v: v.name)
def test_a_version_is_bound_whole_and_right(sources: dict[str, Path], version: Version) -> None:
    source = sources[version.name]
    bindings = load_present(source)
    counts = Counter(f.location.file for f in bindings.unit.functions)
    assert (counts["include/llama.h"], counts["ggml/include/ggml.h"]) == (version.llama, version.ggml)
    assert [s.name for s in bindings.skipped if s.kind == "header"] == list(version.not_c)
    assert [s for s in bindings.skipped if s.kind in ("function", "struct", "union", "typedef")] == []
    for header in version.not_c:
        assert not is_c(source, header), "the compiler takes it, so we must"
    names, differences = check(bindings, source)
    assert differences == []
    assert names > 1000


def is_c(source: Path, header: str) -> bool:
    folders = [f"-I{source / folder}" for folder in FOLDERS]
    command = [*find_compiler(), "-std=c11", "-w", "-fsyntax-only", *folders, "-x", "c", str(source / header)]
    return subprocess.run(command, capture_output=True).returncode == 0


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_the_way_from_the_oldest_to_the_pinned_version(sources: dict[str, Path], bindings: Bindings) -> None:
    result = compare(load_present(sources["0.2.90"]), bindings, ("0.2.90", "pinned"))
    assert not result.source_compatible
    assert not result.abi_compatible
    found = {(change.kind, change.name) for change in result.changes}
    assert ("function added", "llama_memory_seq_rm") in found
    assert ("function removed", "llama_kv_cache_seq_rm") in found
    assert ("enum removed", "llama_gretype") in found
