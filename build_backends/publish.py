"""Put a build where it is used: as a whole, in one step, and never in the place of anything else.

The new folder is made beside its place, and both change places. Where the system can't do that, two renames
do; what a process that was killed between them left is put right by the next one.
"""

from __future__ import annotations

import ctypes
import filecmp
import hashlib
import json
import os
import re
import shutil
import sys
from pathlib import Path

from build_backends import stage
from build_backends.errors import BuildError
from vendor.cache import cache_folder, locked

_LIBRARY = re.compile(r"(?:lib)?(?:ggml|llama|mtmd)[\w.+-]*\.(?:so|dylib|dll|lib|pdb)(?:\.[\d.]+)?")
_AT_FDCWD, _RENAME_EXCHANGE, _RENAME_SWAP = -100, 2, 2


def check_target(target: Path) -> None:
    """Raise BuildError if something stands at `target` that no build of ours has put there.

    A result takes the place of what is there, as a whole: a user's own files would be gone.
    """
    if not os.path.lexists(target):
        return
    if not target.is_dir():
        raise BuildError(f"{target} is no folder, and would be replaced: name a new folder")
    try:
        names = sorted(os.listdir(target))
    except OSError as error:
        raise BuildError(f"{target} can't be looked into: {error.strerror}") from None
    libraries = [name for name in names if _LIBRARY.fullmatch(name)]
    ours = {stage.MANIFEST, stage.PROBE, stage.LICENSES, *libraries}
    others = [name for name in names if name not in ours]
    if names and (others or stage.MANIFEST not in names or not (libraries or _is_ours(target))):
        shown = others or names
        raise BuildError(
            f"{target} holds something else than a build ({', '.join(shown[:3])}"
            f"{', …' if len(shown) > 3 else ''}), and would be replaced: name a new folder"
        )
    if os.path.realpath(target) == os.path.realpath(os.curdir):
        raise BuildError(f"{target} is the current folder, and would be replaced: name a new folder")


def _is_ours(folder: Path) -> bool:
    try:
        manifest = json.loads((folder / stage.MANIFEST).read_text(encoding="utf-8"))
        return {"format", "commit", "backend"} <= set(manifest)
    except (OSError, ValueError, TypeError):
        return False


def publish(staged: Path, target: Path) -> None:
    """Make `target` a copy of `staged` in one step; a process that has the old files open keeps them.

    A link to a folder stays, and what it leads to is replaced. Raises BuildError if `target` can't be
    written, or holds anything but an earlier build.
    """
    check_target(target)
    target = Path(os.path.realpath(target))
    lock = hashlib.sha256(os.fsencode(target)).hexdigest()[:16]
    try:
        with locked(cache_folder() / "locks" / lock, f"putting libraries into {target}"):
            scratch = target.with_name(f".{target.name}.llama_ffi")
            _recover(target, scratch)
            check_target(target)
            if stage.is_complete(target) and _are_equal(staged, target):
                return
            scratch.mkdir(parents=True)
            try:
                shutil.copytree(staged, scratch / "new")
                _put(scratch / "new", target, scratch / "old")
            finally:
                _recover(target, scratch)
    except OSError as error:  # on Windows also: a process has the old libraries loaded
        raise BuildError(f"The libraries could not be put into {target}: {error}") from error


def _are_equal(staged: Path, target: Path) -> bool:
    """Tell whether every file of `staged` is in `target`, byte by byte: a new guard changes no manifest."""
    files = [str(file.relative_to(staged)) for file in staged.rglob("*") if file.is_file()]
    return filecmp.cmpfiles(staged, target, files, shallow=False)[0] == files


def _recover(target: Path, scratch: Path) -> None:
    """Clear away what this or a killed process left: the old folder goes back if its place is empty."""
    if not scratch.is_dir() or not {"new", "old"}.issuperset(os.listdir(scratch)):
        return
    if (scratch / "old").is_dir() and not os.path.lexists(target):
        os.replace(scratch / "old", target)
    shutil.rmtree(scratch, ignore_errors=True)


def _put(new: Path, target: Path, old: Path) -> None:
    """Rename `new` to `target`; what stood there goes to `old`, or takes the place of `new`."""
    if not target.exists():
        os.replace(new, target)
    elif not _exchange(new, target):
        os.replace(target, old)
        try:
            os.replace(new, target)
        except OSError:
            os.replace(old, target)
            raise


def _exchange(one: Path, other: Path) -> bool:
    """Let two folders change places in one step; False if this system or file system can't."""
    try:
        libc = ctypes.CDLL(None)
        if sys.platform == "darwin":
            status = libc.renamex_np(os.fsencode(one), os.fsencode(other), _RENAME_SWAP)
        else:
            status = libc.renameat2(
                _AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE
            )
    except (AttributeError, OSError, TypeError):  # an older C library; Windows
        return False
    return bool(status == 0)
