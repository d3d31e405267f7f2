"""`llama-ffi chat`: from a pipe, and on a terminal with its keys."""

from __future__ import annotations

import codecs
import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.model

CHAT = [sys.executable, "-m", "llama_ffi", "chat", "--temp", "0", "-t", "1"]


def pipe(text: str, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*CHAT, *options], input=text, capture_output=True, encoding="utf-8", timeout=120)


def test_each_line_of_a_pipe_is_a_message() -> None:
    done = pipe("What colour is grass?\n\nMy name is Tom.\nWhat is my name?\n")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "Grass is green."
    assert lines[2] == "You are Tom."
    assert len(lines) == 3
    assert done.stderr == ""


def test_nothing_to_say_and_a_line_without_an_end() -> None:
    assert pipe("").stdout == ""
    assert pipe("What colour is grass?").stdout == "Grass is green.\n"
    assert pipe("What colour \\\nis grass?").stdout.count("\n") == 1


def test_options(tmp_path: Path) -> None:
    assert pipe("hi\n", "-n", "1").stdout == "Hi\n"
    assert pipe("hi\n", "--chat-template", "phi4").stdout == pipe("hi\n").stdout
    template = tmp_path / "story.jinja"
    template.write_text("{{ messages[-1].content }}")
    assert len(pipe("Once upon a time\n", "--chat-template", str(template)).stdout) > 50
    assert pipe("hi\n", "--system", "Be kind.", "-c", "256").returncode == 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--chat-template", "chatlm"], "neither a file nor a template"),
        (["--chat-template", os.devnull], "empty"),
        (["--chat-template", sys.executable], "not a template"),
        (["-m", "no-such-model"], "no-such-model"),
        (["-n", "-7"], "max_tokens"),
        (["-c", "-7"], "n_ctx"),
    ],
)
def test_mistakes_are_one_line(options: list[str], words: str) -> None:
    done = pipe("hi\n", *options)
    assert done.returncode == 1
    assert words in done.stderr
    assert done.stderr.count("\n") == 1
    assert "internal" not in done.stderr


class Terminal:
    """The command on a terminal of its own."""

    def __init__(self, *options: str) -> None:
        self.pid, self.descriptor = pty.fork()
        if self.pid == 0:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            os.environ["TERM"] = "dumb"
            os.execv(CHAT[0], [*CHAT, *options])
        self.text = codecs.getincrementaldecoder("utf-8")("replace")  # a read may end inside a character
        self.seen = ""
        self.until("> ")

    def until(self, text: str, seconds: float = 60) -> str:
        """Read until ``text`` has come; return what came before it."""
        deadline = time.monotonic() + seconds
        while text not in self.seen:
            ready, _, _ = select.select([self.descriptor], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                raise TimeoutError(f"{text!r} did not come, but {self.seen!r}")
            try:
                self.seen += self.text.decode(os.read(self.descriptor, 4096))
            except OSError:
                raise AssertionError(f"the program has ended: {self.seen}") from None
        before, _, self.seen = self.seen.partition(text)
        return before

    def say(self, text: str) -> str:
        os.write(self.descriptor, text.encode() + b"\r")
        return self.until("\n> ")

    def press(self, key: bytes) -> None:
        os.write(self.descriptor, key)

    def interrupt(self, text: str) -> str:
        """Press Ctrl-C until ``text`` has come; CPython overlooks one just before readline's select()."""
        for _ in range(30):
            self.press(b"\x03")
            try:
                return self.until(text, 2)
            except TimeoutError:
                continue
        raise TimeoutError(f"{text!r} did not come, but {self.seen!r}")

    def end(self) -> int:
        try:
            while chunk := os.read(self.descriptor, 4096):
                self.seen += self.text.decode(chunk)
        except OSError:
            pass  # how Linux says that the other side of a terminal is gone
        _, status = os.waitpid(self.pid, 0)
        os.close(self.descriptor)
        return os.waitstatus_to_exitcode(status)


@pytest.fixture
def terminal() -> Iterator[type[Terminal]]:
    return Terminal


def test_a_conversation_on_a_terminal(terminal: type[Terminal]) -> None:
    chat = terminal()
    assert "Grass is green." in chat.say("What colour is grass?")
    assert "ended by: stop" in chat.say("/stats")
    chat.say("My name is Tom.")
    assert "You are Tom." in chat.say("What is my name?")
    assert "/reset" in chat.say("/help")
    assert "unknown: /nonsense" in chat.say("/nonsense")
    assert "new conversation" in chat.say("/reset")
    assert "Tom" not in chat.say("What is my name?")
    assert "new conversation" in chat.say("/system Be kind.")
    assert len(chat.say("//help")) > 10
    assert "\n… " in chat.say("What colour \\\ris grass?").replace("\r", "")
    chat.press(b"\x04")
    assert chat.end() == 0
    assert "Traceback" not in chat.seen


def test_ctrl_c_ends_the_answer_and_not_the_conversation(terminal: type[Terminal], tmp_path: Path) -> None:
    template = tmp_path / "story.jinja"  # a story, which is longer than any answer
    template.write_text("{{ messages[-1].content }}")
    for _ in range(10):
        chat = terminal("--chat-template", str(template))
        os.write(chat.descriptor, b"Once upon a time\r")
        chat.until("\n")  # the echo of the line; text comes now
        chat.press(b"\x03")
        chat.until("> ")
        answer = chat.say("Joe loves")
        if "Ctrl-D leaves" not in answer:
            break
        os.kill(chat.pid, signal.SIGKILL)  # on a busy machine the story has ended before the key: once more
        chat.end()
    assert len(answer) > 20
    chat.press(b"never sent")
    chat.until("never sent")
    chat.interrupt("Ctrl-D leaves")
    chat.until("> ")
    assert "never sent" not in chat.say("/stats")
    os.write(chat.descriptor, b"/quit\r")
    assert chat.end() == 0
    assert "Traceback" not in chat.seen


def test_an_error_does_not_end_the_conversation(terminal: type[Terminal]) -> None:
    chat = terminal("-c", "256")
    assert "error: the conversation has" in chat.say("word " * 300)
    assert "Grass is green." in chat.say("What colour is grass?")
    chat.press(b"\x04")
    assert chat.end() == 0
