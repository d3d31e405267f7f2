"""llama-cpp-python's own server, without its native library, on ours."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from llama_ffi import tiny_model_path
from tests.compat import upstream
from tests.compat.conftest import ROOT

pytestmark = [pytest.mark.model, pytest.mark.index]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    upstream.require(*upstream.NEEDS, *upstream.SERVER_NEEDS)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    entries = os.pathsep.join([str(upstream.python_code() / "site"), str(ROOT)])
    command = [sys.executable, "-m", "llama_ffi.compat", "run", "-m", "llama_cpp.server"]
    command += ["--model", str(tiny_model_path()), "--port", str(port), "--n_threads", "1", "--n_ctx", "256"]
    command += ["--chat_format", "chatml"]
    said = tmp_path_factory.mktemp("server") / "log"
    with said.open("wb") as log:
        running = subprocess.Popen(
            command, stdout=log, stderr=log, env={**os.environ, "PYTHONPATH": entries}, cwd=said.parent
        )
        try:
            address = f"http://127.0.0.1:{port}"
            _wait(address, running, said)
            yield address
        finally:
            running.terminate()
            running.wait(60)


def _wait(address: str, running: subprocess.Popen[bytes], said: Path) -> None:
    end = time.monotonic() + 240
    while time.monotonic() < end:
        assert running.poll() is None, said.read_text(encoding="utf-8", errors="replace")
        try:
            urllib.request.urlopen(f"{address}/v1/models", timeout=10).close()
            return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    raise AssertionError(said.read_text(encoding="utf-8", errors="replace"))


def _post(address: str, body: dict[str, Any]) -> bytes:
    request = urllib.request.Request(
        address, json.dumps(body).encode(), {"Content-Type": "application/json"}, method="POST"
    )
    with urllib.request.urlopen(request, timeout=240) as response:
        content: bytes = response.read()
    return content


def test_a_completion(server: str) -> None:
    body = {"prompt": "Once upon a time", "max_tokens": 12, "temperature": 0}
    first = json.loads(_post(f"{server}/v1/completions", body))
    again = json.loads(_post(f"{server}/v1/completions", body))
    assert first["choices"][0]["text"] == again["choices"][0]["text"] != ""
    assert first["usage"]["completion_tokens"] == 12


def test_a_chat_that_streams(server: str) -> None:
    body = {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 8, "stream": True}
    lines = _post(f"{server}/v1/chat/completions", body).decode().split("\n")
    events = [line.removeprefix("data: ").strip() for line in lines if line.startswith("data: ")]
    assert events[-1] == "[DONE]" and len(events) > 3
    text = "".join(json.loads(e)["choices"][0]["delta"].get("content") or "" for e in events[:-1])
    assert text.strip()


def test_a_grammar(server: str) -> None:
    body = {"prompt": "Yes or no?", "max_tokens": 4, "grammar": 'root ::= "yes" | "no"'}
    assert json.loads(_post(f"{server}/v1/completions", body))["choices"][0]["text"] in ("yes", "no")
