"""Make plugins: folders with a module and a manifest, announced by an entry point as pip installs them."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import llama_ffi as lf

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
API_VERSION = 2


def commit() -> str:
    return lf.library_info().commit


def tag() -> str:
    return lf.library_paths()["ggml-base"].name.split("-")[-1].split(".")[0]


def compile_module(
    target: Path, source: Path | None, *, backend: str = "vulkan", api_version: int = API_VERSION
) -> Path:
    """Compile the fake GPU for the library in use; ``source`` is llama.cpp's."""
    paths = lf.library_paths()
    include = [f"-I{source}/ggml/include", f"-I{source}/ggml/src"]
    names = [f'-DFAKE_NAME="{backend.upper()}"', f"-DFAKE_API_VERSION={api_version}"]
    command = [os.environ.get("CXX", "c++"), "-shared", "-fPIC", "-std=c++17", *names, *include]
    command += [str(HERE / "fake_gpu.cpp"), str(paths["ggml-base"]), str(paths["ggml-cpu"])]
    subprocess.run([*command, "-o", str(target)], check=True)
    return target


def compile_needing(target: Path, needed: str, soname: str = "") -> Path:
    """Compile a library that needs another one which isn't there: "libcuda.so.1"."""
    stub = target.parent / "stub"
    stub.mkdir(exist_ok=True)
    (stub / "stub.c").write_text("int stub_function(void) { return 0; }\n")
    (stub / "user.c").write_text(
        "int stub_function(void);\nint ggml_backend_init(void) { return stub_function(); }\n"
    )
    compiler = [os.environ.get("CC", "cc"), "-shared", "-fPIC"]
    named = f"-Wl,-soname,{needed}"
    subprocess.run([*compiler, str(stub / "stub.c"), named, "-o", str(stub / needed)], check=True)
    # not looked for where this system may have it
    alone = [
        "-Wl,-z,nodefaultlib",
        *([f"-Wl,-soname,{soname}"] if soname else []),
        str(stub / "user.c"),
        str(stub / needed),
    ]
    subprocess.run([*compiler, *alone, "-o", str(target)], check=True)
    return target


class Site:
    """A folder like site-packages, in which plugins are installed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def install(self, name: str, file: Path, **changes: Any) -> Path:
        """Install the module ``file`` as the distribution llama-ffi-NAME; return its path there."""
        package = self.folder / f"llama_ffi_{name}"
        path = fill(package, name, file, **changes)
        (package / "__init__.py").write_text("raise AssertionError('a plugin was imported')\n")
        info = self.folder / f"llama_ffi_{name}-{lf.__version__}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Name: llama-ffi-{name}\nVersion: {lf.__version__}\n")
        (info / "entry_points.txt").write_text(
            f"[console_scripts]\nx = y:z\n\n[llama_ffi.backends]\n{name} = llama_ffi_{name}\n"
        )
        return path

    def run(self, *args: str, cwd: Path | None = None, **env: str) -> subprocess.CompletedProcess[str]:
        """Run Python with the plugins installed."""
        path = os.pathsep.join([str(ROOT), str(self.folder)])
        clean = {name: value for name, value in os.environ.items() if not name.startswith("LLAMA_FFI_")}
        cache = {"LLAMA_FFI_CACHE": str(self.folder.parent / "cache")}
        return subprocess.run(
            [sys.executable, *args],
            capture_output=True,
            text=True,
            cwd=cwd,
            env={**clean, **cache, "PYTHONPATH": path, **env},
        )

    def python(self, code: str, **env: str) -> subprocess.CompletedProcess[str]:
        return self.run("-c", f"import llama_ffi as lf\n{code}", **env)


def fill(package: Path, name: str, file: Path, **changes: Any) -> Path:
    """Fill a plugin's folder; return the module's path in it."""
    package.mkdir(parents=True)
    data = file.read_bytes()
    path = package / str(changes.get("module", f"libggml-{name}-{tag()}.so"))
    path.write_bytes(data)
    manifest = {
        "format": 1,
        "kind": "plugin",
        "backend": name,
        "commit": commit(),
        "llama_ffi": lf.__version__,
        "module": path.name,
        "sha256": hashlib.sha256(data).hexdigest(),
        "size": len(data),
        "needed": [],
        "flags": [],
        **changes,
    }
    (package / "manifest.json").write_text(json.dumps(manifest))
    return path
