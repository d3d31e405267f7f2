"""A process that saves a state, for the tests that kill it.

    python -m tests.state.saver PATH [ROUNDS]

The state grows by a token with each save, so that any two of them differ. A first save to another file has
everything imported that a save needs; then the preloaded killer, if there is one, is armed.
"""

from __future__ import annotations

import ctypes
import sys

import llama_ffi as lf

from .conftest import SMALL, feed


def main(path: str, rounds: int) -> None:
    with lf.Model.load(lf.tiny_model_path()) as model, model.context(**SMALL) as ctx:
        tokens = [1, 500, 600]
        feed(ctx, tokens)
        lf.StateFile.save(ctx, path + "-first", tokens)
        killer = ctypes.CDLL(None)
        for index in range(rounds):
            print("save", flush=True)
            if hasattr(killer, "killer_arm"):
                killer.killer_arm()
            lf.StateFile.save(ctx, path, tokens, extra={"round": index})
            if hasattr(killer, "killer_disarm"):
                killer.killer_disarm()
            feed(ctx, [700 + index], len(tokens))
            tokens.append(700 + index)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 1)
