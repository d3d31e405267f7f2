"""Which llama.cpp is being built, told from the tree itself and not from where it was found."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from build_backends.errors import BuildError
from vendor import tree
from vendor.fetch import FetchError, checkout, fetch
from vendor.pin import PinError, load_pin
from vendor.unpack import SourceError


@dataclass(frozen=True)
class Source:
    """A llama.cpp tree: its folder, commit (40 hex digits), digests, and the tag for file names."""

    root: Path
    commit: str
    tree_sha256: str
    headers_sha256: str
    tag: str


def _commit_of(root: Path) -> str | None:
    """Return the commit that a checkout stands on, or None if the folder is not the top of a repository."""
    if not (root / ".git").exists():
        return None
    try:
        done = subprocess.run(
            ["git", "-C", str(root), "rev-parse", "HEAD"], capture_output=True, text=True, timeout=60
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    commit = done.stdout.strip()
    return commit if re.fullmatch("[0-9a-f]{40}", commit) else None


def identify(root: Path, pinned_commit: str, pinned_tree: str) -> Source:
    """Return what `root` holds.

    The tag is the commit's start for the pinned tree. Any other tree (a fork, local changes) is tagged by its
    content with an `x` before it, so that its libraries never pass for the pinned ones.
    """
    digest = tree.digest(root)
    headers = tree.headers_digest(root)
    if digest == pinned_tree:
        return Source(root, pinned_commit, digest, headers, pinned_commit[:9])
    return Source(root, _commit_of(root) or "0" * 40, digest, headers, "x" + digest[:8])


def provide(root: Path | None = None) -> Source:
    """Return the source to build: `root`, or the pinned one, fetched if need be.

    Raises BuildError if it cannot be had.
    """
    try:
        pin = load_pin()
        found = fetch(pin=pin) if root is None else checkout(root)
        return identify(found, pin.commit, pin.tree_sha256)
    except (FetchError, PinError, SourceError) as error:
        raise BuildError(str(error)) from None
