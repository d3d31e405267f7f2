"""No template kills, hangs or escapes: sandbox, steps, text and time are limited, errors are typed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import llama_ffi as lf
from llama_ffi.errors import ArgumentTypeError, ChatTemplateError, InvalidArgumentError
from tests.chat import hostile

pytestmark = pytest.mark.native

ROOT = Path(__file__).resolve().parents[2]
HI = [{"role": "user", "content": "hi"}]
SMALL = lf.chat.Limits(seconds=3.0, steps=20_000, text=2**20)


@pytest.fixture(scope="module")
def outcomes() -> dict[str, tuple[str, str]]:
    """What became of each template, in a child process that has 512 MB more than it starts with."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "tests/chat/run_hostile.py")],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return {name: (kind, text) for name, (kind, text) in json.loads(done.stdout).items()}


def test_every_template_ends_with_text_or_a_typed_error(outcomes: dict[str, tuple[str, str]]) -> None:
    assert set(outcomes) == set(hostile.ALL)
    assert {name: text for name, (kind, text) in outcomes.items() if kind == "untyped"} == {}


@pytest.mark.parametrize("name", [n for n in hostile.ALL if n.startswith(("endless", "huge"))])
def test_what_is_too_much_is_refused(outcomes: dict[str, tuple[str, str]], name: str) -> None:
    kind, text = outcomes[name]
    if name == "huge: power":
        assert len(text) < 100  # 9 ** 9 ** 9 is (9 ** 9) ** 9 in Jinja
    else:
        assert kind == "error"
        assert "MemoryError" not in text


@pytest.mark.parametrize("name", [n for n in hostile.ALL if n.startswith("escape")])
def test_nothing_of_python_is_reached(outcomes: dict[str, tuple[str, str]], name: str) -> None:
    kind, text = outcomes[name]
    if kind == "text":
        assert text in ("", "[Undefined]")
    else:
        assert any(
            word in text for word in ("unsafe", "SecurityError", "Undefined", "no loader", "KeyError")
        ) or ("TypeError" in text)


def test_what_is_wrong_names_its_line() -> None:
    with pytest.raises(ChatTemplateError, match=r"line 3"):
        lf.chat.apply_template(None, HI, template="a\nb\n{% endif %}")
    with pytest.raises(ChatTemplateError, match="refuses these messages: only users"):
        lf.chat.apply_template(None, HI, template="{{ raise_exception('only users') }}")
    with pytest.raises(ChatTemplateError, match="No filter named 'frobnicate'"):
        lf.chat.apply_template(None, HI, template="{{ 1 | frobnicate }}")


def test_limits_say_what_was_exceeded_and_can_be_set() -> None:
    loop = "{% for i in range(5000) %}x{% endfor %}"
    assert lf.chat.apply_template(None, HI, template=loop) == "x" * 5000
    for limits, words in (
        (lf.chat.Limits(steps=100), "more than 100 steps"),
        (lf.chat.Limits(text=100), "more than 100 characters"),
        (lf.chat.Limits(seconds=0.0), "more than 0.0 seconds"),
        (lf.chat.Limits(template=10), "39 characters; 10 are allowed"),
    ):
        with pytest.raises(ChatTemplateError, match=words):
            lf.chat.apply_template(None, HI, template=loop, limits=limits)
    with pytest.raises(ArgumentTypeError, match="Limits"):
        lf.chat.apply_template(None, HI, template=loop, limits=10)  # type: ignore[arg-type]


def test_what_users_write_counts_towards_the_limit_on_text() -> None:
    template = "{% for m in messages %}<{{ m.content | trim }}>{% endfor %}"
    content = "x" * (10 * 2**20)
    text = lf.chat.apply_template(
        None, [{"role": "user", "content": content}], template=template, limits=lf.chat.Limits(text=0)
    )
    assert len(text) == len(content) + 2


