"""A program for the classes of today's cyllama; prints all it finds out as JSON.

`python cyllama_today.py MODULE MODEL`, with cyllama's own module or ours.
"""

from __future__ import annotations

import importlib
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

cy: Any = importlib.import_module(sys.argv[1])
cy.disable_logging()
found: dict[str, Any] = {}

params = cy.LlamaModelParams()
params.use_mmap = False
model = cy.LlamaModel(path_model=sys.argv[2], params=params)
for name in ("n_ctx_train", "n_embd", "n_embd_inp", "n_layer", "n_head", "n_head_kv", "n_params", "size"):
    found[name] = int(getattr(model, name))
found["kinds"] = [
    model.has_encoder(),
    model.has_decoder(),
    model.is_recurrent(),
    model.is_hybrid(),
    model.decoder_start_token(),
    int(model.rope_type),
    float(model.rope_freq_scale_train),
]
entries = model.metadata()
found["metadata"] = dict(sorted(entries.items()))
keys = sorted(model.meta_key_by_index(index) for index in range(model.meta_count()))
found["values"] = {key: model.meta_val_str(key) for key in keys}
found["template"] = model.get_default_chat_template()
messages = [cy.LlamaChatMessage(role="user", content="hi"), cy.LlamaChatMessage("assistant", "yes")]
found["chat"] = model.chat_apply_template("chatml", messages, True)

vocab = model.get_vocab()
text = "Once upon a time, there was a brave girl."
tokens = vocab.tokenize(text, True, True)
found["tokens"] = tokens
found["text"] = vocab.detokenize(tokens)
found["pieces"] = [vocab.token_to_piece(token, 0, True) for token in range(0, int(vocab.n_vocab), 7)]
found["attributes"] = [int(vocab.get_attr(token)) for token in range(0, int(vocab.n_vocab), 7)]
found["scores"] = [vocab.get_score(token) for token in range(0, int(vocab.n_vocab), 7)]
SPECIAL = (
    "token_bos token_eos token_eot token_sep token_nl token_pad fim_prefix fim_middle fim_suffix fim_pad "
    "fim_rep fim_sep get_add_bos get_add_eos get_add_sep"
)
found["special"] = [getattr(vocab, name)() for name in SPECIAL.split()]
found["ends"] = [token for token in range(int(vocab.n_vocab)) if vocab.is_eog(token)]

options = cy.LlamaContextParams()
options.n_ctx, options.n_batch, options.n_threads, options.n_threads_batch = 256, 64, 1, 1
options.flash_attn_type = 0
ctx = cy.LlamaContext(model=model, params=options)
found["sizes"] = [int(ctx.n_ctx), int(ctx.n_batch), int(ctx.n_seq_max), int(ctx.pooling_type)]


def story(sampler: Any, count: int) -> str:
    ctx.kv_cache_clear()
    batch = cy.LlamaBatch(n_tokens=64, embd=0, n_seq_max=1)
    batch.set_batch(tokens, 0, False)
    said, pos = "", len(tokens)
    for _ in range(count):
        assert ctx.decode(batch) == 0
        token = sampler.sample(ctx, -1)
        if vocab.is_eog(token):
            break
        said += vocab.token_to_piece(token)
        batch.clear()
        batch.add(token, pos, [0], True)
        pos += 1
    return said


greedy = cy.LlamaSampler(cy.LlamaSamplerChainParams())
greedy.add_greedy()
found["greedy"] = story(greedy, 40)
chain = cy.LlamaSampler(cy.LlamaSamplerChainParams())
chain.add_penalties(16, 1.1, 0.0, 0.0)
chain.add_top_k(40)
chain.add_top_p(0.95, 1)
chain.add_temp(0.5)
chain.add_greedy()  # the order in which dist draws has changed between the two releases of llama.cpp
found["chain"] = story(chain, 40)
limited = cy.LlamaSampler(cy.LlamaSamplerChainParams())
limited.add_grammar(vocab, 'root ::= " yes" | " no"', "root")
limited.add_greedy()
found["limited"] = story(limited, 5)

ctx.kv_cache_clear()
ctx.decode(cy.llama_batch_get_one(tokens))
found["positions"] = [ctx.memory_seq_pos_min(0), ctx.memory_seq_pos_max(0)]
found["removed"] = [ctx.memory_seq_rm(0, 4, -1), ctx.memory_seq_pos_max(0)]
with tempfile.TemporaryDirectory() as folder:
    file = str(Path(folder) / "state")
    ctx.save_state_file(file, tokens[:4])
    ctx.kv_cache_clear()
    found["loaded"] = [list(ctx.load_state_file(file)), ctx.memory_seq_pos_max(0)]

errors = []
for call in (
    lambda: cy.LlamaModel(path_model="/nowhere/model.gguf"),
    lambda: ctx.decode(cy.LlamaBatch(n_tokens=4, embd=0, n_seq_max=1)),
    lambda: model.meta_val_str("no.such.key"),
    lambda: model.meta_key_by_index(10_000),
    lambda: model.lora_adapter_init("/nowhere/lora.gguf"),
    lambda: ctx.load_state_file("/nowhere/state"),
    lambda: cy.LlamaBatch(n_tokens=1, embd=0, n_seq_max=1).add_sequence([1, 2], 0, False),
):
    caught = ""
    for kind in (FileNotFoundError, IndexError, ValueError):
        try:
            call()
        except kind:
            caught = kind.__name__
            break
        except Exception:
            continue
    errors.append(caught)
found["errors"] = errors
print(json.dumps(found))
