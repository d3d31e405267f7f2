"""Renderings of the pinned source's templates equal those of transformers, character by character."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import llama_ffi as lf
from llama_ffi.errors import ChatTemplateError
from tests.chat import make_goldens

pytestmark = pytest.mark.native

HERE = Path(__file__).resolve().parent
CHATS: dict[str, Any] = json.loads((HERE / "conversations.json").read_text(encoding="utf-8"))
TOOLS = json.loads((HERE / "tools.json").read_text(encoding="utf-8"))
GOLDENS: dict[str, dict[str, str | None]] = json.loads((HERE / "goldens.json").read_text(encoding="utf-8"))


def render(source: str, chat: dict[str, Any]) -> str | None:
    try:
        return lf.chat.apply_template(
            None,
            chat["messages"],
            chat.get("add_generation_prompt", True),
            source,
            [TOOLS[name] for name in chat["tools"]] if "tools" in chat else None,
            now=make_goldens.NOW,
            **make_goldens.SPECIAL,
            **chat.get("variables", {}),
        )
    except ChatTemplateError:
        return None


def names() -> list[str]:
    return sorted(GOLDENS)


@pytest.fixture(scope="module")
def templates(source: Path) -> dict[str, str]:
    files = sorted((source / "models" / "templates").glob("*.jinja"))
    return {file.stem: file.read_text(encoding="utf-8") for file in files}


def test_there_is_a_golden_for_every_template(templates: dict[str, str]) -> None:
    assert sorted(templates) == names()
    assert len(templates) >= 30


@pytest.mark.parametrize("name", names())
def test_renderings_are_equal(templates: dict[str, str], name: str) -> None:
    golden = GOLDENS[name]
    wrong = []
    for chat in CHATS:
        allowed = {golden[chat]}
        # What a template can't take transformers fails at, or prints as Python would; we convert it.
        if chat == "parts":
            allowed.add(golden["parts-joined"])
        elif chat.startswith("tool-call"):
            allowed |= {golden["tool-call"], golden["tool-call-text"]}
        text = render(templates[name], CHATS[chat])
        if make_goldens.digest(text) not in allowed:
            wrong.append(f"{chat}: {text!r:.300}")
    assert not wrong


@pytest.mark.parametrize("name", names())
def test_forms_that_a_template_cannot_take_are_converted(templates: dict[str, str], name: str) -> None:
    """Parts of text, and arguments as JSON text: the result reads like that of the plain form."""
    text = render(templates[name], CHATS["parts"])
    if text is not None:
        assert "First part." in text
        assert "Second part." in text
        assert "'type'" not in text
        assert '"type"' not in text
    for chat in ("tool-call", "tool-call-text"):
        text = render(templates[name], CHATS[chat])
        assert text is None or '\\"city\\"' not in text or '\\"celsius\\"' in text


def test_enough_renderings_are_compared() -> None:
    rendered = [text for golden in GOLDENS.values() for text in golden.values() if text is not None]
    assert len(rendered) > 700
    assert sum(golden["plain"] is not None for golden in GOLDENS.values()) >= 60


@pytest.mark.slow
def test_the_goldens_are_what_transformers_says(source: Path, tmp_path: Path) -> None:
    """Installs transformers into an environment of its own, and renders everything again."""
    python = tmp_path / "venv" / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "venv")], check=True)
    subprocess.run([str(python), "-m", "pip", "install", "-q", "transformers", "jinja2>=3.1.6"], check=True)
    output = tmp_path / "texts.json"
    program = str(HERE / "make_goldens.py")
    subprocess.run([str(python), program, str(source / "models" / "templates"), str(output)], check=True)
    texts = json.loads(output.read_text(encoding="utf-8"))
    digests = {
        name: {chat: make_goldens.digest(text) for chat, text in rendered.items()}
        for name, rendered in texts.items()
    }
    assert digests == GOLDENS
