"""cyllama's high level: one question, one answer.

Everywhere in cyllama ``n_predict`` counts the prompt's tokens too, and so it does here.
"""

from __future__ import annotations

import os
from types import TracebackType

from ...errors import InvalidArgumentError
from ...model import Model
from ...sampler import SamplerChain


def ask(
    prompt: str,
    model: str | os.PathLike[str],
    n_predict: int = 512,
    n_ctx: int = 2048,
    disable_log: bool = True,
    n_threads: int = -1,
) -> str:
    """Let a model continue a prompt, greedily.

    Arguments:
        prompt: the text; no chat template is applied.
        model: the model's file.
        n_predict: tokens in all, the prompt included.
        n_ctx: the context, in tokens.
        disable_log: without effect: llama.cpp's log goes to ``logging``, and is quiet by default.
        n_threads: threads; -1 = the safe layer chooses by the size of the model (cyllama takes 4).

    Returns:
        what the model says, up to the end of its text, without white space around.

    Raises:
        InvalidArgumentError: the prompt alone has ``n_predict`` tokens; ``n_predict`` is above the context.
        ModelLoadError, ContextCreateError: as :meth:`llama_ffi.Model.load`, :class:`llama_ffi.Context`.

    Threads: any.
    """
    with Llama(model, n_predict, n_ctx, disable_log, n_threads) as llama:
        return llama.ask(prompt)


class Llama:
    """A model that is asked again and again.

    Arguments:
        model_path, n_predict, n_ctx, disable_log, n_threads: as for :func:`ask`.

    Raises:
        ModelLoadError: as :meth:`llama_ffi.Model.load`.

    Threads: one at a time.
    """

    __slots__ = ("disable_log", "model_path", "n_ctx", "n_predict", "n_threads", "safe")

    safe: Model
    """llama_ffi's model under it"""

    def __init__(
        self,
        model_path: str | os.PathLike[str],
        n_predict: int = 512,
        n_ctx: int = 2048,
        disable_log: bool = True,
        n_threads: int = -1,
    ) -> None:
        self.safe = Model.load(model_path)
        self.model_path = os.fsdecode(model_path)
        self.n_predict = n_predict
        self.n_ctx = n_ctx
        self.disable_log = disable_log
        self.n_threads = n_threads

    def __repr__(self) -> str:
        return f"<llama_ffi.compat.cyllama.Llama of {self.safe!r}>"

    def ask(self, prompt: str, n_predict: int | None = None, n_ctx: int | None = None) -> str:
        """Let the model continue a prompt, greedily; see :func:`ask`.

        Arguments:
            prompt: the text.
            n_predict, n_ctx: None = what the object was made with.
        """
        limit = self.n_predict if n_predict is None else n_predict
        room = self.n_ctx if n_ctx is None else n_ctx
        tokens = self.safe.vocab.tokenize(prompt)
        if not isinstance(limit, int) or limit <= len(tokens):
            raise InvalidArgumentError(
                f"n_predict is {limit!r:.40}, and the prompt alone has {len(tokens)} tokens; n_predict "
                f"counts both"
            )
        threads = None if self.n_threads == -1 else self.n_threads
        chain = SamplerChain()
        chain.add_greedy()
        with self.safe.session(n_ctx=room, sampler=chain, n_threads=threads) as session:
            if limit > session.context.n_ctx:
                raise InvalidArgumentError(
                    f"n_predict is {limit}, and the context has {session.context.n_ctx} tokens; reduce "
                    f"n_predict or increase n_ctx"
                )
            session.feed(tokens)
            return "".join(session.generate(limit - len(tokens))).strip()

    def close(self) -> None:
        """Free the model; a second call does nothing."""
        self.safe.close()

    def __enter__(self) -> Llama:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.close()
