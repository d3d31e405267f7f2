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

from build_backends import build, publish, settings, tags  # noqa: E402

NATIVE = "llama_ffi/_native"

# What only makes wheels.
FRONT_ENDS_ONLY = {f"build_backends/{name}.py" for name in ("gate", "hatch_hook", "pep517", "wheel")}


class NativeLibrariesHook(BuildHookInterface):  # type: ignore[type-arg]
    """Adds the libraries of the chosen back end."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build and add the libraries; `version` is "standard" or "editable"."""
        result = build.build_package(settings.current())
        build_data["pure_python"] = result is None
        build_data["tag"] = settings.current().tag or (tags.wheel_tag() if result else tags.ANY)
        if version == "editable":
            if result:
                publish.publish(result, Path(self.root) / NATIVE)
        else:
            if result:
                build_data["force_include"][str(result)] = NATIVE
            # `llama-ffi bind` and `build` work from a wheel too; a checkout has them beside the package.
            build_data["force_include"][str(Path(self.root) / "bindgen")] = "llama_ffi/_bindgen"
            for folder in ("build_backends", "vendor"):
                for file in sorted((Path(self.root) / folder).rglob("*")):
                    relative = file.relative_to(self.root).as_posix()
                    if file.is_file() and file.suffix != ".pyc" and relative not in FRONT_ENDS_ONLY:
                        build_data["force_include"][str(file)] = f"llama_ffi/_build/{relative}"
