"""The safe layer on a llama.cpp that isn't the pinned one: a library built for the purpose, in older words.

Its header lacks functions and fields, gives others older signatures, and shifts an enum. What is missing
disables what needs it and nothing else, with an error that names it, the library and both versions.
"""

from __future__ import annotations

import importlib
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from bindgen.custom import load_custom, write_package
from bindgen.preprocess import find_compiler
from llama_ffi._abi import manifest as pinned
from llama_ffi._abi._ffi import ffi as pinned_ffi
from llama_ffi._core import choices, features, older
from llama_ffi._core.binding import Binding
from llama_ffi._core.callbacks import Callback
from llama_ffi._core.functions import Functions
from llama_ffi._core.other import Fields, OtherFunctions
from llama_ffi._lib import bindings
from llama_ffi._lib.load import Opened
from llama_ffi._lib.search import LibrarySet
from llama_ffi.errors import MissingFieldError, MissingFunctionError, UnsupportedError

HEADER = """
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
struct llama_model; struct llama_context; struct llama_vocab; struct llama_sampler; struct llama_adapter_lora;
typedef int32_t llama_token;
enum llama_attention_type {
    LLAMA_ATTENTION_TYPE_OTHER = 0, LLAMA_ATTENTION_TYPE_CAUSAL = 1, LLAMA_ATTENTION_TYPE_NON_CAUSAL = 2 };
struct llama_model_params { int32_t n_gpu_layers; bool vocab_only; bool use_mmap; bool use_mlock; };
struct llama_context_params {
    uint32_t n_ctx; uint32_t n_batch; enum llama_attention_type attention_type; int64_t n_ubatch;
    bool flash_attn; };
struct llama_model_params llama_model_default_params(void);
struct llama_context_params llama_context_default_params(void);
uint32_t llama_n_ctx(const struct llama_context * ctx);
uint32_t llama_n_seq_max(const struct llama_context * ctx);
int32_t llama_model_n_embd(const struct llama_model * model);
bool llama_model_is_recurrent(const struct llama_model * model);
const struct llama_model * llama_get_model(const struct llama_context * ctx);
int32_t llama_model_meta_val_str(const struct llama_model * model, const char * key, char * buf, size_t n);
int32_t llama_vocab_n_tokens(const struct llama_vocab * vocab, int32_t flags);
struct llama_sampler * llama_sampler_init_penalties(int32_t last_n, float repeat, float freq, float present);
struct llama_sampler * llama_sampler_init_dry(const struct llama_vocab * vocab, int32_t n_ctx_train, float a,
    float b, int32_t c, int32_t d, const char ** breakers, size_t count);
void llama_clear_adapter_lora(struct llama_context * ctx);
int32_t llama_set_adapter_lora(struct llama_context * ctx, struct llama_adapter_lora * adapter, float scale);
int32_t llama_apply_adapter_cvec(struct llama_context * ctx, const float * data, size_t len, int32_t n_embd,
    int32_t first, int32_t last);
llama_token llama_vocab_bos(const struct llama_vocab * vocab);
int64_t llama_declared_only(void);
const char * test_said(void);
"""

