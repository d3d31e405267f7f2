"""What templates can use, llama.cpp's built-in ones, and what happens without jinja2."""

from __future__ import annotations

import logging
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import llama_ffi as lf
from llama_ffi.chat import builtin, jinja, marked
from llama_ffi.chat.messages import ROLES
from llama_ffi.errors import ChatTemplateError, InvalidArgumentError

pytestmark = pytest.mark.native

HI = [{"role": "user", "content": "hi"}]
TURNS = [
    {"role": "user", "content": "Hello there"},
    {"role": "assistant", "content": "Hi!"},
    {"role": "user", "content": "How are you?"},
]


def render(template: str, **kwargs: object) -> str:
    return lf.chat.apply_template(None, HI, template=template, **kwargs)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{{ {'b': 'ü<&>', 'a': [1, none, true]} | tojson }}", '{"b": "ü<&>", "a": [1, null, true]}'),
        ("{{ {'b': 1, 'a': 2} | tojson(indent=2, sort_keys=true) }}", '{\n  "a": 2,\n  "b": 1\n}'),
        ("{{ 'ü' | tojson(ensure_ascii=true) }}", '"\\u00fc"'),
        ("{{ [1, 2] | tojson(separators=(',', ':')) }}", "[1,2]"),
        ("{% for i in range(9) %}{% if i == 3 %}{% break %}{% endif %}{{ i }}{% endfor %}", "012"),
        ("{% for i in range(4) %}{% if i == 1 %}{% continue %}{% endif %}{{ i }}{% endfor %}", "023"),
        ("  {% if true %}\n  a\n  {% endif %}\nb\n", "  a\nb"),
        ("{% generation %}{{ 1 }}{% endgeneration %}2", "12"),
        ("{{ strftime_now('%d %b %Y') }}", "04 Mar 2025"),
        ("{{ missing }}|{{ messages[0].missing is defined }}", "|False"),
        ("{{ add_generation_prompt }} {{ tools }} {{ documents }}", "True None None"),
        ("{{ messages[0] }}", "{'role': 'user', 'content': 'hi'}"),
        (
            "{{ 1.5 }} {{ none }} {{ true }} {{ [1, 'a'] }} {{ 7 // 2 }} {{ 2 ** 3 }}",
            "1.5 None True [1, 'a'] 3 8",
        ),
        ("{% for m in messages %}{{ loop.index }}{{ loop.last }}{{ loop.length }}{% endfor %}", "1True1"),
        ("{% for k, v in {'a': 1} | items %}{{ k }}{{ v }}{% endfor %}", "a1"),
        ("{% for a in [[1, [2]]] recursive %}{{ loop(a) if a is iterable else a }}{% endfor %}", "12"),
        ("{% macro f(x, y='b') %}{{ x }}{{ y }}{% endmacro %}{{ f('a') }}{{ f('a', y='c') }}", "abac"),
        ("{{ '%s-%d' % ('a', 3) }} {{ '{:>4}|{x}'.format(1, x=2) }}", "a-3    1|2"),
        ("{{ 'a,b' .split(',') | join('+') }} {{ [{'k': 'v'}] | map(attribute='k') | list }}", "a+b ['v']"),
        (
            "{{ [3, 1, 2] | sort | reverse | list }} {{ [1, 2, 3] | sum }} {{ 'abc'[::-1] }}",
            "[3, 2, 1] 6 cba",
        ),
        ("{{ 'x' | indent(2, true) }}|{{ 'a b c' | title }}|{{ '<' | e }}", "  x|A B C|&lt;"),
        ("{{ '<a>' | safe ~ '<' }}", "<a><"),
        (
            "{% set n = namespace(n=0) %}{% for i in [1, 2] %}{% set n.n = n.n + i %}{% endfor %}{{ n.n }}",
            "3",
        ),
        ("{{ dict(a=1) }}{{ dict.fromkeys(['a'], 2) }}", "{'a': 1}{'a': 2}"),
        ("{% set x = cycler('a', 'b') %}{{ x.next() }}{{ x.next() }}{{ x.next() }}", "aba"),
    ],
)
def test_what_templates_use(template: str, text: str) -> None:
    assert render(template, now=datetime(2025, 3, 4)) == text


