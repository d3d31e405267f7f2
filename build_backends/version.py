"""The version of the package that a build is for, read from the package itself without importing it.

Hatchling asks here too (`[tool.hatch.version]`), by loading this file.
"""

from __future__ import annotations

import re
from pathlib import Path

from build_backends.errors import BuildError

_HERE = Path(__file__).resolve().parent

# In a checkout the package is a neighbour; in a wheel these modules are packed into it, two levels down.
_PLACES = (_HERE.parent / "llama_ffi" / "__init__.py", _HERE.parents[1] / "__init__.py")


def package_version() -> str:
    """Return llama_ffi's version; raise BuildError if its sources are not where they belong."""
    for place in _PLACES:
        if place.is_file():
            match = re.search(r'^__version__ = "([^"]+)"$', place.read_text(encoding="utf-8"), re.MULTILINE)
            if match:
                return match[1]
    raise BuildError(f"The version of llama_ffi was not found in {' or '.join(map(str, _PLACES))}.")


def wheel_version() -> str:
    """Return the version of the wheel that is being built.

    One without a library must not be taken for the others, where a platform has none of them: a local version
    is what no index accepts, and still fulfils `llama-ffi==VERSION`.
    """
    from build_backends import settings

    return package_version() + ("" if settings.current().recipe.targets else "+none")
