"""States belong to the adapters that were in use: what they have computed is no other model's."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest

import llama_ffi as lf
from llama_ffi.errors import StateError, StateMismatchError

pytestmark = pytest.mark.model


def test_states_belong_to_their_adapters(ctx: lf.Context, lora_path: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.gguf"
    copy.write_bytes(lora_path.read_bytes())
    with ctx.model.load_lora(lora_path) as lora, ctx.model.load_lora(copy) as same:
        ctx.set_loras([(lora, 0.5)])
        ctx.decode(lf.Batch.from_tokens([1, 5, 6]))
        stream = io.BytesIO()
        lf.StateFile.save(ctx, stream, [1, 5, 6])

        def load() -> None:
            stream.seek(0)
            lf.StateFile.load(ctx, stream)

        ctx.set_loras([(same, 0.5)])
        load()
        for others in ([], [(lora, 1.0)], [(lora, 0.5), (same, 0.5)]):
            ctx.set_loras(others)
            with pytest.raises(StateMismatchError, match=r"^loras:"):
                load()
        ctx.set_loras([(lora, 0.5)])
        ctx.set_control_vector(np.ones((1, ctx.model.n_embd), np.float32))
        with pytest.raises(StateMismatchError, match=r"^control_vector:"):
            load()
        ctx.set_control_vector(None)
        load()
        ctx.set_loras([(same, 0.5)])
        copy.unlink()
        with pytest.raises(StateError, match="is gone"):
            load()
