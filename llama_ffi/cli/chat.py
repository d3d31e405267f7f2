"""`llama-ffi chat`: talk with a model.

On a terminal a conversation with line editing; with lines from a pipe each line is what the user says, and
only the answers are printed. Ctrl-C ends the answer, not the conversation; Ctrl-D ends the conversation.
"""

from __future__ import annotations

import argparse
import sys
from contextlib import closing
from importlib import import_module
from typing import TYPE_CHECKING, Any

from .sampling import add_computing, add_model, add_sampling, open_model, sampling
from .text import harmless, one_line, utf8

if TYPE_CHECKING:
    from llama_ffi import ChatSession

HELP = """\
/help          this text
/reset         forget the conversation (the system message stays)
/system TEXT   begin a new conversation with TEXT as its system message
/stats         tokens and speed of the last answer
/quit          leave, like Ctrl-D
//TEXT         say something that begins with a slash
A backslash at the end of a line continues it. Ctrl-C ends an answer."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_model(parser)
    parser.add_argument("--system", metavar="TEXT", help="tell the model about its part first")
    parser.add_argument(
        "--chat-template",
        metavar="NAME",
        help="a format built into llama.cpp, such as chatml, or a file with a Jinja template (default: the "
        "model's own)",
    )
    parser.add_argument(
        "-n", "--max-tokens", type=int, default=-1, metavar="N", help="end an answer after N tokens"
    )
    add_computing(parser)
    add_sampling(parser)


def run(args: argparse.Namespace) -> int:
    with open_model(args) as model:
        conversation = Conversation(model, args, template(args.chat_template))
        with closing(conversation):
            return on_terminal(conversation) if sys.stdin.isatty() else from_pipe(conversation)


def template(name: str | None) -> str | None:
    """Return what `--chat-template` asks for: a name, or what a file of that name holds."""
    import llama_ffi

    if name is None or name in llama_ffi.chat.builtin_templates():
        return name
    try:
        with open(name, encoding="utf-8") as file:
            return file.read()
    except FileNotFoundError:
        names = ", ".join(llama_ffi.chat.builtin_templates())
        raise llama_ffi.errors.ChatTemplateError(
            f"{name!r:.80} is neither a file nor a template built into llama.cpp: {names}"
        ) from None
    except UnicodeDecodeError as error:
        raise llama_ffi.errors.ChatTemplateError(f"{name}: not a template: {error}") from None


class Conversation:
    """A session, how it was asked for, and its last answer."""

    def __init__(self, model: Any, args: argparse.Namespace, template: str | None) -> None:
        import llama_ffi

        self.model = model
        self.args = args
        self.template = template
        # what is wrong with a template shows now, not after the first question
        llama_ffi.chat.apply_template(model, [{"role": "user", "content": "hi"}], template=template)
        self.last: Any = None
        self.session = self.begin(args.system and utf8(args.system, "--system"))

    def begin(self, system: str | None) -> ChatSession:
        import llama_ffi

        return llama_ffi.ChatSession(
            self.model,
            system,
            template=self.template,
            n_ctx=self.args.ctx_size,
            n_threads=self.args.threads,
        )

    def close(self) -> None:
        self.session.close()

    def restart(self, system: str) -> None:
        self.close()
        self.session = self.begin(system)

    def answer(self, text: str) -> None:
        """Print the answer as it comes, on a line of its own; Ctrl-C ends it and is passed on."""
        out = sys.stdout
        last = "\n"
        stream = self.session.say(text, stream=True, max_tokens=self.args.max_tokens, **sampling(self.args))
        try:
            for piece in stream:
                out.write(harmless(piece))
                out.flush()
                last = piece or last
        finally:
            stream.close()
            self.last = stream.reply
            if not last.endswith("\n") or not stream.reply.content:
                out.write("\n")
                out.flush()


def from_pipe(conversation: Conversation) -> int:
    """Answer one line after the other."""
    for line in sys.stdin:
        text = line.rstrip("\n")
        while text.endswith("\\") and (more := sys.stdin.readline()):
            text = text[:-1] + "\n" + more.rstrip("\n")
        if text.strip():
            conversation.answer(text)
    return 0


def on_terminal(conversation: Conversation) -> int:
    """Answer what is typed until Ctrl-D."""
    from llama_ffi import LlamaError

    try:
        import_module("readline")  # line editing and history for input()
    except ImportError:
        pass  # a Python without it still reads lines
    print(f"{harmless(conversation.model.desc)}. /help shows what can be typed; Ctrl-D leaves.")
    while True:
        try:
            if not turn(conversation):
                return 0
        except KeyboardInterrupt:
            print("\n(Ctrl-D leaves)")
        except LlamaError as error:
            print(f"error: {one_line(str(error))}", file=sys.stderr)


def turn(conversation: Conversation) -> bool:
    """Read a message and answer it, or do the command that it is; return whether the conversation goes on."""
    try:
        text = read("> ")
    except EOFError:
        print()
        return False
    if not text.strip():
        return True
    if text.startswith("/") and not text.startswith("//"):
        return command(conversation, text)
    try:
        conversation.answer(text[1:] if text.startswith("//") else text)
    except KeyboardInterrupt:
        pass  # the answer ends here; the conversation goes on
    return True


def read(prompt: str) -> str:
    """Read a message: a line, and those that follow a backslash."""
    text = input(prompt)
    while text.endswith("\\"):
        text = text[:-1] + "\n" + input("… ")
    return text


def command(conversation: Conversation, text: str) -> bool:
    """Do what a line with a slash asks for; return whether the conversation goes on."""
    name, _, rest = text.strip().partition(" ")
    if name == "/help":
        print(HELP)
    elif name == "/reset":
        conversation.session.reset()
        print("(a new conversation)")
    elif name == "/system" and rest.strip():
        conversation.restart(rest.strip())
        print("(a new conversation)")
    elif name == "/stats":
        print(stats(conversation.last))
    elif name in ("/quit", "/exit", "/bye"):
        return False
    else:
        print(f"unknown: {one_line(text)}; /help shows what can be typed", file=sys.stderr)
    return True


def stats(reply: Any) -> str:
    """Return a line about an answer."""
    if reply is None:
        return "(no answer yet)"
    usage, times = reply.usage, reply.timings
    computed = usage.prompt_tokens - usage.cached_tokens
    speed = (usage.completion_tokens - 1) / times.completion_seconds if times.completion_seconds > 0 else 0.0
    return (
        f"(prompt: {usage.prompt_tokens} tokens, {computed} computed in {times.prompt_seconds:.2f} s; "
        f"answer: {usage.completion_tokens} tokens, {speed:.1f} per second; ended by: {reply.finish_reason})"
    )
