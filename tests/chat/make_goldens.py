"""Render our conversations through the pinned source's templates with transformers, and write the results.

    python tests/chat/make_goldens.py TEMPLATES_FOLDER            # the digests, into goldens.json
    python tests/chat/make_goldens.py TEMPLATES_FOLDER texts.json  # the texts, to look at a difference

A rendering repeats most of its template, whose text isn't ours: so digests are what the repository keeps.
Needs `pip install transformers jinja2`, in an environment of its own: the tests themselves don't need it.
"""

from __future__ import annotations

import hashlib
import json
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
NOW = datetime(2025, 3, 4, 5, 6, 7)
SPECIAL = {"bos_token": "<s>", "eos_token": "</s>"}


class _Clock(datetime):
    @classmethod
    def now(cls, tz: Any = None) -> datetime:  # type: ignore[override]
        return NOW


def render_all(folder: Path) -> dict[str, dict[str, str | None]]:
    """Return template → conversation → text, None where the template raises."""
    from transformers.utils import chat_template_utils

    chat_template_utils.datetime = _Clock
    tools = json.loads((HERE / "tools.json").read_text(encoding="utf-8"))
    conversations = json.loads((HERE / "conversations.json").read_text(encoding="utf-8"))
    results: dict[str, dict[str, str | None]] = {}
    for file in sorted(folder.glob("*.jinja")):
        texts: dict[str, str | None] = {}
        for name, chat in conversations.items():
            try:
                rendered, _ = chat_template_utils.render_jinja_template(
                    conversations=[chat["messages"]],
                    tools=[tools[tool] for tool in chat["tools"]] if "tools" in chat else None,
                    chat_template=file.read_text(encoding="utf-8"),
                    add_generation_prompt=chat.get("add_generation_prompt", True),
                    **SPECIAL,
                    **chat.get("variables", {}),
                )
                texts[name] = rendered[0]
            except Exception:  # a template may refuse a conversation in any way
                texts[name] = None
        results[file.stem] = texts
    return results


def digest(text: str | None) -> str | None:
    """Return what goldens.json keeps of a rendering: its length in characters, and its SHA-256."""
    if text is None:
        return None
    return f"{len(text)} {hashlib.sha256(text.encode()).hexdigest()}"


if __name__ == "__main__":
    results = render_all(Path(sys.argv[1]))
    output = Path(sys.argv[2]) if len(sys.argv) > 2 else None
    if output is None:
        output = HERE / "goldens.json"
        results = {
            name: {chat: digest(text) for chat, text in texts.items()} for name, texts in results.items()
        }
    output.write_text(json.dumps(results, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
