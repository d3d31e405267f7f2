"""Real headers that are not llama.cpp's: whisper.h and stable-diffusion.h, from packages that carry them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from bindgen.custom import load_custom
from bindgen.probe import check
from vendor.pin import IndexSource

WHISPER = IndexSource(
    "pywhispercpp",
    "1.5.1",
    "pywhispercpp-1.5.1.tar.gz",
    9756087,
    "5df897e5dd9d9f16804fc937bd85b9f5880a0b29a55f8843585e0e03d76195e5",
    "pywhispercpp-1.5.1/whisper.cpp/",
)
DIFFUSION = IndexSource(
    "stable-diffusion-cpp-python",
    "0.4.7",
    "stable_diffusion_cpp_python-0.4.7.tar.gz",
    20561087,
    "998d1957260dd5ae4e18a8acc0c14b0a8757aaa9f96515197b6d5bbf46df9282",
    "stable_diffusion_cpp_python-0.4.7/vendor/stable-diffusion.cpp/",
)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    ("origin", "header", "function"),
    [(WHISPER, "whisper.h", "whisper_full"), (DIFFUSION, "stable-diffusion.h", "generate_image")],
    ids=["whisper", "stable-diffusion"],
)
def test_a_foreign_header_is_bound_whole_and_right(
    index_headers: Callable[[IndexSource, tuple[str, ...]], Path],
    origin: IndexSource,
    header: str,
    function: str,
) -> None:
    source = index_headers(origin, ("include/", "ggml/include/"))
    bindings, root = load_custom([source / "include", source / "ggml" / "include"], [header])
    assert function in {f.name for f in bindings.unit.functions}
    assert {s.kind for s in bindings.skipped} <= {"macro", "C++"}
    names, differences = check(bindings, root)
    assert differences == []
    assert names > 300
