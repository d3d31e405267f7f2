"""Gather what a build made into one folder: libraries, probe, licences and the manifest that names them.

A core's folder has all libraries and the probe. A plugin's folder has one module; its manifest says to which
commit and package it belongs, its digest, and what it needs of the machine. `combine` puts a module beside a
core.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
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
LOOK_IN = "look_in"


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
            if not library.exists():
                raise BuildError(f"cmake was to build {name}, and {library} is not there")
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
        "files": {name: facts(target / name) for kind in files.values() for name in kind.values()},
        "flags": list(flags),
        "compiler": built["compiler"],
        "system": built["system"],
    }
    write_manifest(target, manifest)
    return manifest


def facts(file: Path) -> dict[str, int | str]:
    """Return the size and digest of a file, by which damage is told."""
    data = file.read_bytes()
    return {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}


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


def look_in(needed: Sequence[str], paths: Sequence[Path]) -> list[str]:
    """Return the folders that hold libraries of `needed` beside what was found at `paths`.

    A toolkit's libraries often stand where the loader doesn't look: what is built with it on this machine is
    told where they are. Wheels are not (see `wheel.plugin_project`).
    """
    folders: dict[str, None] = {}
    for path in paths:
        # a library, or a program in bin
        for root in (path.parent, path.parent.parent):
            for place in (root, *(root / each for each in ("lib", "lib64")), *root.glob("targets/*/lib")):
                usual = re.fullmatch(r"(/usr(/local)?)?/lib(64)?(/[^/]+-linux-\w+)?", str(place.resolve()))
                if not usual and any((place / name).is_file() for name in needed):
                    folders[str(place)] = None
    return list(folders)


def stage_plugin(
    built: Mapping[str, Any],
    source: Source,
    module: str,
    flags: Sequence[str],
    target: Path,
    paths: Sequence[Path] = (),
) -> dict[str, Any]:
    """Fill the new folder `target` with one module, `module` of those in `built`; return the manifest.

    `paths` is where that stands on this machine with which it was built.
    """
    target.mkdir(parents=True)
    library = Path(built["modules"][module])
    final = target / library.name
    shutil.copyfile(library, final)
    final.chmod(0o755)
    copy_licenses(source.root, target / LICENSES)
    needed = needed_of(final)
    manifest = {
        "format": FORMAT,
        "kind": PLUGIN,
        "backend": module.removeprefix("ggml-"),
        "commit": source.commit,
        "tree_sha256": source.tree_sha256,
        "llama_ffi": package_version(),
        "module": final.name,
        **facts(final),
        "needed": needed,
        LOOK_IN: look_in(needed, paths),
        "flags": list(flags),
        "compiler": built["compiler"],
        "system": built["system"],
    }
    write_manifest(target, manifest)
    return manifest


def combine(core: Path, plugin: Path, target: Path) -> None:
    """Fill the new folder `target` with a core and the module of a plugin of the same commit."""
    shutil.copytree(core, target)
    manifest = json.loads((core / MANIFEST).read_text(encoding="utf-8"))
    module = json.loads((plugin / MANIFEST).read_text(encoding="utf-8"))
    shutil.copy2(plugin / module["module"], target / module["module"])
    is_new = f"ggml-{module['backend']}" not in manifest["modules"]
    manifest["modules"][f"ggml-{module['backend']}"] = module["module"]
    manifest["files"][module["module"]] = {name: module[name] for name in ("size", "sha256")}
    manifest[LOOK_IN] = module.get(LOOK_IN, [])
    manifest["backend"] += f"+{module['backend']}" if is_new else ""
    write_manifest(target, manifest)


def write_manifest(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Write the manifest of a folder."""
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def remove(folder: Path) -> None:
    """Delete a folder if it is there."""
    if folder.exists():
        shutil.rmtree(folder)


def promised(folder: Path) -> dict[str, dict[str, Any]]:
    """Return size and digest of each file that the manifest of `folder` names; of the probe the digest.

    Raises OSError, ValueError, KeyError, TypeError or AttributeError if there is no such manifest.
    """
    manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    if manifest["format"] != FORMAT:
        raise ValueError(f"it has format {manifest['format']!r}")
    if manifest.get("kind") == PLUGIN:
        return {manifest["module"]: {name: manifest[name] for name in ("size", "sha256")}}
    names = [*manifest["libraries"].values(), *manifest["modules"].values()]
    if any(Path(name).name != name for name in names):
        raise ValueError("it names files of other folders")
    files = {name: {each: manifest["files"][name][each] for each in ("size", "sha256")} for name in names}
    return {PROBE: {"sha256": manifest["probe_sha256"]}, **files}


def damage(folder: Path) -> list[str]:
    """Return what is wrong with the files that the manifest of `folder` names, or with that itself."""
    try:
        files = promised(folder)
        found = []
        for name, expected in files.items():
            if not (folder / name).is_file():
                found.append(f"{name}, which the manifest names, is missing")
            elif {**facts(folder / name), **expected} != facts(folder / name):
                found.append(f"{name} is not the one of its manifest")
        return found
    except (OSError, ValueError) as error:
        return [f"its manifest can't be read: {error}"]
    except (KeyError, TypeError, AttributeError) as error:
        return [f"its manifest is none of ours: {type(error).__name__}: {error}"]


def is_complete(folder: Path) -> bool:
    """Tell whether `folder` holds a manifest and every file that it names, as it was built."""
    return not damage(folder)
