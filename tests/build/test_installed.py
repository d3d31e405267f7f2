"""As a user has it: wheels from a folder, a fresh environment, no compiler; a plugin comes and goes.

Compiles the core with all CPU variants and the plugin if they are not in the cache: minutes. For Vulkan,
CMAKE_PREFIX_PATH names the headers where the system's are too old.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from build_backends import gate, wheel
from build_backends.errors import BuildError
from build_backends.settings import Settings

PROMPT = "Once upon a time"
ROOT = Path(__file__).resolve().parents[2]
# What upstream's own tests set for llvmpipe.
LLVMPIPE = {"GGML_VK_VISIBLE_DEVICES": "0", "GGML_VK_DISABLE_F16": "1", "GGML_VK_DISABLE_COOPMAT": "1"}

pytestmark = [pytest.mark.slow, pytest.mark.native, pytest.mark.timeout(5400)]


class Installed:
    """A virtual environment with a PATH of its own, where nothing but Python is."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        subprocess.run([sys.executable, "-m", "venv", str(folder / "venv")], check=True)

    def run(self, program: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith(("LLAMA_", "PYTHON"))
        }
        binaries = self.folder / "venv" / "bin"
        return subprocess.run(
            [str(binaries / program), *arguments],
            capture_output=True,
            text=True,
            cwd=self.folder,
            env={
                **kept,
                **environment,
                "PATH": str(binaries),
                "LLAMA_FFI_CACHE": str(self.folder / "cache"),
            },
        )

    def good(self, program: str, *arguments: str, **environment: str) -> str:
        done = self.run(program, *arguments, **environment)
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.mark.parametrize(
    ("backend", "module", "device", "environment"),
    [("openblas", "blas", "", {}), ("vulkan", "vulkan", "Vulkan0", LLVMPIPE)],
)
def test_a_plugin_comes_and_goes(tmp_path, backend, module, device, environment) -> None:
    dist = tmp_path / "dist"
    try:
        plugin = wheel.make(Settings(backend), dist)
    except BuildError as error:
        if "needs what this machine lacks" in str(error):
            pytest.skip(str(error))
        raise
    core = wheel.make(Settings("cpu"), dist)
    assert gate.problems(core) == gate.problems(plugin) == []
    user = Installed(tmp_path)
    pip = ("-m", "pip", "install", "-q", "--find-links", str(dist))
    user.good("python", *pip, f"{core}[{backend}]")
    text = user.good("llama-ffi", "generate", PROMPT, "-n", "8", "--temp", "0", LLAMA_FFI_BACKEND="cpu")
    assert len(text) > len(PROMPT)
    said = user.good("llama-ffi", "doctor", **environment)
    assert f"libggml-{module}-" in said
    assert f"llama_ffi_{backend}" in said
    options = ("--device", device) if device else ()
    with_it = user.good(
        *("llama-ffi", "generate", PROMPT, "-n", "8", "--temp", "0", *options),
        **environment,
        LLAMA_FFI_BACKEND=module,
    )
    assert with_it == text
    user.good("python", "-m", "pip", "uninstall", "-q", "-y", f"llama-ffi-{backend}")
    assert f"libggml-{module}-" not in user.good("llama-ffi", "doctor")
    assert user.good("llama-ffi", "generate", PROMPT, "-n", "8", "--temp", "0") == text
    refused = user.run("llama-ffi", "generate", PROMPT, "-n", "4", LLAMA_FFI_BACKEND=module)
    assert refused.returncode == 1
    assert module in refused.stderr
