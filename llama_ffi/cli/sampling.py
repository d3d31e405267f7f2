"""The options that `generate` and `chat` share: the model, its threads, and how tokens are chosen."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from .text import one_line


def add_model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-m", "--model", metavar="FILE", help="a GGUF file (default: the model that ships)")


def add_computing(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-c", "--ctx-size", type=int, default=0, metavar="N", help="context in tokens (default: the model's)"
    )
    parser.add_argument(
        "-t", "--threads", type=int, metavar="N", help="CPU threads (default: the cores; 1 if small)"
    )
    parser.add_argument(
        "--n-gpu-layers",
        type=_layers,
        metavar="N",
        help="layers to keep on GPUs; auto = as many as fit (default: all)",
    )
    parser.add_argument(
        "--device",
        action="append",
        metavar="NAME,…",
        help="devices to use, by the names that `llama-ffi info` shows; CPU = no GPU (default: all)",
    )
    parser.add_argument(
        "--rpc",
        action="append",
        metavar="HOST:PORT,…",
        help="workers whose devices to use as well, see `llama-ffi rpc-worker`",
    )


def open_model(args: argparse.Namespace, *, isolate: bool = False) -> Any:
    """Return the model that `add_model` and `add_computing` have parsed.

    `isolate`: on RPC workers it runs in a process of its own, so that the loss of one is an error.
    """
    import llama_ffi

    path = llama_ffi.tiny_model_path() if args.model is None else args.model
    options: dict[str, Any] = {"n_gpu_layers": args.n_gpu_layers}
    if args.n_gpu_layers == "auto" and args.ctx_size > 0:
        options["fit_context"] = {"n_ctx": args.ctx_size}
    devices = _listed("--device", args.device)
    if devices is not None:
        options["devices"] = [] if devices in (["none"], ["CPU"], ["cpu"]) else devices
    workers = _listed("--rpc", args.rpc)
    if workers is not None:
        options |= {"rpc": workers, "isolate": isolate}
    model = llama_ffi.Model.load(path, **options)
    if devices is None:
        _tell_what_is_idle()
    return model


def _tell_what_is_idle() -> None:
    """Say on stderr which installed plugin does nothing: who installs one for his GPU wants to know."""
    from llama_ffi import backend_modules
    from llama_ffi.backend_files import no_device

    for module in backend_modules():
        cure, problem = module.cure, module.problem.removeprefix(f"{module.path}: ")
        if module.loaded and not module.devices:
            cure, problem = no_device(module.name), "it finds no device"
        if cure and sys.stderr is not None:
            words = one_line(
                f"the back end {module.name} isn't used: {problem}. {cure[:1].upper()}{cure[1:]}"
            )
            print(f"llama-ffi: note: {words}", file=sys.stderr)


def _layers(text: str) -> int | str:
    try:
        return text if text == "auto" else int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is neither a number nor auto") from None


def _listed(option: str, given: list[str] | None) -> list[str] | None:
    if given is None:
        return None
    names = [name.strip() for text in given for name in text.split(",") if name.strip()]
    if not names:  # a variable of the shell that isn't set, most likely
        from llama_ffi.errors import InvalidArgumentError

        raise InvalidArgumentError(f"{option} names nothing: {given[0]!r}")
    return names


def add_sampling(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--temp", type=float, default=0.8, metavar="T", help="temperature, 0 = greedy (default: 0.8)"
    )
    parser.add_argument(
        "--top-k", type=int, default=40, metavar="K", help="keep the K likeliest, 0 = all (default: 40)"
    )
    parser.add_argument(
        "--top-p", type=float, default=0.95, metavar="P", help="nucleus, 1 = off (default: 0.95)"
    )
    parser.add_argument(
        "--min-p", type=float, default=0.05, metavar="P", help="least relative probability (default: 0.05)"
    )
    parser.add_argument(
        "-s", "--seed", type=int, metavar="S", help="random seed (default: another one each time)"
    )

    form = parser.add_mutually_exclusive_group()
    form.add_argument(
        "--json-schema", metavar="FILE", help="write JSON of this schema: a file, or the schema, as {…}"
    )
    form.add_argument("--regex", metavar="PATTERN", help="write text that this regular expression matches")
    form.add_argument("--lark", metavar="FILE", help="write text of this Lark grammar: a file")
    form.add_argument("--grammar", metavar="FILE", help="write text of this GBNF grammar: a file")


def sampling(args: argparse.Namespace) -> dict[str, Any]:
    """Return what `add_sampling` has parsed as arguments of the library."""
    options = {name: getattr(args, name) for name in ("temp", "top_k", "top_p", "min_p", "seed", "regex")}
    for name in ("json_schema", "lark", "grammar"):
        value = getattr(args, name)
        inline = name == "json_schema" and value is not None and value.lstrip().startswith("{")
        options[name] = value if value is None or inline else _read(name, value)
    return options


def _read(name: str, path: str) -> str:
    from llama_ffi.errors import InvalidArgumentError

    option = "--" + name.replace("_", "-")
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except OSError as error:
        raise InvalidArgumentError(f"{option}: {path!r} can't be read: {error.strerror}") from None
    except ValueError as error:  # not UTF-8, or a NUL in the name
        raise InvalidArgumentError(f"{option}: {path!r}: {error}") from None
