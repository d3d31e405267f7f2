"""llama-cpp-python 0.3.36's own tests, unmodified, on our library and bindings.

Those that fetch a model get one of the same architecture with random weights and the same vocabulary, or one
of the same kind where the pinned source has none.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from llama_ffi import gguf
from llama_ffi.compat import shim_folder
from llama_ffi.testing import save_random_model
from tests.compat import upstream
from tests.compat.conftest import ROOT
from vendor.fetch import fetch

pytestmark = [pytest.mark.native, pytest.mark.index]

MODELS = {
    "lmstudio-community/Qwen3.5-0.8B-GGUF": ("qwen35", "qwen35"),
    "ggml-org/models": ("llama", "llama-spm"),
    "CompendiumLabs/bge-small-en-v1.5-gguf": ("bert", "bert-bge"),
    "QuantFactory/mamba-130m-hf-GGUF": ("mamba", "gpt-neox"),
    "tiiuae/Falcon-H1-Tiny-90M-Instruct-GGUF": ("falcon-h1", "falcon"),
}
"""Repository → (architecture, vocabulary of the pinned source)."""

METADATA: dict[str, dict[str, Any]] = {"bert": {"bert.pooling_type": 2}}
"""What the real model's file says beside its sizes: the first token stands for the text."""

TOKENS = {"qwen35": {"Hello": 9419, "\u0120world": 1814}}
"""Tokens that change places with others. The pinned source's file for Qwen3.5 has the vocabulary of Qwen2;
test_real_model knows the ids that "Hello, world!" has in the real one."""

NOT_RUN = {
    "test_llama.test_real_llama": "asserts what Qwen3.5-0.8B writes",
    "test_llama.test_real_llama_repeated_prompt_cache": "asserts what Qwen3.5-0.8B writes",
}
KINDS = (
    "llama_cpp_transformer_model_path-False-False",
    "llama_cpp_recurrent_model_path-True-False",
    "llama_cpp_hybrid_model_path-False-True",
)
MATCHES_FRESH = (
    "test_exact_cached_prompt_reuse_matches_fresh",
    "test_loaded_exact_cached_prompt_reuse_matches_fresh",
    "test_ram_cache_exact_prompt_hit_matches_fresh",
    "test_shorter_prompt_prefix_reuse_matches_fresh",
)


def test_every_test_that_can_run_passes(tmp_path: Path) -> None:
    upstream.require(*upstream.NEEDS)
    code = upstream.python_code()
    models = fetch(progress=False) / "models"
    stand_ins = {repository: stand_in(tmp_path, models, *what) for repository, what in MODELS.items()}
    (tmp_path / "vendor" / "llama.cpp").mkdir(parents=True)
    (tmp_path / "vendor" / "llama.cpp" / "models").symlink_to(models)
    entries = (Path(__file__).parent / "stand_ins", shim_folder(), code / "site", ROOT)
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(map(str, entries)),
        "COMPAT_STAND_INS": json.dumps(stand_ins),
        "COMPAT_LEAVE_OUT": json.dumps(list(NOT_RUN)),
    }
    report = tmp_path / "report.xml"
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:xdist",
        "-p",
        "on_our_machine",
    ]
    command += [
        "-c",
        os.devnull,
        "--rootdir",
        str(code / "tests"),
        f"--junitxml={report}",
        str(code / "tests"),
    ]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert outcomes(report) == dict.fromkeys(EXPECTED, "passed")


def stand_in(folder: Path, models: Path, kind: str, vocabulary: str) -> str:
    """Make the stand-in of one architecture, and return its path."""
    path, vocab = folder / f"{kind}.gguf", models / f"ggml-vocab-{vocabulary}.gguf"
    changed = dict(METADATA.get(kind, {}))
    if kind in TOKENS:
        with gguf.read(vocab) as file:
            tokens = list(file.metadata["tokenizer.ggml.tokens"])
        for token, place in TOKENS[kind].items():
            now = tokens.index(token)
            tokens[now], tokens[place] = tokens[place], tokens[now]
        changed["tokenizer.ggml.tokens"] = tokens
    save_random_model(path, kind, vocab=vocab, metadata=changed, n_ctx_train=512)
    return str(path)


def outcomes(report: Path) -> dict[str, str]:
    """Return what became of each test: "passed", or the name of what a report has instead."""
    found = {}
    for case in ElementTree.parse(report).getroot().iter("testcase"):
        name = f"{case.get('classname')}.{case.get('name')}"
        found[name] = next((child.tag for child in case if child.tag != "system-out"), "passed")
    return found


EXPECTED = sorted(
    [
        "test_llama.test_llama_cpp_version",
        "test_llama.test_llama_cpp_tokenization",
        "test_llama.test_real_model",
        "test_llama.test_recurrent_model_prompt_cache_reset",
        "test_llama.test_hybrid_model_prompt_cache_reset",
        "test_llama.test_real_llama_embeddings",
        *(f"test_llama.{test}[{kind}]" for test in MATCHES_FRESH for kind in KINDS),
        "test_llama_chat_format.test_mistral_instruct",
        "test_llama_chat_format.test_hf_tokenizer_config_str_to_chat_formatter",
        "test_llama_speculative.test_find_candidate_pred_tokens",
        "test_llama_grammar.test_grammar_from_string",
        "test_llama_grammar.test_composed_pydantic_grammar",
        "test_llama_grammar.test_grammar_anyof",
    ]
)