SOURCE = """
#include "llama.h"
#include <stdio.h>
#include <string.h>
static char said[512];
#define SAY(...) snprintf(said + strlen(said), sizeof said - strlen(said), __VA_ARGS__)
struct llama_model_params llama_model_default_params(void) {
    struct llama_model_params p = { .n_gpu_layers = -1, .use_mmap = true }; return p; }
struct llama_context_params llama_context_default_params(void) {
    struct llama_context_params p = { .n_ctx = 512, .n_batch = 2048 }; return p; }
uint32_t llama_n_ctx(const struct llama_context * ctx) { return 512; }
uint32_t llama_n_seq_max(const struct llama_context * ctx) { return 4; }
int32_t llama_model_n_embd(const struct llama_model * model) { return 77; }
bool llama_model_is_recurrent(const struct llama_model * model) { return false; }
const struct llama_model * llama_get_model(const struct llama_context * ctx) { return (void *) ctx; }
int32_t llama_model_meta_val_str(const struct llama_model * model, const char * key, char * buf, size_t n) {
    if (!strcmp(key, "general.architecture")) return snprintf(buf, n, "bert");
    if (!strcmp(key, "bert.attention.causal")) return snprintf(buf, n, "false");
    if (!strcmp(key, "bert.ssm.conv_kernel")) return snprintf(buf, n, "4");
    return -1; }
int32_t llama_vocab_n_tokens(const struct llama_vocab * vocab, int32_t flags) { return 1; }
struct llama_sampler * llama_sampler_init_penalties(int32_t last_n, float repeat, float freq, float present) {
    SAY("penalties %d %g %g %g;", last_n, repeat, freq, present); return (void *) said; }
struct llama_sampler * llama_sampler_init_dry(const struct llama_vocab * vocab, int32_t n_ctx_train, float a,
    float b, int32_t c, int32_t d, const char ** breakers, size_t count) {
    SAY("dry %d %g %g %d %d %zu;", n_ctx_train, a, b, c, d, count); return (void *) said; }
void llama_clear_adapter_lora(struct llama_context * ctx) { SAY("clear;"); }
int32_t llama_set_adapter_lora(struct llama_context * ctx, struct llama_adapter_lora * adapter, float scale) {
    SAY("set %ld %g;", (long) (size_t) adapter, scale); return adapter == (void *) 13 ? -1 : 0; }
int32_t llama_apply_adapter_cvec(struct llama_context * ctx, const float * data, size_t len, int32_t n_embd,
    int32_t first, int32_t last) { SAY("cvec %zu %d %d %d;", len, n_embd, first, last); return 0; }
llama_token llama_vocab_bos(const struct llama_vocab * vocab) { return 5; }
const char * test_said(void) { static char copy[512]; strcpy(copy, said); said[0] = 0; return copy; }
"""


class Old:
    """The library, opened with the bindings that bindgen made for its header."""

    def __init__(self, folder: Path) -> None:
        (folder / "llama.h").write_text(HEADER)
        (folder / "llama.c").write_text(SOURCE)
        self.file = folder / "libllama.so"
        compiler = [*find_compiler(), "-shared", "-fPIC", "-std=gnu11", "-w"]
        subprocess.run([*compiler, str(folder / "llama.c"), "-o", str(self.file)], check=True)
        made, _ = load_custom([folder], ["llama.h"])
        (folder / "old").mkdir()
        write_package(made, folder / "old")
        self.bindings = bindings.find(folder / "old")
        self.ffi = self.bindings.ffi
        libraries = LibrarySet(folder, {"llama": self.file}, "LLAMA_FFI_LIB", None, {})
        manifest = self.bindings.manifest
        self.raw = Functions(
            self.ffi,
            Opened(self.ffi, libraries),
            manifest.FUNCTIONS,
            manifest.UNAVAILABLE,
            self.bindings.made_for,
        )
        self.lib = OtherFunctions(self.ffi, self.raw, self.raw)

    def said(self) -> str:
        return str(self.ffi.string(self.raw.test_said()).decode())

    def fields(self, struct: str) -> tuple[Any, Any]:
        pointer = self.ffi.new(f"struct {struct} *", getattr(self.raw, f"{struct[:-7]}_default_params")())
        return Fields(pointer, struct, self.lib), pointer


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Old:
    return Old(tmp_path_factory.mktemp("old"))


def test_what_is_the_same_is_called_as_it_is(old: Old) -> None:
    assert old.lib.llama_n_ctx(old.ffi.NULL) == 512
    assert old.lib.llama_vocab_bos(old.ffi.NULL) == 5
    assert old.lib.llama_n_ctx is old.lib.llama_n_ctx, "looked up once"


def test_a_missing_function_disables_itself_alone(old: Old) -> None:
    with pytest.raises(MissingFunctionError) as caught:
        _ = old.lib.llama_sampler_init_adaptive_p
    message = str(caught.value)
    assert message.startswith("Sampler.adaptive_p can't be used: llama_sampler_init_adaptive_p is not in")
    assert str(old.file) in message
    assert "a llama.cpp that doesn't tell its version (found via LLAMA_FFI_LIB)" in message
    assert f"written for llama.cpp {pinned.COMMIT[:12]}" in message
    assert isinstance(caught.value, AttributeError)
    assert old.lib.llama_vocab_bos(old.ffi.NULL) == 5


