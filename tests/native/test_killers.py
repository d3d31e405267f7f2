"""What kills a process in raw C, one line each - and the same through the safe layer, where it is an error.

Each raw line runs in a child process of its own and is expected to die (abort, segfault, uncaught C++
exception, or a hang): that proves that the safe layer's check is needed. All safe lines together run in one
child process, which must live to its end.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

pytestmark = pytest.mark.native

ROOT = Path(__file__).resolve().parents[2]

PREAMBLE = """
import sys
import llama_ffi as lf
from llama_ffi.raw import ffi, lib
path, vocabularies = sys.argv[1:3]
model = lf.Model.load(path)
vocab = model.vocab
def context(**params):
    return model.context(**{"n_ctx": 256, "n_batch": 64, "n_ubatch": 32, "n_threads": 1, **params})
def vocabulary(name): return lf.Model.load(f"{vocabularies}/ggml-vocab-{name}.gguf", vocab_only=True)
ctx = context()
def decoded(tokens=(1, 5, 6), **params):
    ctx.memory.clear()
    ctx.decode(lf.Batch.from_tokens(list(tokens), **params))
    return ctx
"""


@dataclass(frozen=True)
class Killer:
    raw: str
    safe: str
    error: str


GRAMMAR = """'root ::= "yes"'"""

EPSILON = "llama.attention.layer_norm_rms_epsilon"

KILLERS = {
    "more tokens than n_batch": Killer(
        "b = lf.Batch.from_tokens([5] * 65); lib.llama_decode(ctx.ptr, b.ptr[0])",
        "ctx.decode(lf.Batch.from_tokens([5] * 65))",
        "InvalidBatchError",
    ),
    "non-causal over n_ubatch": Killer(
        "lib.llama_set_causal_attn(ctx.ptr, False)\nb = lf.Batch.from_tokens([5] * 40); "
        "lib.llama_decode(ctx.ptr, b.ptr[0])",
        "c = context(); c.set_causal_attn(False); c.decode(lf.Batch.from_tokens([5] * 40))",
        "InvalidBatchError",
    ),
    "more sequences than outputs": Killer(
        "p = lib.llama_context_default_params(); p.n_ctx = 256; p.n_batch = 2; p.n_seq_max = 5; "
        "lib.llama_init_from_model(model.ptr, p)",
        "context(n_batch=2, n_seq_max=5)",
        "ContextCreateError",
    ),
    "a context of a vocabulary": Killer(
        "m = vocabulary('gpt-2'); p = lib.llama_context_default_params(); c = "
        "lib.llama_init_from_model(m.ptr, p); "
        "b = lf.Batch.from_tokens([5]); lib.llama_decode(c, b.ptr[0])",
        "vocabulary('gpt-2').context()",
        "UnsupportedError",
    ),
    "piece of a token outside": Killer(
        "lib.llama_token_to_piece(vocab.ptr, 32000, ffi.new('char[]', 9), 9, 0, True)",
        "vocab.piece(32000)",
        "TokenRangeError",
    ),
    "text of token -1": Killer(
        "lib.llama_vocab_get_text(vocab.ptr, -1)", "vocab.text(-1)", "TokenRangeError"
    ),
    "heads of a vocabulary": Killer(
        "lib.llama_model_n_head(vocabulary('gpt-2').ptr)",
        "assert vocabulary('gpt-2').n_head == 0; raise lf.errors.UnsupportedError('nothing to see')",
        "UnsupportedError",
    ),
    "saving a vocabulary": Killer(
        "lib.llama_model_save_to_file(vocabulary('gpt-2').ptr, b'/dev/null')",
        "vocabulary('gpt-2').save_to_file('x.gguf')",
        "UnsupportedError",
    ),
    "bytes beyond Unicode": Killer(
        "m = vocabulary('qwen2'); t = b'\\xf4\\x90\\x80\\x80'; "
        "lib.llama_tokenize(m.vocab.ptr, t, len(t), ffi.new('llama_token[]', 99), 99, False, False)",
        "vocabulary('qwen2').vocab.tokenize(b'\\xf4\\x90\\x80\\x80')",
        "InvalidArgumentError",
    ),
    "60,000 letters in a row": Killer(
        "m = vocabulary('deepseek-llm'); t = b'a' * 60_000; "
        "lib.llama_tokenize(m.vocab.ptr, t, len(t), ffi.new('llama_token[]', 60_000), 60_000, False, False)",
        "assert len(vocabulary('deepseek-llm').vocab.tokenize('a' * 60_000)) > 1; "
        "raise lf.errors.TokenizeError('it was tokenized')",
        "TokenizeError",
    ),
    "division by zero": Killer(
        "decoded(); lib.llama_memory_seq_div(ctx.memory.ptr, 0, 0, -1, 0)",
        "decoded().memory.seq_div(0, 0, -1, 0)",
        "InvalidArgumentError",
    ),
    "sequence 256": Killer(
        "lib.llama_memory_seq_cp(ctx.memory.ptr, 0, 256, -1, -1)",
        "ctx.memory.seq_cp(0, 256)",
        "SequenceRangeError",
    ),
    "a part between streams": Killer(
        "c = context(n_seq_max=2); c.decode(lf.Batch.from_tokens([5] * 40)); "
        "lib.llama_memory_seq_cp(c.memory.ptr, 0, 1, 3, 9)",
        "c = context(n_seq_max=2); c.decode(lf.Batch.from_tokens([5] * 40)); c.memory.seq_cp(0, 1, 3, 9)",
        "MemoryOperationError",
    ),
    "an empty chain": Killer(
        "decoded(); lib.llama_sampler_sample(lf.SamplerChain().ptr, ctx.ptr, -1)",
        "lf.SamplerChain().sample(decoded())",
        "NoTokenSelectedError",
    ),
    "temperature alone": Killer(
        "decoded(); lib.llama_sampler_sample(lf.SamplerChain().add_temp(0.5).ptr, ctx.ptr, -1)",
        "lf.SamplerChain().add_temp(0.5).sample(decoded())",
        "NoTokenSelectedError",
    ),
    "a row without logits": Killer(
        "decoded(); lib.llama_sampler_sample(lf.SamplerChain().add_greedy().ptr, ctx.ptr, 0)",
        "lf.SamplerChain().add_greedy().sample(decoded(), 0)",
        "NoOutputsError",
    ),
    "a bad grammar": Killer(
        "c = lf.SamplerChain(); "
        "lib.llama_sampler_chain_add(c.ptr, lib.llama_sampler_init_grammar(vocab.ptr, b'root ::= (', "
        "b'root')); "
        "lib.llama_sampler_chain_add(c.ptr, lib.llama_sampler_init_greedy()); decoded(); "
        "lib.llama_sampler_sample(c.ptr, ctx.ptr, -1)",
        "lf.SamplerChain().add_grammar(vocab, 'root ::= (')",
        "GrammarError",
    ),
    "a grammar that never ends": Killer(
        'lib.llama_sampler_init_grammar(vocab.ptr, b\'root ::= x root "y" | "z"\\nx ::= y\\ny ::= ""\', '
        "b'root')",
        'lf.Sampler.grammar(vocab, \'root ::= x root "y" | "z"\\nx ::= y\\ny ::= ""\')',
        "GrammarError",
    ),
    "100,000 parentheses": Killer(
        "lib.llama_sampler_init_grammar(vocab.ptr, b'root ::= ' + b'(' * 100_000, b'root')",
        "lf.Sampler.grammar(vocab, 'root ::= ' + '(' * 100_000)",
        "GrammarError",
    ),
    "a token that the grammar refuses": Killer(
        f"lib.llama_sampler_accept(lf.Sampler.grammar(vocab, {GRAMMAR}).ptr, 5)",
        f"lf.SamplerChain().add_grammar(vocab, {GRAMMAR}).accept(5)",
        "GrammarError",
    ),
    "an end too early": Killer(
        f"lib.llama_sampler_accept(lf.Sampler.grammar(vocab, {GRAMMAR}).ptr, vocab.eos)",
        f"lf.SamplerChain().add_grammar(vocab, {GRAMMAR}).accept(vocab.eos)",
        "GrammarError",
    ),
    "a grammar behind dist": Killer(
        "c = lf.SamplerChain(); d = lf.Sampler.dist(1); g = lf.Sampler.grammar(vocab, 'root ::= \"yes\"'); "
        "[lib.llama_sampler_chain_add(c.ptr, s._handle.consume(c._handle)) for s in (d, g)]; decoded(); "
        "[lib.llama_sampler_sample(c.ptr, ctx.ptr, -1) for _ in range(9)]",
        f"lf.SamplerChain().add_dist(1).add_grammar(vocab, {GRAMMAR})",
        "SamplerError",
    ),
    "a pattern that is none": Killer(
        "lib.llama_sampler_init_grammar_lazy_patterns(vocab.ptr, b'root ::= \"a\"', b'root', "
        "ffi.new('char *[]', [k := ffi.new('char[]', b'((')]), 1, ffi.NULL, 0)",
        f"lf.Sampler.grammar_lazy(vocab, {GRAMMAR}, trigger_patterns=['(('])",
        "GrammarError",
    ),
    "infinite history": Killer(
        "lib.llama_sampler_init_dry(vocab.ptr, 1.0, 1.75, 2, 2**31 - 1, ffi.NULL, 0)\n"
        "lib.llama_sampler_init_penalties(32000, 2**31 - 1, 1.5, 0.0, 0.0)\n"
        "import resource; resource.setrlimit(resource.RLIMIT_AS, (2**31, 2**31))\n"
        "lib.llama_sampler_init_penalties(32000, 2**31 - 1, 1.5, 0.0, 0.0)",
        "lf.Sampler.penalties(32000, 2**31 - 1, 1.5)",
        "InvalidArgumentError",
    ),
    "adaptive-p, cloned at the wrong time": Killer(
        "s = lf.Sampler.adaptive_p(0.5, seed=1); d = ffi.new('llama_token_data[2]', [(1, 0.0, 0.0), (2, 0.0, "
        "0.0)]); "
        "a = ffi.new('llama_token_data_array *', (d, 2, -1, False)); lib.llama_sampler_apply(s.ptr, a); "
        "lib.llama_sampler_accept(lib.llama_sampler_clone(s.ptr), d[a.selected].id)",
        "c = lf.SamplerChain().add_grammar(vocab, 'root ::= \"yes\"')"
        ".add_logit_bias(32000, {i: float('-inf') for i in range(32000)}).add_adaptive_p(0.5, seed=1)\n"
        "try: c.sample(decoded())\n"
        "except lf.errors.LlamaError: c.clone().accept(5)",
        "GrammarError",
    ),
    "a freed model": Killer(
        "p = model.ptr; lib.llama_model_free(p); lib.llama_model_free(p)",
        "m = lf.Model.load(path); m.close(); m.desc",
        "ClosedError",
    ),
    "a sampler of two chains": Killer(
        "s = lib.llama_sampler_init_dist(1); a = lf.SamplerChain(); b = lf.SamplerChain(); "
        "lib.llama_sampler_chain_add(a.ptr, s); lib.llama_sampler_chain_add(b.ptr, s); a.close(); b.close()",
        "s = lf.Sampler.dist(1); lf.SamplerChain().add(s); lf.SamplerChain().add(s)",
        "ConsumedError",
    ),
    "quantized keys, shifted": Killer(
        "c = context(type_k='q8_0'); c.decode(lf.Batch.from_tokens([1, 5, 6, 7])); "
        "lib.llama_memory_seq_add(c.memory.ptr, 0, 0, -1, 5); b = lf.Batch.from_tokens([5], pos0=9); "
        "lib.llama_decode(c.ptr, b.ptr[0])",
        "c = context(type_k='q8_0'); c.decode(lf.Batch.from_tokens([1, 5, 6, 7]))\n"
        "c.memory.seq_add(0, 0, -1, 5); c.decode(lf.Batch.from_tokens([5], pos0=9))",
        "MemoryOperationError",
    ),
    "an epsilon below 0": Killer(
        f"o = ffi.new('struct llama_model_kv_override[2]'); o[0].key = {EPSILON.encode()!r}; "
        "o[0].tag = lib.LLAMA_KV_OVERRIDE_TYPE_FLOAT; o[0].val_f64 = -1.0; "
        "p = lib.llama_model_default_params(); p.kv_overrides = o; "
        "m = lf.Model(lib.llama_model_load_from_file(path.encode(), p)); "
        "c = m.context(n_ctx=256, n_threads=4); b = lf.Batch.from_tokens([5] * 200); "
        "lib.llama_decode(c.ptr, b.ptr[0])",
        f"lf.Model.load(path, kv_overrides={{{EPSILON!r}: -1.0}}).context(n_ctx=256, n_threads=4)"
        ".decode(lf.Batch.from_tokens([5] * 200))",
        "InvalidArgumentError",
    ),
    "an unknown load mode": Killer(
        "lib.llama_load_mode_from_str(b'fast')",
        "lf.Model.load(path, load_mode='fast')",
        "InvalidArgumentError",
    ),
}


def child(code: str, *args: str, timeout: float = 120) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", PREAMBLE + code, *args],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=timeout,
    )


@pytest.fixture(scope="module")
def arguments(random_model_path: Path, source: Path) -> tuple[str, str]:
    return str(random_model_path), str(source / "models")


@pytest.mark.parametrize("name", KILLERS)
def test_raw_dies(name: str, arguments: tuple[str, str]) -> None:
    limit = "import resource; resource.setrlimit(resource.RLIMIT_CPU, (5, 5))\n"
    memory = "resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30))\n"
    done = child(limit + memory + KILLERS[name].raw + "\nprint('still alive')", *arguments)
    assert done.returncode < 0, f"{done.returncode}: {done.stdout} {done.stderr[-400:]}"
    assert "still alive" not in done.stdout


def test_safe_lives(arguments: tuple[str, str]) -> None:
    """All of them in one process, twice, with work in between: 0 deaths."""
    code = "outcomes = {}\nfor _ in range(2):\n"
    for name, killer in KILLERS.items():
        body = "\n".join(f"        {line}" for line in killer.safe.split("\n"))
        code += (
            f"    try:\n{body}\n        outcomes[{name!r}] = 'no error'\n"
            f"    except Exception as error:\n        outcomes[{name!r}] = type(error).__name__\n"
            f"        assert isinstance(error, lf.LlamaError), error\n"
            f"        assert str(error)\n"
            f"    decoded(); lf.SamplerChain().add_greedy().sample(ctx)\n"
        )
    code += "import json; print(json.dumps(outcomes))\n"
    done = child(code, *arguments)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stderr == ""
    assert json.loads(done.stdout) == {name: killer.error for name, killer in KILLERS.items()}
