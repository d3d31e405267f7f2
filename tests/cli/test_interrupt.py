"""Ctrl-C: status 130, no traceback, wherever it arrives."""

from __future__ import annotations

import array
import fcntl
import os
import pty
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

pytestmark = pytest.mark.model

# libllama wants more text than this test ever lets it write.
ENDLESS = [sys.executable, "-m", "llama_ffi", "generate", "Once upon a time", "--no-display-prompt"]
ENDLESS += ["-n", "200", "--seed", "7"]


@contextmanager
def interruptible(**streams: int) -> Iterator[subprocess.Popen[bytes]]:
    """Run the command with Ctrl-C enabled, even where the test run itself ignores it."""
    process = subprocess.Popen(
        ENDLESS,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        **streams,  # type: ignore[call-overload]
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def waiting_bytes(descriptor: int) -> int:
    """Return how many bytes a pipe holds that nobody has read."""
    count = array.array("i", [0])
    fcntl.ioctl(descriptor, termios.FIONREAD, count)
    return count[0]


def test_while_text_is_written() -> None:
    """A nearly full pipe holds the command in mid-story, so the signal can't come too late."""
    reader, writer = os.pipe()
    filler = fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 1) - 24  # one page, nearly
    os.write(writer, b"." * filler)
    with interruptible(stdout=writer) as process:
        os.close(writer)
        deadline = time.monotonic() + 60
        while waiting_bytes(reader) == filler and time.monotonic() < deadline:
            time.sleep(0.01)
        assert waiting_bytes(reader) > filler, "no text came"
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=60)
    os.close(reader)
    assert process.returncode == 130
    assert stderr == b""


@pytest.mark.parametrize("seconds", [0.06, 0.12, 0.2, 0.3])
def test_at_any_time_after_the_start(seconds: float) -> None:
    """While importing, loading, making the context, reading the prompt: the same clean end.

    Before our `main` runs, the interrupt belongs to Python; so an end by the signal is allowed at the
    earliest moments, a success at the latest.
    """
    with interruptible(stdout=subprocess.DEVNULL) as process:
        time.sleep(seconds)
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=60)
    if process.returncode == -signal.SIGINT or b"<frozen" in stderr:
        return  # Python itself was still starting
    assert process.returncode in (0, 130), stderr
    assert b"Traceback" not in stderr


def test_on_a_terminal() -> None:
    """The key itself, through a terminal's line discipline; the shell's prompt gets a line of its own."""
    pid, terminal = pty.fork()
    if pid == 0:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.execv(ENDLESS[0], ENDLESS)
    seen = b""
    while not seen:
        seen += os.read(terminal, 1)
    os.write(terminal, b"\x03")
    try:
        while chunk := os.read(terminal, 4096):
            seen += chunk
    except OSError:
        pass  # how Linux says that the other side of a terminal is gone
    _, status = os.waitpid(pid, 0)
    os.close(terminal)
    assert os.waitstatus_to_exitcode(status) in (0, 130)
    assert b"Traceback" not in seen
    assert seen.endswith(b"\n")


def test_while_a_class_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python before 3.12 wraps what `__set_name__` raises, and an import may meet Ctrl-C there."""
    from llama_ffi import cli

    def importing(argv: object) -> int:
        raise RuntimeError("Error calling __set_name__") from KeyboardInterrupt()

    monkeypatch.setattr(cli, "dispatch", importing)
    monkeypatch.setattr(cli, "discard_output", lambda: None)
    before = signal.getsignal(signal.SIGINT)
    try:
        assert cli.main([]) == 130
    finally:
        signal.signal(signal.SIGINT, before)
