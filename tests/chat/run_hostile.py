"""Render every hostile template in a process with little memory; print what came out, as JSON."""

from __future__ import annotations

import json
import resource
import sys
from pathlib import Path

import llama_ffi as lf
from llama_ffi.errors import ChatTemplateError
from tests.chat import hostile

LIMITS = lf.chat.Limits(seconds=0.5, steps=30_000, text=2**22)


def main() -> None:
    lf.chat.builtin_templates()  # the library is loaded
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + 2**29, used + 2**29))
    results = {}
    for name, template in hostile.ALL.items():
        try:
            text = lf.chat.apply_template(
                None, [{"role": "user", "content": "hi"}], template=template, limits=LIMITS
            )
            results[name] = ["text", text[:1000].encode("utf-8", "replace").decode()]
        except ChatTemplateError as error:
            results[name] = ["error", str(error).encode("utf-8", "replace").decode()]
        except BaseException as error:
            results[name] = ["untyped", f"{type(error).__name__}: {error}"[:200]]
    json.dump(results, sys.stdout)


if __name__ == "__main__":
    main()