def test_jinja2_itself_says_the_same() -> None:
    """The expressions above, where neither time nor our functions are involved, through plain jinja2."""
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    plain = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    (mark,) = test_what_templates_use.pytestmark  # type: ignore[attr-defined]
    compared = 0
    for template, text in mark.args[1]:
        if not any(
            word in template for word in ("tojson", "strftime", "generation", "break", "continue", "dict.")
        ):
            values = {"messages": HI, "add_generation_prompt": True, "tools": None, "documents": None}
            assert plain.from_string(template).render(**values) == text
            compared += 1
    assert compared > 12


def test_variables_tools_and_documents_reach_the_template() -> None:
    text = render(
        "{{ enable_thinking }}{{ tools[0].name }}{{ documents[0].title }}{{ bos_token }}",
        tools=[{"name": "f"}],
        documents=[{"title": "t"}],
        enable_thinking=False,
        bos_token="<s>",
    )
    assert text == "Falseft<s>"


def test_the_template_for_tools_is_used_where_there_are_tools(
    monkeypatch: pytest.MonkeyPatch, model: lf.Model
) -> None:
    named = {None: "{{ 'plain' }}", "tool_use": "{{ 'with tools' }}"}
    monkeypatch.setattr(lf.Model, "chat_template", lambda self, name=None: named[name])
    assert lf.chat.apply_template(model, HI) == "plain"
    assert lf.chat.apply_template(model, HI, tools=[{"name": "f"}]) == "with tools"
    monkeypatch.setitem(named, "tool_use", None)  # type: ignore[arg-type]
    assert lf.chat.apply_template(model, HI, tools=[{"name": "f"}]) == "plain"


# --- llama.cpp's built-in templates ---


def test_the_names() -> None:
    names = lf.chat.builtin_templates()
    assert names == sorted(names)
    assert len(names) > 40
    assert {"chatml", "llama3", "phi4", "gemma"} <= set(names)


def test_each_of_them_formats_and_knows_its_own_text() -> None:
    for name in lf.chat.builtin_templates():
        text = builtin.apply(name, [dict(turn) for turn in TURNS], True)
        ranges = text.ranges if isinstance(text, marked.Own) else ()
        assert ranges or name == "deepseek-ocr", name  # which puts nothing around the contents
        for turn in TURNS:
            at = text.find(turn["content"])
            assert at >= 0, name
            assert not any(start < at + len(turn["content"]) and at < end for start, end in ranges), name
        own = sum(end - start for start, end in ranges)
        assert own + sum(len(turn["content"]) for turn in TURNS) == len(text), name
        assert lf.chat.apply_template(None, TURNS, template=name) == text


def test_long_texts_and_other_letters() -> None:
    content = "日本 ü " * 20_000 + "!"
    text = lf.chat.apply_template(None, [{"role": "user", "content": content}], False, "chatml")
    assert text == f"<|im_start|>user\n{content}<|im_end|>\n"


LETTERS = st.text(st.sampled_from("ab \n\t\0é日<|>[]{}\ue000"), max_size=12)


@settings(max_examples=60, deadline=None)
@given(
    turns=st.lists(st.tuples(st.sampled_from(sorted(ROLES)), LETTERS), min_size=1, max_size=5),
    prompt=st.booleans(),
)
def test_no_chat_is_too_strange_for_them(turns: list[tuple[str, str]], prompt: bool) -> None:
    messages = [{"role": role, "content": content} for role, content in turns]
    for name in lf.chat.builtin_templates():
        text = builtin.apply(name, messages, prompt)
        ranges = text.ranges if isinstance(text, marked.Own) else ()
        foreign = "".join(text)
        for start, end in reversed(ranges):
            foreign = foreign[:start] + foreign[end:]
        assert not ranges or made_of(foreign, tuple(content for _, content in turns)), (name, text)


