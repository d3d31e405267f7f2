"""The stages in order: find the source, preprocess, parse, analyse."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from .analyze import Bindings, analyze
from .config import LLAMA_CPP, Config
from .cplusplus import cplusplus_only
from .errors import BindgenError
from .ir import Skipped, Unit
from .models import LP64
from .parse import parse
from .preprocess import preprocess

ROOT = Path(__file__).resolve().parent.parent
_PIN = ROOT / "vendor" / "PIN.toml"


def find_source(given: str | None) -> Path:
    """Return the folder of the llama.cpp source.

    That is `given`, else `LLAMA_FFI_LLAMA_CPP_DIR`, else the pinned source, which `vendor/fetch.py`
    fetches if need be.  Raises BindgenError if none of them works.
    """
    chosen = given or os.environ.get("LLAMA_FFI_LLAMA_CPP_DIR")
    if chosen:
        path = Path(chosen)
        if not path.is_dir():
            raise BindgenError(f"{path} is not a folder")
        return path
    fetch = ROOT / "vendor" / "fetch.py"
    if not fetch.exists():
        raise BindgenError("no source: pass --source DIR or set LLAMA_FFI_LLAMA_CPP_DIR")
    done = subprocess.run([sys.executable, str(fetch), "--print-path"], stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise BindgenError("vendor/fetch.py could not get the pinned source; it says why above")
    return Path(done.stdout.strip().splitlines()[-1])


def pinned_commit() -> str:
    """Return the commit that `vendor/PIN.toml` names, or an empty string without that file."""
    text = _PIN.read_text(encoding="utf-8") if _PIN.exists() else ""
    match = re.search(r'^commit\s*=\s*"([0-9a-f]{40})"', text, re.MULTILINE)
    return match.group(1) if match else ""


def headers_sha256(source: Path, config: Config) -> str:
    """Return the digest of the bound headers' contents; line ends do not count.

    The build computes the same one for the headers it compiles against.
    """
    total = hashlib.sha256()
    for path in sorted(header.path for header in config.headers):
        content = (source / path).read_bytes().replace(b"\r\n", b"\n")
        total.update(f"{path}\0{hashlib.sha256(content).hexdigest()}\n".encode())
    return total.hexdigest()


def present(source: Path, config: Config = LLAMA_CPP) -> Config:
    """Return `config` with the headers that `source` has; older versions have fewer.

    Raises BindgenError if it has none of them.
    """
    headers = tuple(header for header in config.headers if (source / header.path).is_file())
    if not headers:
        raise BindgenError(f"{source} has none of {', '.join(h.path for h in config.headers)}")
    return replace(config, headers=headers)


def load(source: Path, config: Config = LLAMA_CPP, commit: str | None = None) -> Bindings:
    """Run all stages on the headers below `source`.

    Raises BindgenError with file and line for headers that cannot be read.
    """
    missing = [h.path for h in config.headers if not (source / h.path).is_file()]
    if missing:
        raise BindgenError(f"{source} has no {', '.join(missing)}")
    preprocessed = preprocess(source, [h.path for h in config.headers], config.include_dirs(source))
    unit = parse(preprocessed, LP64)
    hidden = [skipped for header in config.headers for skipped in cplusplus_only(source, header.path)]
    unit = Unit(unit.declarations, (*unit.skipped, *hidden))
    return analyze(
        unit, config, pinned_commit() if commit is None else commit, headers_sha256(source, config)
    )


def load_present(source: Path, config: Config = LLAMA_CPP) -> Bindings:
    """Run all stages on what `source` has of the headers: for versions that are not the pinned one.

    A header that is not C (some versions have one that only C++ takes) is left out, with the reason
    among the skipped, unless another header includes it; then BindgenError is raised.
    """
    config = present(source, config)
    left_out: list[Skipped] = []
    while True:
        try:
            bindings = load(source, config, commit="")
        except BindgenError as error:
            place = error.location
            headers = tuple(h for h in config.headers if place is None or h.path != place.file)
            if place is None or len(headers) in (0, len(config.headers)):
                raise
            reason = str(error).removeprefix(f"{place}: ")
            left_out.append(Skipped("header", place.file, f"{reason}: nothing in it is bound", place))
            config = replace(config, headers=headers)
        else:
            unit = Unit(bindings.unit.declarations, (*left_out, *bindings.unit.skipped))
            return replace(bindings, unit=unit)
