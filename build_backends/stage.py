"""Gather what a build made into one folder: libraries, probe, licences and the manifest that names them.

A core's folder has all libraries and the probe. A plugin's folder has one module; its manifest says to which
commit and package it belongs, its digest, and what it needs of the machine. `combine` puts a module beside a
core.
"""

from __future__ import annotations

import filecmp
import hashlib
import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from build_backends import elf
from build_backends.errors import BuildError
from build_backends.source import Source
from build_backends.version import package_version

MANIFEST = "manifest.json"
PROBE = "probe.json"
LICENSES = "licenses"
FORMAT = 1
PLUGIN = "plugin"


def canonical(text: str) -> bytes:
    """Return JSON in the one form that is hashed: sorted keys, no spaces, no line end."""
    return json.dumps(json.loads(text), sort_keys=True, separators=(",", ":")).encode()


def run_probe(program: Path) -> bytes:
    """Run the compiled probe and return its report; raise BuildError if it does not run."""
    try:
        done = subprocess.run([str(program)], capture_output=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BuildError(f"The layout probe could not be run: {error}") from None
    if done.returncode != 0:
        raise BuildError(f"The layout probe ended with status {done.returncode}.")
    return canonical(done.stdout.decode())


def copy_licenses(root: Path, target: Path) -> None:
    """Copy every licence of the tree, named after the folder it stands in."""
    target.mkdir()
    for pattern in ("LICENSE*", "licenses/LICENSE*", "vendor/**/LICENSE*"):
        for file in sorted(root.glob(pattern)):
            parts = file.relative_to(root).parts
            owner = "-".join(parts[1:-1]) if parts[0] == "vendor" else "llama.cpp"
            shutil.copyfile(file, target / f"{owner}-{parts[-1]}")


def stage(
    built: Mapping[str, Any], source: Source, backend: str, flags: Sequence[str], target: Path
) -> dict[str, Any]:
    """Fill the new folder `target` from what cmake reported in `built`; return the manifest."""
    target.mkdir(parents=True)
    files: dict[str, dict[str, str]] = {}
    for kind in ("libraries", "modules"):
        files[kind] = {}
        for name, path in built[kind].items():
            library = Path(path)
            if library.exists():  # a target that was not asked for is reported too
                files[kind][name] = library.name
                shutil.copyfile(library, target / library.name)
                (target / library.name).chmod(0o755)
    copy_licenses(source.root, target / LICENSES)
    probe = run_probe(Path(built["probe"]))
    (target / PROBE).write_bytes(probe)
    manifest = {
        "format": FORMAT,
        "commit": source.commit,
        "llama_version": built["version"],
        "backend": backend,
        "tree_sha256": source.tree_sha256,
        "headers_sha256": source.headers_sha256,
        "probe_sha256": hashlib.sha256(probe).hexdigest(),
        **files,
        "flags": list(flags),
        "compiler": built["compiler"],
        "system": built["system"],
    }
    _write_manifest(target, manifest)
    return manifest


# Every Linux has these; the rest of what a module needs is the user's to bring.
_SYSTEM = (
    "ld-linux",
    "ld-musl",
    "libc.",
    "libdl.",
    "libgcc_s.",
    "libm.",
    "libpthread.",
    "librt.",
    "libstdc++.",
)


def needed_of(module: Path) -> list[str]:
    """Return the libraries that a module needs besides ggml's and the C and C++ run time (ELF only)."""
    if not elf.is_elf(module):
        return []
    return [name for name in elf.read(module).needed if not name.startswith((*_SYSTEM, "libggml"))]


def stage_plugin(
    built: Mapping[str, Any], source: Source, module: str, flags: Sequence[str], target: Path
) -> dict[str, Any]:
    """Fill the new folder `target` with one module, `module` of those in `built`; return the manifest."""
    target.mkdir(parents=True)
    library = Path(built["modules"][module])
    final = target / library.name
    shutil.copyfile(library, final)
    final.chmod(0o755)
    copy_licenses(source.root, target / LICENSES)
    manifest = {
        "format": FORMAT,
        "kind": PLUGIN,
        "backend": module.removeprefix("ggml-"),
        "commit": source.commit,
        "tree_sha256": source.tree_sha256,
        "llama_ffi": package_version(),
        "module": final.name,
        "sha256": hashlib.sha256(final.read_bytes()).hexdigest(),
        "size": final.stat().st_size,
        "needed": needed_of(final),
        "flags": list(flags),
        "compiler": built["compiler"],
        "system": built["system"],
    }
    _write_manifest(target, manifest)
    return manifest


def combine(core: Path, plugin: Path, target: Path) -> None:
    """Fill the new folder `target` with a core and the module of a plugin of the same commit."""
    shutil.copytree(core, target)
    manifest = json.loads((core / MANIFEST).read_text(encoding="utf-8"))
    module = json.loads((plugin / MANIFEST).read_text(encoding="utf-8"))
    shutil.copy2(plugin / module["module"], target / module["module"])
    manifest["modules"][f"ggml-{module['backend']}"] = module["module"]
    manifest["backend"] += f"+{module['backend']}"
    _write_manifest(target, manifest)


def _write_manifest(folder: Path, manifest: Mapping[str, Any]) -> None:
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def remove(folder: Path) -> None:
    """Delete a folder if it is there."""
    if folder.exists():
        shutil.rmtree(folder)


def is_complete(folder: Path) -> bool:
    """Tell whether `folder` holds a manifest and every file that it names."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        if manifest.get("kind") == PLUGIN:
            named = [manifest["module"]]
        else:
            named = [PROBE, *manifest["libraries"].values(), *manifest["modules"].values()]
    except (OSError, ValueError, KeyError):
        return False
    return manifest.get("format") == FORMAT and all((folder / name).is_file() for name in named)


def _are_equal(staged: Path, target: Path) -> bool:
    """Tell whether every file of `staged` is in `target`, byte by byte: a new guard changes no manifest."""
    files = [str(file.relative_to(staged)) for file in staged.rglob("*") if file.is_file()]
    return filecmp.cmpfiles(staged, target, files, shallow=False)[0] == files


_LIBRARY = re.compile(r".+\.(?:so|dylib|dll|lib|pdb)(?:\.[\d.]+)?")


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
    ours = {MANIFEST, PROBE, LICENSES}
    others = [name for name in names if name not in ours and not _LIBRARY.fullmatch(name)]
    if names and (others or MANIFEST not in names):
        raise BuildError(
            f"{target} holds something else than a build ({', '.join((others or names)[:3])}"
            f"{', …' if len(others or names) > 3 else ''}), and would be replaced: name a new folder"
        )


def publish(staged: Path, target: Path) -> None:
    """Make `target` a copy of `staged` in one step; a process that has the old files open keeps them.

    Raises BuildError if `target` can't be written, or holds anything but an earlier build.
    """
    check_target(target)
    if is_complete(target) and _are_equal(staged, target):
        return
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}-") as scratch:
            new, old = Path(scratch) / "new", Path(scratch) / "old"
            shutil.copytree(staged, new)
            if target.exists():
                os.replace(target, old)
            os.replace(new, target)
    except OSError as error:  # on Windows also: a process has the old libraries loaded
        raise BuildError(f"The libraries could not be put into {target}: {error}") from error
