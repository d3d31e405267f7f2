"""Get the archive that holds the pinned tree: through pip, which knows the user's index, or from its home."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from vendor.pin import ArchiveSource, IndexSource
from vendor.unpack import SourceError

Progress = Callable[[float], None]


def pip_command() -> list[str] | None:
    """Return the command that runs pip, or None.

    Inside pip's isolated build environment pip itself is hidden: by a `sitecustomize` that PYTHONPATH brings
    in. `-I` ignores PYTHONPATH and so finds the pip that started the build. The plain form finds one that the
    build environment got as a requirement (front ends other than pip).
    """
    for command in ([sys.executable, "-I", "-m", "pip"], [sys.executable, "-m", "pip"]):
        try:
            done = subprocess.run([*command, "--version"], capture_output=True, timeout=60)
        except (OSError, subprocess.TimeoutExpired):
            continue
        if done.returncode == 0:
            return command
    return None


def sha256_of(file: Path) -> str:
    """Return the SHA-256 (hex) of a file's bytes."""
    whole = hashlib.sha256()
    with file.open("rb") as stream:
        while block := stream.read(1 << 20):
            whole.update(block)
    return whole.hexdigest()


def from_index(source: IndexSource, folder: Path, progress: Progress) -> Path:
    """Download the source distribution through pip into `folder` and return the verified file.

    `pip download` goes on to prepare the project's metadata in an isolated build, which is of no use here and
    takes a minute with older versions. So its temporary folder is watched, and it is stopped once the whole
    file, with the right hash, lies there.
    """
    pip = pip_command()
    if pip is None:
        raise SourceError(f"{sys.executable} has no pip: python -m ensurepip")
    scratch = folder / "pip"
    scratch.mkdir()
    log = folder / "pip.log"
    command = [*pip, "download", "--no-deps", "--no-binary", source.project, "--progress-bar", "off"]
    command += ["--disable-pip-version-check", "--no-input"]
    command += ["--dest", str(folder), f"{source.project}=={source.version}"]
    environment = {**os.environ, "TMPDIR": str(scratch), "TEMP": str(scratch), "TMP": str(scratch)}
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=environment)
        try:
            found = _watch(process, folder, source, progress)
        finally:
            if process.poll() is None:
                process.terminate()
            process.wait()
    if found is None:
        lines = log.read_text(encoding="utf-8", errors="replace").split("\n")
        reasons = [line.strip() for line in lines if line.startswith("ERROR:")] or [
            line.strip() for line in lines if line.strip()
        ]
        raise SourceError(f"pip download failed: {reasons[-1] if reasons else 'no output'}")
    return found


def _watch(
    process: subprocess.Popen[bytes], folder: Path, source: IndexSource, progress: Progress
) -> Path | None:
    """Wait until pip has the file; return it, or None if pip ended without it."""
    while True:
        ended = process.poll() is not None
        # A copy in a folder named pip-… is pip's download; the last place is where it puts the result.
        for file in [*folder.glob(f"pip/*/{source.filename}"), folder / source.filename]:
            try:
                size = file.stat().st_size
            except OSError:
                continue
            progress(min(1.0, size / source.size))
            if size == source.size and sha256_of(file) == source.sha256:
                return file
            if ended:
                _check(file, source)
        if ended:
            return None
        time.sleep(0.1)


def _check(file: Path, source: IndexSource) -> None:
    size, found = file.stat().st_size, sha256_of(file)
    if (size, found) != (source.size, source.sha256):
        raise SourceError(
            f"{source.filename} has {size:,} bytes and sha256 {found}, "
            f"wanted {source.size:,} bytes and sha256 {source.sha256}"
        )


def from_archive(source: ArchiveSource, folder: Path, progress: Progress) -> Path:
    """Download the commit's archive into `folder` and return the file, not yet verified."""
    file = folder / "archive.tar.gz"
    try:
        with urllib.request.urlopen(source.url, timeout=60) as response, file.open("wb") as output:
            # An archive that is packed on request comes without its length.
            total = int(response.headers.get("Content-Length") or 0)
            done = 0
            while block := response.read(1 << 18):
                output.write(block)
                done += len(block)
                progress(done / total if total else 0.0)
    except (urllib.error.URLError, OSError, ValueError) as error:
        raise SourceError(f"{source.url}: {getattr(error, 'reason', error)}") from error
    return file
