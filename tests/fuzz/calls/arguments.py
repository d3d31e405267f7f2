"""What a parameter usually gets: by its name, sometimes by the call's name too."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.fuzz.calls.world import World

Make = Callable[["World", random.Random], Any]


def one_of(*values: Any) -> Make:
    return lambda world, rnd: rnd.choice(values)


def between(low: int, high: int) -> Make:
    return lambda world, rnd: rnd.randint(low, high)


def real(low: float, high: float) -> Make:
    return lambda world, rnd: round(rnd.uniform(low, high), 3)


def some(cls: str) -> Make:
    return lambda world, rnd: world.instance(cls, rnd)


def tokens(world: World, rnd: random.Random) -> Any:
    made = [rnd.randint(3, 140) for _ in range(rnd.randint(1, 12))]
    return {"array": ["int32", made]} if rnd.random() < 0.3 else made


def new_path(suffix: str) -> Make:
    return lambda world, rnd: {"path": f"out{rnd.randint(0, 9)}{suffix}"}


def alike(names: str, make: Make) -> dict[str, Make]:
    return dict.fromkeys(names.split(), make)


PIECE = b"0123456789abcdef"
TEXTS = ("Once upon a time", "hello", "a b c", "1 2 3", "the end.", "", "é ü", "<s>[INST]</s>")
GRAMMARS = (
    'root ::= "a"? "b"',
    'root ::= ("a" | "b")+',
    'root ::= "yes" | "no"',
    "root ::= [a-z]+",
    'root ::= "a" root | "b"',
)
SHAPES = ([4, 2], [32], [8])

FLAG = one_of(True, False)
NOTHING = one_of(None)

BY_CALL: dict[str, Make] = {
    "Batch.capacity": between(1, 40),
    "Batch.from_embeddings.embeddings": one_of({"normal": [1, 3, 32]}),
    "Batch.set_embeddings.embeddings": one_of({"normal": [1, 3, 32]}),
    "Batch.from_embeddings.capacity": one_of(None, 16, 64),
    "Batch.from_tokens.capacity": one_of(None, 16, 64),
    "Batch.add.pos": between(0, 12),
    "Candidates.keep.which": one_of({"slice": [0, 3]}, [0, 1], {"array": ["int32", [0]]}),
    "Candidates.logits": lambda world, rnd: {"normal": [rnd.randint(0, 99), rnd.choice((1, 5, 410, 2157))]},
    "Context.set_control_vector.vector": lambda world, rnd: world.control_vector(rnd),
    "Context.set_sampler.chain": lambda world, rnd: (
        None if rnd.random() < 0.4 else world.instance("SamplerChain", rnd)
    ),
    "Context.set_loras.loras": lambda world, rnd: (
        []
        if rnd.random() < 0.3
        else [{"tuple": [world.instance("LoraAdapter", rnd), rnd.choice((1.0, 0.5, 0))]}]
    ),
    "Context.decode.batch": lambda world, rnd: (
        world.call("Batch.from_tokens", rnd) or world.instance("Batch", rnd)
    ),
    "Context.attach_threadpool.batch_pool": lambda world, rnd: None,
    "GgufContext.from_file_object.file": one_of({"file": "llama.gguf"}, {"file": "lora.gguf"}),
    "GgufContext.load.path": one_of(
        {"path": "llama.gguf"}, {"path": "lora.gguf"}, {"path": "quantized.gguf"}
    ),
    "GgufContext.update.other": lambda world, rnd: rnd.choice(
        ({"dict": [["a.b", 3]]}, world.instance("gguf.GgufContext", rnd))
    ),
    "Sampler.pointer": one_of({"raw": "greedy"}, {"raw": "without clone"}, {"raw": "NULL"}),
    "Sampler.adaptive_p.target": real(0, 1),
    "SamplerChain.add_adaptive_p.target": real(0, 1),
    "Model.load.path": lambda world, rnd: {"path": rnd.choice(("llama", "gpt2", "bert", "mamba")) + ".gguf"},
    "Model.load_lora.path": one_of({"path": "lora.gguf"}),
    "LoraAdapter.path": one_of({"path": "lora.gguf"}),
    "LoraAdapter.model": lambda world, rnd: {"slot": "llama"},
    "read_control_vector.path": one_of({"path": "control.gguf"}),
    "ImportanceMatrix.load.path": one_of({"path": "imatrix.gguf"}),
    "Model.save_to_file.path": new_path(".gguf"),
    "Model.session.n_forks": one_of(0, 1),
    "PromptCache.save.path": new_path(".session"),
    "PromptCache.save.tokens": tokens,
    "Session.save.path": new_path(".state"),
    "StateFile.save.tokens": lambda world, rnd: world.kept_tokens(rnd),
    "StateStore.put.tokens": lambda world, rnd: world.kept_tokens(rnd),
    "StateStore.get.target": lambda world, rnd: world.instance(rnd.choice(("Session", "Context")), rnd),
    "StateStore.put.source": lambda world, rnd: world.instance(rnd.choice(("Session", "Context")), rnd),
    "StateStore.upload.size": between(16, 16),
    "Upload.write.offset": one_of(0, 0, 8),
    "Upload.write.piece": one_of({"bytes": PIECE.hex()}, {"bytes": PIECE[:8].hex()}),
    "Sampler.logit_bias.biases": lambda world, rnd: {"dict": [[rnd.randint(0, 99), 1.5]]},
    "SamplerChain.add_logit_bias.biases": lambda world, rnd: {"dict": [[rnd.randint(0, 99), 1.5]]},
    "SamplerChain.copy_state.source": some("SamplerChain"),
    "SamplerChain.remove.index": between(0, 1),
    "Sampler.custom.sampler": one_of({"function": "none"}, {"function": "raises"}, {"function": "back"}),
    "SamplerChain.add_custom.sampler": one_of(
        {"function": "none"}, {"function": "raises"}, {"function": "back"}
    ),
    "Backend.function.name": one_of("ggml_backend_set_n_threads", "nothing"),
    "Backend.find.name": one_of("CPU", "cpu"),
    "Device.find.name": one_of("CPU", "cpu"),
    "Dataset.rows": lambda world, rnd: [
        [rnd.randint(3, 140) for _ in range(256)] for _ in range(rnd.randint(1, 2))
    ],
    "Trainer.n_ctx": one_of(256),
    "Trainer.model": lambda world, rnd: {"slot": "random"},
    "Trainer.fit.epochs": between(1, 1),
    "GgufContext.add_tensor.data": lambda world, rnd: None,
    "GgufContext.set_tensor_data.data": lambda world, rnd: {"normal": [1, *rnd.choice(SHAPES)]},
    "GgufWriter.add_tensor.data": lambda world, rnd: {"normal": [1, *rnd.choice(SHAPES)]},
    "GgufWriter.path": new_path(".gguf"),
    "gguf.write.path": new_path(".gguf"),
    "Model.load.rpc": NOTHING,
    "plan_layers.rpc": NOTHING,
    "plan_layers.measure": one_of(None, True, False),
    "plan_layers.path": one_of({"path": "llama.gguf"}, {"path": "gpt2.gguf"}, {"path": "mamba.gguf"}),
    "estimate_memory.path": one_of({"path": "llama.gguf"}, {"path": "gpt2.gguf"}, {"path": "mamba.gguf"}),
    "log.forward.function": one_of(None, {"function": "none"}, {"function": "back"}, {"function": "raises"}),
    "GgufContext.from_bytes.data": one_of({"content": "llama.gguf"}, {"content": "lora.gguf"}),
    "Sampler.lark.grammar": one_of('start: "a" | "b"'),
    "SamplerChain.add_lark.grammar": one_of('start: "a" | "b"'),
    "ImportanceMatrix.values.name": one_of("a"),
    "quantize.type": one_of("f16", "q8_0", "q4_0", "copy"),
    "quantize.output": new_path(".gguf"),
    "gguf.edit.source": one_of({"path": "llama.gguf"}, {"path": "lora.gguf"}),
    "gguf.edit.target": new_path(".gguf"),
    "gguf.edit.set": lambda world, rnd: {"dict": [["general.name", "a"]]},
    "testing.save_random_model.path": new_path(".gguf"),
    "testing.random_weights.name": one_of("blk.0.attn_q.weight", "output_norm.weight"),
    "log.to_file.path": new_path(".log"),
    "Field.value": one_of(1),
    "Vocab.tokenize.text": one_of(*TEXTS, {"bytes": "f4a0a0a041"}, {"bytes": "c328"}, {"text": "long"}),
    "splits.path.prefix": one_of("a", "model"),
    "splits.prefix.path": one_of("model-00001-of-00002.gguf", {"path": "split-00001-of-00002.gguf"}),
    "splits.parts.path_of_one": one_of({"path": "split-00001-of-00002.gguf"}),
    "Memory.seq_div.d": between(1, 3),
    "perplexity.n_ctx": one_of(0, 8, 16),
    "gguf.ImportanceMatrix.load.path": one_of({"path": "imatrix.gguf"}),
}

BY_NAME: dict[str, Make] = {
    "pointer": one_of({"raw": "greedy"}),
    **alike("parse_special offload_kqv op_offload swa_full no_host use_extra_bufts check_tensors", FLAG),
    **alike("strict add_special remove_special unparse_special normalize truncate vocab_only", FLAG),
    **alike("add_generation_prompt mmap pad_end legacy selects reorders no_alloc load_mtp", FLAG),
    **alike("system template tools variables limits now", NOTHING),
    **alike("tb _error _tb bindings library default labels positions validation", NOTHING),
    "place": one_of({"libraries": ""}),
    **alike("rope_freq_base rope_freq_scale", one_of(0.0, 10000.0, 0.5)),
    **alike("yarn_ext_factor yarn_attn_factor yarn_beta_fast yarn_beta_slow", one_of(-1.0, 1.0)),
    **alike("on_token on_epoch", one_of(None, {"function": "none"}, {"function": "raises"})),
    **alike("beta1 beta2", real(0, 0.99)),
    **alike("penalty_freq penalty_present", real(-1, 1)),
    **alike("type_k type_v", one_of("f16", "f16", "f32", "bf16", "q8_0", "q4_0")),
    **alike("allow_requantize quantize_output_tensor only_copy pure keep_split dry_run", FLAG),
    **alike("output_tensor_type token_embedding_type", one_of(None, "f16", "q8_0")),
    "imatrix": one_of(None, {"path": "imatrix.gguf"}),
    "max_buf_size": one_of(0, 2**20),
    "prune_layers": one_of({"tuple": []}, [1]),
    "tensor_types": one_of(None, {"dict": [["ffn_up", "f16"]]}),
    "fit_context": NOTHING,
    "margin": one_of(0, 2**20),
    "endpoint": one_of("127.0.0.1:1"),
    "json_schema": one_of(None, {"dict": [["type", "boolean"]]}),
    "lark": NOTHING,
    "pattern": one_of("[a-z]+", "yes|no"),
    "regex": one_of(None, "[a-z]+"),
    "rpc": one_of("127.0.0.1:1"),
    "schema": one_of({"dict": [["type", "boolean"]]}, {"dict": [["enum", ["a", "b"]]]}, True),
    "timeout": real(0.1, 1),
    "whitespace": one_of("short", "none"),
    "attention_type": one_of(None, "causal", "non_causal"),
    "allowed_length": between(1, 4),
    "chunk_size": between(1, 512),
    "cpus": one_of({"tuple": []}, [0]),
    "ctx_type": one_of(None, "default"),
    "devices": one_of(None, [], ["CPU"]),
    "epsilon": one_of(1e-8),
    "keep": between(0, 8),
    "layer_end": one_of(None, 1, 2),
    "layer_start": one_of(1, 2),
    "lazy_mode": one_of(None, "off", "auto"),
    "load_mode": one_of(None, "none", "mmap", "auto"),
    "main_gpu": one_of(0, -1),
    "n_embd": one_of(0, 32),
    "n_gpu_layers": one_of(0, None),
    "n_outputs_max_per_seq": one_of(0, 1, 2),
    "n_rs_seq": one_of(0, 1),
    "on_tensor": one_of(None, {"function": "none"}, {"function": "look"}, {"function": "raises"}),
    "optimizer": one_of("adamw", "sgd"),
    "owner_quota": one_of(None, 10**6),
    "poll": between(0, 50),
    "priority": one_of("normal", "low"),
    "progress": one_of(None, {"function": "none"}, {"function": "true"}, {"function": "raises"}),
    "remove": one_of({"tuple": []}, ["general.name"]),
    "rename": one_of({"dict": []}),
    "rope_scaling_type": one_of(None, "none", "linear", "yarn"),
    "shuffle": one_of(None, 0),
    "split_mode": one_of(None, "none", "layer"),
    "tensor_buft_overrides": one_of(None, {"dict": [["attn", "CPU"]]}),
    "tensor_names": one_of(None, "*attn*"),
    "tensor_split": one_of(None, [1.0]),
    "weight_decay": real(0, 0.1),
    "yarn_orig_ctx": one_of(0, 64),
    "context": some("Context"),
    "k": between(0, 50),
    "index": one_of(0, 0, 1),
    "output": one_of(True, False),
    "embedding": one_of({"normal": [1, 32]}),
    "state": one_of({"normal": [1, 1, 32]}),
    "encode": one_of(False),
    "ability": one_of("mmap", "mlock", "gpu_offload", "rpc"),
    "adapter": some("LoraAdapter"),
    "as_array": one_of(True, False),
    "at": between(0, 64),
    "base": real(1, 2),
    "batch": some("Batch"),
    "buffer_type": some("BufferType"),
    "candidates": some("Candidates"),
    "causal": one_of(True, False),
    "chunk_count": between(0, 9),
    "compress": one_of(None, 1),
    "count": between(1, 8),
    "ctx": some("Context"),
    "data": one_of({"bytes": "00000000"}),
    "dataset": some("Dataset"),
    "datasets": one_of({"tuple": []}, ["a"]),
    "decay": real(0, 0.99),
    "delta": between(-2, 3),
    "documents": one_of(["one", "two words"]),
    "embeddings": one_of(True, False),
    "entries": lambda world, rnd: {
        "dict": [["a", {"tuple": [{"array": ["float32", [[1.0] * 4]]}, {"array": ["float32", [1.0]]}]}]]
    },
    "eta": real(0, 1),
    "exclude": one_of({"tuple": []}, ["ffn"]),
    "exponent": real(0.5, 2),
    "extra": one_of(None, {"dict": [["a", 1]]}),
    "file": one_of({"file": "llama.gguf"}),
    "fill": one_of(None),
    "flash_attn": one_of(None, False, True),
    "folder": one_of({"path": "store"}),
    "grammar": one_of(*GRAMMARS),
    "i": one_of(-1, -1, 0),
    "ids": one_of(None),
    "include": one_of({"tuple": []}, ["a"]),
    "input": one_of({"path": "llama.gguf"}),
    "isolate": one_of(False),
    "key": one_of("general.architecture", "general.name", "a.b", "llama.block_count"),
    "kind": lambda world, rnd: rnd.choice(("llama", "gpt2", "mamba", "bert", "t5")),
    "kv_overrides": one_of(None),
    "kv_unified": one_of(False, True),
    "learning_rate": one_of(1e-4, {"function": "rate"}, {"function": "raises"}),
    "logits": one_of("last", "all", True, False),
    "m": between(1, 100),
    "max_tokens": between(0, 4),
    "max_windows": between(1, 2),
    "messages": lambda world, rnd: [{"dict": [["role", "user"], ["content", rnd.choice(TEXTS)]]}],
    "metadata": lambda world, rnd: {"dict": [["general.architecture", "llama"], ["a.b", 3]]},
    "min_keep": between(0, 4),
    "min_p": real(0, 0.3),
    "model": some("Model"),
    "multiplier": real(0, 2),
    "n": between(0, 3),
    "n_batch": one_of(8, 16, 32),
    "n_ctx": one_of(0, 32, 64, 128),
    "n_forks": one_of(0, 1),
    "n_outputs_max": one_of(0, 0, 16),
    "n_seq_max": one_of(1, 1, 2, 4),
    "n_threads": one_of(1, 1, 2),
    "n_threads_batch": one_of(None, 1, 2),
    "n_ubatch": one_of(8, 16, None),
    "n_vocab": lambda world, rnd: rnd.choice((2157, 410, 163)),
    "name": lambda world, rnd: rnd.choice(("first", "second", "output.weight", "general.name")),
    "number": between(0, 4),
    "offset": one_of(0, 0, None, 32),
    "on_device": one_of(False),
    "only_meta": one_of(True, False),
    "owner": one_of("", "me"),
    "p": real(0.05, 1),
    "p0": between(-1, 6),
    "p1": between(-1, 9),
    "partial": one_of(False, True),
    "path": one_of(
        {"path": "llama.gguf"}, {"path": "out1.gguf"}, {"path": "out1.state"}, {"path": "out1.session"}
    ),
    "penalty_last_n": between(-1, 64),
    "penalty_repeat": real(1, 2),
    "piece": one_of({"bytes": "c3"}, {"bytes": "a9"}, {"bytes": "6162"}),
    "pool": some("ThreadPool"),
    "pooling": one_of(None, "mean", "last"),
    "pooling_type": one_of("mean", "last", "none"),
    "no_perf": one_of(False),
    "pos": between(0, 12),
    "pos0": one_of(0, 0, 1, 4),
    "prompt": one_of(*TEXTS),
    "query": one_of("one"),
    "quota": one_of(None, 10**6),
    "role": one_of("user"),
    "root": one_of("root"),
    "sampler": lambda world, rnd: world.instance("Sampler" if rnd.random() < 0.8 else "SamplerChain", rnd),
    "seed": between(0, 9),
    "seq_breakers": one_of(["\n"], {"tuple": []}),
    "seq_id": one_of(0, 0, 0, 1),
    "seq_id_dst": one_of(0, 1, 1),
    "seq_id_src": one_of(0),
    "seq_ids": one_of([0], [0, 1], {"tuple": [0]}),
    "sha256": one_of(hashlib.sha256(PIECE).hexdigest()),
    "shape": lambda world, rnd: rnd.choice(SHAPES),
    "size": between(1, 4096),
    "snapshot": some("Snapshot"),
    "source": one_of({"path": "llama.gguf"}, {"path": "out1.state"}, {"path": "out2.state"}),
    "special": one_of(True, False),
    "stop": one_of([], "x", None),
    "strategy": one_of("disabled"),
    "stream": one_of(True, False),
    "stride": one_of(0, 4),
    "t": real(0, 1.5),
    "target": one_of({"path": "out1.state"}, {"path": "out2.state"}),
    "tau": real(1, 6),
    "temp": real(0, 1.5),
    "tensors": lambda world, rnd: {"dict": [["output.weight", {"normal": [1, 4, 4]}]]},
    "text": one_of(*TEXTS),
    "texts": one_of(["a b"], "hello", ["one", "two"]),
    "to": one_of("second", "third"),
    "token": between(3, 140),
    "tokens": tokens,
    "trained": one_of(None),
    "trigger_patterns": one_of({"tuple": []}, ["a"]),
    "trigger_tokens": one_of([5], {"tuple": []}),
    "type": one_of("f32", "u32", "string", None),
    "value": one_of(1, "text", 0.5, [1, 2], ["a"]),
    "version": one_of(3),
    "vocab": some("Vocab"),
    "which": one_of(0),
    "embeddings_enabled": one_of(True),
    "top_k": one_of(40, 1),
    "top_p": real(0.1, 1),
}

CONTEXT = {
    "n_ctx": 1.0,
    "n_batch": 1.0,
    "n_ubatch": 0.3,
    "n_threads": 1.0,
    "n_seq_max": 0.4,
    "kv_unified": 0.3,
    "embeddings": 0.4,
    "flash_attn": 0.2,
    "pooling_type": 0.4,
    "no_perf": 0.4,
    "type_k": 0.1,
    "type_v": 0.1,
    "n_outputs_max": 0.1,
    "on_tensor": 0.1,
}
"""Parameters behind ``**``: how often each is given."""
BEHIND_STARS: dict[str, dict[str, float]] = {
    "Model.context": CONTEXT,
    "Context": CONTEXT,
    "Model.measure": CONTEXT,
    "Model.session": {"n_ctx": 1.0, "n_batch": 1.0, "n_threads": 1.0, "n_forks": 0.3, "temp": 0.3},
    "Model.chat": {"max_tokens": 1.0, "n_threads": 1.0, "stream": 0.3},
    "ask": {"max_tokens": 1.0, "n_threads": 1.0},
    "chat.ask": {"max_tokens": 1.0, "n_threads": 1.0},
    "ChatSession.say": {"max_tokens": 1.0},
    "ChatSession": {"n_threads": 1.0},
    "Session": {"n_threads": 1.0, "n_batch": 1.0},
}
ALWAYS = {"max_tokens", "n_threads", "n_ctx", "n_batch", "max_windows", "model"}
"""Given even where there is a default: the defaults would take long."""


def known(name: str, key: str) -> Make | None:
    """Return what makes usual values of a call's parameter."""
    module, _, short = name.partition(".")
    for each in (f"{name}.{key}", f"{short}.{key}" if module in ("gguf", "testing", "chat") else ""):
        if each in BY_CALL:
            return BY_CALL[each]
    return BY_NAME.get(key)
