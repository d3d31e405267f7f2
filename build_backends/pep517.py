"""The build back end that pyproject.toml names: hatchling, with our settings and short errors around it.

A front end prints everything that a back end prints when it fails. An exception would add a traceback of
twenty lines to it that says nothing to the user, so a BuildError becomes its message and a status.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import Any

from build_backends import settings, toolchain
from build_backends.errors import BuildError
from vendor import download, fetch, unpack
from vendor.pin import load_pin

# Under pip, hatchling leaves out its metadata functions, because a hook might change the dependencies. Ours
# does not, and without them pip would compile llama.cpp only to learn the name of the project.
_tracker = os.environ.pop("PIP_BUILD_TRACKER", None)
from hatchling import build as hatchling  # noqa: E402

if _tracker is not None:
    os.environ["PIP_BUILD_TRACKER"] = _tracker

Config = dict[str, Any] | None

get_requires_for_build_sdist = hatchling.get_requires_for_build_sdist
build_sdist = hatchling.build_sdist


@contextlib.contextmanager
def _short_errors() -> Iterator[None]:
    try:
        yield
    except BuildError as error:
        print(f"\nerror: {error}", file=sys.stderr, flush=True)
        sys.exit(1)


def _requirements() -> list[str]:
    wanted = toolchain.build_requirements()
    pin = load_pin()
    # pip brings llama.cpp's source. Its own build environment has it (see vendor.download.pip_command), that
    # of other front ends may not.
    try:
        have_source = fetch.users_checkout() or unpack.is_complete(fetch.cached_path(pin), pin)
    except unpack.SourceError:
        have_source = True  # the build will say what is wrong with the user's checkout
    if not have_source and download.pip_command() is None:
        wanted.append("pip")
    return wanted


def get_requires_for_build_wheel(config_settings: Config = None) -> list[str]:
    """Return what the build needs from the package index on this machine."""
    with _short_errors():
        settings.parse_settings(config_settings)  # a typing error is told before anything is downloaded
        return [*hatchling.get_requires_for_build_wheel(config_settings), *_requirements()]


def get_requires_for_build_editable(config_settings: Config = None) -> list[str]:
    """Return what the build needs from the package index on this machine."""
    with _short_errors():
        settings.parse_settings(config_settings)
        # Not hatchling's own list for editables: it names a package that `dev-mode-dirs` makes superfluous.
        return [*hatchling.get_requires_for_build_wheel(config_settings), *_requirements()]


def prepare_metadata_for_build_wheel(metadata_directory: str, config_settings: Config = None) -> str:
    """Write the wheel's metadata without building; return its folder's name."""
    with _short_errors(), settings.in_use(config_settings):
        return str(hatchling.prepare_metadata_for_build_wheel(metadata_directory, config_settings))


def prepare_metadata_for_build_editable(metadata_directory: str, config_settings: Config = None) -> str:
    """Write the editable wheel's metadata without building; return its folder's name."""
    with _short_errors(), settings.in_use(config_settings):
        return str(hatchling.prepare_metadata_for_build_editable(metadata_directory, config_settings))


def build_wheel(
    wheel_directory: str, config_settings: Config = None, metadata_directory: str | None = None
) -> str:
    """Build the wheel with the libraries inside; return its file name."""
    with _short_errors(), settings.in_use(config_settings):
        return str(hatchling.build_wheel(wheel_directory, config_settings, metadata_directory))


def build_editable(
    wheel_directory: str, config_settings: Config = None, metadata_directory: str | None = None
) -> str:
    """Build the editable wheel, with the libraries in the source tree; return its file name."""
    with _short_errors(), settings.in_use(config_settings):
        return str(hatchling.build_editable(wheel_directory, config_settings, metadata_directory))