def made_of(text: str, contents: tuple[str, ...]) -> bool:
    """Whether a text is these contents, whole or stripped, in any order: some move the system's."""
    return not text or any(
        text.startswith(form) and made_of(text[len(form) :], contents[:i] + contents[i + 1 :])
        for i, content in enumerate(contents)
        for form in {content, content.strip(" \t\n")} - {""}
    )


def test_what_built_in_templates_cannot_take() -> None:
    with pytest.raises(InvalidArgumentError, match="don't know the role 'pirate'"):
        lf.chat.apply_template(None, [{"role": "pirate", "content": "hi"}], template="chatml")
    with pytest.raises(InvalidArgumentError, match="part of type 'image'"):
        lf.chat.apply_template(None, [{"role": "user", "content": [{"type": "image"}]}], template="chatml")
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    text = lf.chat.apply_template(None, [{"role": "user", "content": parts}], False, "chatml")
    assert text == "<|im_start|>user\na\nb<|im_end|>\n"
    with pytest.raises(ChatTemplateError, match=r"its own are: .*chatml"):
        builtin.apply("no such template", [{"role": "user", "content": "hi"}], True)


# Files of the pinned source that llama.cpp recognises and formats, for plain turns, as the template does.
# What it leaves out in 35 others: system messages of the template's own, dates, <think> at the end.
SAME = {
    *("Bielik-11B-v3.0-Instruct", "ByteDance-Seed-OSS", "LFM2-8B-A1B", "LFM2.5-8B-A1B", "LFM2.5-Instruct"),
    *(
        "Qwen-Qwen3-0.6B",
        "Qwen3-Coder",
        "google-gemma-2-2b-it",
        "ibm-granite-granite-4.1",
        "openbmb-MiniCPM5-1B",
    ),
    *("llama-cpp-rwkv-world", "microsoft-Phi-3.5-mini-instruct", "mistralai-Mistral-Nemo-Instruct-2407"),
}


def test_built_in_and_own_templates_are_compared(source: Path) -> None:
    same, recognised = set(), set()
    for file in sorted((source / "models" / "templates").glob("*.jinja")):
        text = file.read_text(encoding="utf-8")
        try:
            own = lf.chat.apply_template(None, TURNS, template=text, bos_token="", eos_token="</s>")
            guessed = "".join(builtin.apply(text, [dict(turn) for turn in TURNS], True))
        except ChatTemplateError:
            continue
        recognised.add(file.stem)
        if own == guessed:
            same.add(file.stem)
    assert same == SAME
    assert len(recognised) == 48


# --- without jinja2 ---


def test_without_jinja2_llama_cpp_formats_what_it_knows(
    monkeypatch: pytest.MonkeyPatch, model: lf.Model, caplog: pytest.LogCaptureFixture
) -> None:
    with_jinja2 = lf.chat.tokenize(model, TURNS)
    monkeypatch.setitem(sys.modules, "jinja2", None)
    assert not jinja.available()
    with caplog.at_level(logging.WARNING, "llama_ffi"):
        assert lf.chat.tokenize(model, TURNS) == with_jinja2
    assert "jinja2 is not installed" in caplog.text
    for kwargs in ({"template": "{{ messages[0].content }}"}, {"tools": [{"name": "f"}]}):
        with pytest.raises(lf.chat.JinjaMissingError, match="pip install"):
            lf.chat.apply_template(model, TURNS, **kwargs)  # type: ignore[arg-type]


def test_an_old_jinja2_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.metadata

    monkeypatch.setattr(importlib.metadata, "version", lambda name: "3.1.5")
    with pytest.raises(lf.chat.JinjaMissingError, match=r"3\.1\.5 has known ways out"):
        render("{{ 1 }}")


def test_jinja2_is_imported_by_the_first_template_only() -> None:
    program = (
        "import sys, llama_ffi as lf; lf.chat; lf.ask; "
        "lf.chat.apply_template(None, [{'role': 'user', 'content': 'hi'}], template='chatml'); "
        "assert 'jinja2' not in sys.modules and 'numpy' not in sys.modules; "
        "lf.chat.apply_template(None, [{'role': 'user', 'content': 'hi'}], template='{{ 1 }}'); "
        "assert 'jinja2' in sys.modules and 'numpy' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
