"""Let another process load a model first: what kills it is an error here.

For files from strangers. The check before each load refuses what is known to kill; this is for what isn't
known yet. The child maps the weights, so the memory for them is shared with the load that follows.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from typing import Any

from .. import errors
from ..errors import ModelFileError, ModelLoadError, UnsupportedError
from . import binding, child_python

SECONDS = 600.0
_RUN = "from llama_ffi._isolated import main; main()"


def probe(
    name: str,
    paths: Sequence[str],
    *,
    offset: int | None,
    vocab_only: bool,
    overrides: Mapping[str, object],
    seconds: float,
) -> None:
    """Load and try the model in a child process.

    Raises:
        ModelFileError: the child died of it, or didn't come back in time.
        UnsupportedError: no other Python can be started.
        and what the load raised in the child.
    """
    command = child_python.command(_RUN, "isolate=True")
    library, bindings = binding._chosen
    order = {
        "paths": list(paths),
        "offset": offset,
        "vocab_only": vocab_only,
        "overrides": dict(overrides),
        "library": None if library is None else os.fspath(library),
        "bindings": None if bindings is None else os.fspath(bindings),
    }
    environment = {**os.environ, "GGML_NO_BACKTRACE": "1"}  # else ggml starts a debugger, if there is one
    try:
        done = subprocess.run(
            command,
            input=json.dumps(order).encode("ascii"),
            capture_output=True,
            timeout=seconds,
            env=environment,
        )
    except subprocess.TimeoutExpired:
        raise ModelFileError(
            f"{name}: a process that tried to load it wasn't done after {seconds:g} seconds"
        ) from None
    except OSError as error:
        raise UnsupportedError(f"isolate=True can't start {command[0]}: {error.strerror}") from error
    lines = done.stdout.decode("utf-8", "replace").splitlines()
    if done.returncode == 0 and lines and lines[-1] == "sound":
        return
    told = _told(lines)
    if told is not None:
        raise told
    said = done.stderr.decode("utf-8", "replace").splitlines()
    raise ModelFileError(
        f"{name}: a process that tried to load it died ({how(done.returncode)}): the file is damaged or "
        f"hostile in a way that llama.cpp doesn't survive",
        code=done.returncode,
        log=said[-20:],
    )


def _told(lines: Sequence[str]) -> errors.LlamaError | None:
    """Return the error that the child has raised and told, None if it told nothing."""
    try:
        told: dict[str, Any] = json.loads(lines[-1])
        cls = getattr(errors, told["error"], ModelLoadError)
        return cls(told["message"], code=told["code"], log=told["log"])
    except (IndexError, ValueError, KeyError, TypeError):
        return None


def how(status: int) -> str:
    if status < 0:
        try:
            return signal.Signals(-status).name
        except ValueError:
            return f"signal {-status}"
    return f"status {status:#x}" if status > 255 else f"status {status}"
