"""Provide the pinned llama.cpp source tree, from wherever it can be had.

In order: a checkout of the user's (`LLAMA_FFI_LLAMA_CPP_DIR`), the local cache, the package index (through
pip), the commit's archive. What comes from outside is verified by content and renamed into the cache as a
whole. When nothing works, the error names each source and why it failed.

    python vendor/fetch.py                 fetch if needed, say where it is
    python vendor/fetch.py --print-path    the same, stdout is the folder and nothing else
    python vendor/fetch.py --digest DIR    the hashes of an unpacked tree, for PIN.toml
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

if __package__ in (None, ""):  # run as a script: sys.path[0] is this folder, not the one above it
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from vendor import download, tree, unpack
from vendor.cache import cache_folder, locked
from vendor.pin import Pin, PinError, load_pin

ENVIRONMENT = "LLAMA_FFI_LLAMA_CPP_DIR"


class FetchError(RuntimeError):
    """No source could provide the pinned tree; `tried` holds (source, reason) in the order of trying."""

    def __init__(self, pin: Pin, tried: list[tuple[str, str]]) -> None:
        self.tried = tried
        lines = [f"llama.cpp {pin.commit[:9]} could not be had. Tried, in this order:"]
        lines += [f"  {source}: {reason}" for source, reason in tried]
        lines.append(
            f"Without a network: unpack {pin.index.filename} ({pin.index.project} {pin.index.version}) or a "
            f"checkout of that commit anywhere and set {ENVIRONMENT} to its llama.cpp folder."
        )
        super().__init__("\n".join(lines))


def cached_path(pin: Pin) -> Path:
    """Return where in the cache the pinned tree belongs; two pins never share a folder."""
    return cache_folder() / "source" / f"llama.cpp-{pin.commit[:9]}-{pin.tree_sha256[:8]}"


def checkout(root: Path) -> Path:
    """Return `root` made absolute; raise SourceError if it is no llama.cpp tree."""
    root = root.expanduser().absolute()
    missing = [name for name in ("CMakeLists.txt", *tree.HEADERS) if not (root / name).is_file()]
    if missing:
        raise unpack.SourceError(f"{root} is not a llama.cpp tree: {missing[0]} is missing there")
    return root


def users_checkout() -> Path | None:
    """Return the folder that `LLAMA_FFI_LLAMA_CPP_DIR` names, or None if it is not set.

    Raises SourceError if it is set to something that is not a llama.cpp tree: what the user named is used or
    refused, never passed over.
    """
    named = os.environ.get(ENVIRONMENT)
    return checkout(Path(named)) if named else None


class _Bar:
    """One line on stderr that is rewritten on a terminal, and written every quarter elsewhere."""

    def __init__(self, enabled: bool) -> None:
        self._enabled = enabled
        self._step = 1 if sys.stderr.isatty() else 25
        self._end = "\r" if sys.stderr.isatty() else "\n"

    def begin(self, what: str) -> Callable[[float], None]:
        """Start a new line for `what`; return the function that takes the fraction done."""
        shown = -1

        def show(fraction: float) -> None:
            nonlocal shown
            percent = int(fraction * 100) // self._step * self._step
            if not self._enabled or percent <= shown:
                return
            shown = percent
            end = "\n" if percent >= 100 else self._end
            print(f"llama_ffi: {what}: {percent:3d} %", end=end, file=sys.stderr, flush=True)

        return show


def fetch(progress: bool = True, pin: Pin | None = None) -> Path:
    """Return the root of the pinned llama.cpp tree, fetching it first if it is not there yet.

    `progress` writes to stderr. Any number of processes may call this at once; one fetches, the rest wait.
    Raises FetchError when no source works.
    """
    pin = pin or load_pin()
    tried: list[tuple[str, str]] = []
    try:
        own = users_checkout()
    except unpack.SourceError as error:
        raise FetchError(pin, [(ENVIRONMENT, str(error))]) from None
    if own:
        return own
    tried.append((ENVIRONMENT, "not set"))
    final = cached_path(pin)
    if unpack.is_complete(final, pin):
        return final
    try:
        with locked(final.with_name(final.name + ".lock"), "fetching llama.cpp"):
            if unpack.is_complete(final, pin):  # fetched by the process we waited for
                return final
            state = "incomplete or damaged, to be replaced" if final.exists() else "not there yet"
            tried.append((f"cache {final}", state))
            return _fetch_into(final, pin, tried, _Bar(progress))
    except OSError as error:
        tried.append((f"cache {final}", f"not writable: {error}"))
        raise FetchError(pin, tried) from None


def _fetch_into(final: Path, pin: Pin, tried: list[tuple[str, str]], bar: _Bar) -> Path:
    index = f"package index ({pin.index.project}=={pin.index.version} through pip)"
    sources: tuple[tuple[str, str, Callable[[Path, download.Progress], Path]], ...] = (
        (index, pin.index.prefix, lambda folder, show: download.from_index(pin.index, folder, show)),
        (
            "archive",
            pin.archive.prefix,
            lambda folder, show: download.from_archive(pin.archive, folder, show),
        ),
    )
    scratch_name = f".fetch-{final.name}-"
    for stale in final.parent.glob(scratch_name + "*"):
        unpack.remove(stale)  # left by a process that was killed; we hold the lock, so nobody uses it
    for name, prefix, get in sources:
        # Beside the final place: the rename must not cross file systems.
        with tempfile.TemporaryDirectory(dir=final.parent, prefix=scratch_name) as scratch:
            work = Path(scratch)
            try:
                archive = get(work, bar.begin(f"downloading llama.cpp {pin.commit[:9]} from the {name}"))
                unpack.unpack(archive, prefix, work / "tree", pin, bar.begin("unpacking and verifying"))
            except unpack.SourceError as error:
                tried.append((name, str(error)))
                continue
            unpack.remove(final)
            os.replace(work / "tree", final)
            return final
    raise FetchError(pin, tried)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="vendor/fetch.py", description="Provide the pinned llama.cpp source."
    )
    parser.add_argument(
        "--print-path", action="store_true", help="print the folder and nothing else on stdout"
    )
    parser.add_argument("--digest", metavar="DIR", type=Path, help="print the hashes of an unpacked tree")
    options = parser.parse_args(arguments)
    if options.digest:
        sizes = [file.stat().st_size for _, file in tree.walk(options.digest)]
        print(f'tree_sha256 = "{tree.digest(options.digest)}"')
        print(f'headers_sha256 = "{tree.headers_digest(options.digest)}"')
        print(f"files = {len(sizes)}\nbytes = {sum(sizes)}")
        return 0
    try:
        pin = load_pin()
        root = fetch(progress=True, pin=pin)
    except (FetchError, PinError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(root if options.print_path else f"llama.cpp {pin.commit[:9]} is in {root}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
