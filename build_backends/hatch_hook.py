"""Hatchling's build hook: build the libraries, put them into the wheel or (editable) into the sources."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

# Hatchling loads this file by its path: its neighbours are importable only from the project's root.
_ROOT = str(Path(__file__).resolve().parent.parent)
if _ROOT not in sys.path:
    sys.path.insert(0, _ROOT)

from build_backends import build, settings, stage, tags  # noqa: E402

NATIVE = "llama_ffi/_native"
GUARD = "build_backends/native/guard"


class NativeLibrariesHook(BuildHookInterface):  # type: ignore[type-arg]
    """Adds the libraries of the chosen back end."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build and add the libraries; `version` is "standard" or "editable"."""
        result = build.build_package(settings.current())
        build_data["pure_python"] = result is None
        build_data["tag"] = tags.wheel_tag() if result else "py3-none-any"
        if version == "editable":
            if result:
                stage.publish(result, Path(self.root) / NATIVE)
        else:
            if result:
                build_data["force_include"][str(result)] = NATIVE
            # `llama-ffi bind` works from a wheel too; a checkout has the generator beside the package.
            # It compiles the guard for other libraries, where there is a compiler.
            build_data["force_include"][str(Path(self.root) / "bindgen")] = "llama_ffi/_bindgen"
            for source in sorted((Path(self.root) / GUARD).iterdir()):
                if source.name != "calls.cpp":  # generated: made anew for each library
                    build_data["force_include"][str(source)] = f"llama_ffi/_guard/{source.name}"