def test_limits_are_those_of_a_thread() -> None:
    loop = "{% for i in range(5000) %}{{ i }}{% endfor %}"
    texts: list[str] = []
    threads = [
        threading.Thread(
            target=lambda: texts.append(lf.chat.apply_template(None, HI, template=loop, limits=SMALL))
        )
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert texts == ["".join(map(str, range(5000)))] * 4


def test_templates_do_not_change_what_they_are_given() -> None:
    messages = [{"role": "user", "content": ["hi"], "more": {"a": [1]}}]
    before = json.dumps(messages)
    for attack in ("messages.append(1)", "messages[0].update(a=1)", "messages[0].more.a.clear()"):
        with pytest.raises(ChatTemplateError):
            lf.chat.apply_template(None, messages, template="{{ " + attack + " }}")
    assert json.dumps(messages) == before


class Trap(str):
    """Text with a method that a template must never reach."""

    def detonate(self) -> str:
        raise SystemExit("reached")


class Unprintable:
    def __repr__(self) -> str:
        raise SystemExit("reached")


def test_objects_of_the_caller_do_not_reach_the_template() -> None:
    messages = [{"role": Trap("user"), "content": Trap("hi")}]
    for template in ("{{ messages[0].content.detonate() }}", "{{ messages[0].role.detonate() }}"):
        with pytest.raises(ChatTemplateError, match="detonate"):
            lf.chat.apply_template(None, messages, template=template)
    with pytest.raises(ArgumentTypeError, match=r"messages\[0\]\['image'\] must be text.*not Unprintable"):
        lf.chat.apply_template(
            None, [{"role": "user", "content": "", "image": Unprintable()}], template="{{ 1 }}"
        )
    with pytest.raises(ArgumentTypeError, match="extra must be text"):
        lf.chat.apply_template(None, HI, template="{{ 1 }}", extra=print)


@pytest.mark.parametrize(
    ("messages", "error", "words"),
    [
        ("hi", ArgumentTypeError, "must be a list such as"),
        ({"role": "user", "content": "hi"}, ArgumentTypeError, "not dict"),
        (None, ArgumentTypeError, "not NoneType"),
        ([], InvalidArgumentError, "no messages"),
        (["hi"], ArgumentTypeError, r"messages\[0\] must be a dict"),
        ([{"content": "hi"}], InvalidArgumentError, "needs a role"),
        ([{"role": "", "content": "hi"}], InvalidArgumentError, "needs a role"),
        ([{"role": 1, "content": "hi"}], InvalidArgumentError, "needs a role"),
        ([{"role": "user", "content": 1}], ArgumentTypeError, "text, a list of parts or None, not int"),
        ([{"role": "user", "content": b"hi"}], ArgumentTypeError, "not bytes"),
        ([{"role": "user", 1: "hi"}], ArgumentTypeError, "keys"),
    ],
)
def test_messages_that_are_none(messages: object, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        lf.chat.apply_template(None, messages, template="{{ 1 }}")  # type: ignore[arg-type]


def test_messages_that_are_nested_too_deeply() -> None:
    value: list[object] = []
    for _ in range(100_000):
        value = [value]
    with pytest.raises(InvalidArgumentError, match="nested too deeply"):
        lf.chat.apply_template(None, [{"role": "user", "content": value}], template="{{ 1 }}")
    while value:  # taken apart without recursion
        value = value[0]  # type: ignore[assignment]


def test_other_arguments_that_are_wrong(model: lf.Model) -> None:
    for kwargs, error in (
        ({"template": 1}, ArgumentTypeError),
        ({"template": ""}, InvalidArgumentError),
        ({"template": "chatlm"}, ChatTemplateError),
        ({"template": "{{ 1 }}", "tools": "weather"}, ArgumentTypeError),
        ({"template": "{{ 1 }}", "tools": ["weather"]}, ArgumentTypeError),
        ({"template": "{{ 1 }}", "documents": [1]}, ArgumentTypeError),
        ({"template": "{{ 1 }}", "now": "today"}, ArgumentTypeError),
        ({"template": "chatml", "tools": [{}]}, ChatTemplateError),
        ({"template": "chatml", "enable_thinking": True}, ChatTemplateError),
    ):
        with pytest.raises(error):
            lf.chat.apply_template(model, HI, **kwargs)  # type: ignore[arg-type]
    with pytest.raises(InvalidArgumentError, match="without a model"):
        lf.chat.apply_template(None, HI)
    with pytest.raises(ArgumentTypeError, match="Model"):
        lf.chat.apply_template("model.gguf", HI)  # type: ignore[arg-type]
    with pytest.raises(ArgumentTypeError, match="Model"):
        lf.chat.tokenize(None, HI, template="{{ 1 }}")  # type: ignore[arg-type]


def test_a_model_without_a_template_says_what_to_do(source: Path) -> None:
    with lf.Model.load(source / "models/ggml-vocab-llama-spm.gguf", vocab_only=True) as model:
        with pytest.raises(ChatTemplateError, match=r"no chat template.*chatml"):
            lf.chat.apply_template(model, HI)


TEXTS = ["", "x", "<|im_end|>", " ", "\n", "{{", "}}", "{%", "%}", "{#", "#}"]
WORDS = [
    "messages",
    "m",
    "m.content",
    "loop.index",
    "x",
    "'a'",
    "1",
    "0",
    "-1",
    "99999",
    "none",
    "[]",
    "{}",
    "(1,)",
]
FILTERS = [
    "trim",
    "upper",
    "list",
    "length",
    "tojson",
    "join",
    "string",
    "first",
    "sum",
    "sort",
    "items",
    "int",
]
OPERATORS = ["+", "*", "~", "%", "**", "-", "==", "in", "and", "if", "is", ","]
ATOM = st.sampled_from(WORDS)
EXPRESSION = st.recursive(
    ATOM,
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(OPERATORS), inner).map(" ".join),
        st.tuples(inner, st.sampled_from(FILTERS)).map(" | ".join),
        inner.map(lambda e: f"({e})"),
        inner.map(lambda e: f"[{e}]"),
        st.tuples(inner, inner).map(lambda e: f"{e[0]}[{e[1]}]"),
        st.tuples(inner, inner).map(lambda e: f"{e[0]}.replace({e[1]}, 'yy')"),
        st.tuples(inner, inner).map(lambda e: f"{e[0]}.join({e[1]})"),
        st.tuples(inner, inner).map(lambda e: f"range({e[0]}, {e[1]})"),
        inner.map(lambda e: f"namespace(x={e})"),
    ),
    max_leaves=6,
)
STATEMENT = st.one_of(
    st.sampled_from(TEXTS),
    EXPRESSION.map(lambda e: "{{ " + e + " }}"),
    EXPRESSION.map(lambda e: "{% set x = " + e + " %}"),
    st.tuples(EXPRESSION, EXPRESSION).map(
        lambda e: "{% for m in " + e[0] + " %}{{ " + e[1] + " }}{% set x = x ~ m %}{% endfor %}"
    ),
    st.tuples(EXPRESSION, EXPRESSION).map(lambda e: "{% if " + e[0] + " %}{{ " + e[1] + " }}{% endif %}"),
)


@settings(max_examples=200, deadline=None)
@given(parts=st.lists(STATEMENT, max_size=6))
def test_random_templates_give_text_or_a_typed_error(parts: list[str]) -> None:
    try:
        text = lf.chat.apply_template(None, HI, template="{{ 1 }}" + "".join(parts), limits=SMALL)
    except ChatTemplateError:
        return
    assert type(text) is str


@settings(max_examples=100, deadline=None)
@given(
    template=st.text(min_size=1, max_size=60),
    content=st.text(st.characters(exclude_categories=[]), max_size=40),
)
def test_any_text_is_a_template_and_a_content(template: str, content: str) -> None:
    messages = [{"role": "user", "content": content}]
    try:
        lf.chat.apply_template(None, messages, template="{{ 1 }}" + template, limits=SMALL)
    except ChatTemplateError:
        pass
    assert lf.chat.apply_template(None, messages, template="{{ messages[0].content }}") == content
