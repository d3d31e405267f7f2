"""The platform tag of a wheel: what the libraries inside can honestly run on."""

from __future__ import annotations

import os
import platform
import sys
import sysconfig

ANY = "py3-none-any"


def _macos(architecture: str, release: str, deployment_target: str) -> str:
    parts = [int(part) for part in (deployment_target or release).split(".")[:2]]
    major, minor = parts[0], parts[1] if len(parts) > 1 else 0
    if major >= 11:
        # pip knows whole versions only from 11 on. A target of 13.3 does not run on 13.0: the next one does.
        major, minor = (major + 1 if deployment_target and minor else major), 0
    return f"macosx_{major}_{minor}_{architecture}"


def platform_tag() -> str:
    """Return the tag for libraries built on this machine with this Python's platform.

    On Linux that is plain `linux_<machine>`: such a wheel may be installed here, and no index takes it. A
    `manylinux` tag is a promise about the C library, which only auditwheel's check can make.
    """
    if sys.platform == "darwin":
        return _macos(
            platform.machine(), platform.mac_ver()[0], os.environ.get("MACOSX_DEPLOYMENT_TARGET", "")
        )
    return sysconfig.get_platform().replace("-", "_").replace(".", "_")


def wheel_tag() -> str:
    """Return the whole tag. ABI mode has no extension module, so one wheel serves every Python."""
    return f"py3-none-{platform_tag()}"