def test_another_signature_is_refused_before_the_call(old: Old) -> None:
    with pytest.raises(MissingFunctionError) as caught:
        _ = old.lib.llama_vocab_n_tokens
    words = (
        "int32_t(struct llama_vocab *, int32_t)",
        "not int32_t(struct llama_vocab *)",
        str(old.file),
        pinned.COMMIT[:12],
    )
    for word in words:
        assert word in str(caught.value)
    assert old.raw.llama_vocab_n_tokens(old.ffi.NULL, 0) == 1, "raw is C as it is"


def test_declared_and_not_in_the_library(old: Old) -> None:
    with pytest.raises(MissingFunctionError) as caught:
        _ = old.raw.llama_declared_only
    for word in ("llama_declared_only is not in", str(old.file), "doesn't tell its version", "'old'"):
        assert word in str(caught.value)
    with pytest.raises(MissingFunctionError, match="llama_decode is not in"):
        _ = old.raw.llama_decode
    with pytest.raises(AttributeError, match="no function or constant 'llama_nonsense'"):
        _ = old.raw.llama_nonsense


def test_stand_ins_say_it_in_older_words(old: Old) -> None:
    lib, ffi, null = old.lib, old.ffi, old.ffi.NULL
    lib.llama_sampler_init_penalties(32_000, 64, 1.5, 0.25, 0.5)
    assert old.said() == "penalties 64 1.5 0.25 0.5;"
    lib.llama_sampler_init_dry(null, 0.5, 1.75, 2, 99, null, 0)
    assert old.said() == "dry 0 0.5 1.75 2 99 0;"
    adapters = ffi.new("struct llama_adapter_lora *[]", [ffi.cast("void *", n) for n in (11, 12)])
    assert lib.llama_set_adapters_lora(null, adapters, 2, ffi.new("float[]", [1.0, 0.5])) == 0
    assert old.said() == "clear;set 11 1;set 12 0.5;"
    adapters[0] = ffi.cast("void *", 13)
    assert lib.llama_set_adapters_lora(null, adapters, 2, ffi.new("float[]", [1.0, 0.5])) == -1
    assert old.said() == "clear;set 13 1;"
    assert lib.llama_set_adapter_cvec(null, null, 10, 5, 1, 2) == 0
    assert old.said() == "cvec 10 5 1 2;"
    assert lib.llama_get_causal_attn(null) is False, "from the metadata"
    assert lib.llama_model_is_hybrid(null) is True
    assert lib.llama_n_ctx_seq(null) == 128
    assert (lib.llama_n_rs_seq(null), lib.llama_model_n_layer_nextn(null)) == (0, 0)
    assert (lib.llama_model_n_embd_inp(null), lib.llama_model_n_embd_out(null)) == (77, 77)


def test_graphs_are_not_reused_where_adapters_are_set_one_by_one(
    old: Old, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(older.GRAPH_REUSE, raising=False)
    older.prepare(lambda name: name in ("llama_set_adapter_lora", "llama_set_adapters_lora"))
    assert older.GRAPH_REUSE not in os.environ
    older.prepare(old.raw.has)
    assert os.environ[older.GRAPH_REUSE] == "1"
    monkeypatch.setenv(older.GRAPH_REUSE, "0")
    older.prepare(old.raw.has)
    assert os.environ[older.GRAPH_REUSE] == "0", "the user's word is the last"


def test_a_stand_in_needs_the_older_signature(old: Old, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = older.StandIn(
        {"llama_n_ctx": "uint64_t(*)(const struct llama_context *)"}, lambda ffi, lib: print
    )
    monkeypatch.setattr(older, "FUNCTIONS", {"llama_n_ctx_seq": wrong})
    fresh = OtherFunctions(old.ffi, old.raw, old.raw)
    with pytest.raises(MissingFunctionError, match="llama_n_ctx_seq is not in"):
        _ = fresh.llama_n_ctx_seq


def test_a_missing_field_keeps_its_default(old: Old) -> None:
    fields, params = old.fields("llama_context_params")
    fields.n_ctx, fields.n_rs_seq, fields.n_outputs_max_per_seq = 1024, 0, 1
    assert (params.n_ctx, fields.n_ctx, fields.n_rs_seq, fields.n_outputs_max_per_seq) == (1024, 1024, 0, 1)
    assert fields[0].n_batch == 2048
    with pytest.raises(MissingFieldError) as caught:
        fields.n_rs_seq = 3
    message = str(caught.value)
    assert message.startswith(
        "Context(n_rs_seq=…) can't be used: llama_context_params.n_rs_seq can't be set to 3"
    )
    for word in (str(old.file), "doesn't tell its version", pinned.COMMIT[:12]):
        assert word in message


def test_a_field_of_another_type_is_missing(old: Old) -> None:
    fields, _ = old.fields("llama_context_params")
    with pytest.raises(MissingFieldError, match="n_ubatch can't be set to 64"):
        fields.n_ubatch = 64


def test_a_field_whose_feature_lacks_a_function(old: Old) -> None:
    fields, params = old.fields("llama_context_params")
    assert old.bindings.ffi.typeof("enum llama_attention_type").relements["LLAMA_ATTENTION_TYPE_CAUSAL"] == 1
    with pytest.raises(MissingFieldError, match="llama_get_causal_attn is not in"):
        fields.attention_type = 2
    assert params.attention_type == 0


def test_fields_in_older_words(old: Old) -> None:
    enums = __import__("llama_ffi._abi.enums", fromlist=["enums"])
    fields, params = old.fields("llama_context_params")
    assert fields.flash_attn_type == -1
    fields.flash_attn_type = enums.FlashAttnType.AUTO
    fields.flash_attn_type = enums.FlashAttnType.ENABLED
    assert params.flash_attn is True
    assert fields.flash_attn_type == enums.FlashAttnType.ENABLED
    fields, params = old.fields("llama_model_params")
    for mode, mapped, locked in (("NONE", 0, 0), ("MMAP", 1, 0), ("MLOCK", 0, 1), ("MMAP_MLOCK", 1, 1)):
        fields.load_mode = enums.LoadMode[mode]
        assert (params.use_mmap, params.use_mlock) == (mapped, locked)
    with pytest.raises(MissingFieldError, match="load_mode can't be set to DIRECT_IO"):
        fields.load_mode = enums.LoadMode.DIRECT_IO


def test_a_callback_of_a_type_that_is_not_there(old: Old) -> None:
    with pytest.raises(UnsupportedError, match="have no llama_model_set_tensor_data_t"):
        Callback(old.ffi, "llama_model_set_tensor_data_t", print)


def test_a_member_that_is_not_there_equals_nothing(old: Old) -> None:
    import llama_ffi._abi.enums as pinned_enums

    theirs = importlib.import_module(old.bindings.enums)
    active = Binding(old.ffi, old.lib, old.raw, theirs.__name__, old.bindings.manifest, None, None, old.lib)
    named = choices.members(active, "llama_attention_type")
    assert (named["causal"], named["other"]) == (1, 0), "their own values"
    with pytest.raises(KeyError):
        _ = named["unspecified_"]
    assert named["unspecified"] != -1
    assert active.enum("llama_load_mode") is pinned_enums.LoadMode, "an enum they haven't at all"
    assert active.enum_class("AttentionType").NON_CAUSAL == 2


def test_the_tables_are_about_what_there_is() -> None:
    structs = {name for names in features.FEATURES.values() for name in names if "." in name}
    for need in {*structs, *older.FIELDS}:
        struct, field = need.split(".")
        assert field in dict(pinned_ffi.typeof(f"struct {struct}").fields), need
    for name in {n for names in features.FEATURES.values() for n in names if "." not in n} | {
        *older.FUNCTIONS
    }:
        assert name in pinned.FUNCTIONS, name
    for stand_in in older.FUNCTIONS.values():
        for c_type in stand_in.needs.values():
            assert pinned_ffi.typeof(c_type).kind == "function"


def test_features_that_this_library_lacks(old: Old) -> None:
    missing = features.missing(old.lib.lacks_need)
    assert missing["Context(n_rs_seq=…)"] == ["llama_n_rs_seq", "llama_context_params.n_rs_seq"]
    assert missing["Context(attention_type=…)"] == ["llama_get_causal_attn"]
    assert set(missing) == set(features.FEATURES), "it is older than everything"
