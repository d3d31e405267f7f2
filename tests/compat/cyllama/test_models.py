"""Models and vocabularies of cyllama: as there, and what goes wrong there is a typed error here."""

from __future__ import annotations

from pathlib import Path

import pytest

import llama_ffi as lf
import llama_ffi.compat.cyllama as cy
from llama_ffi import errors
from tests.compat.cyllama.steps import TEXT

pytestmark = pytest.mark.model


def test_what_a_model_says_can_be_called(model: cy.LlamaModel) -> None:
    for name in ("n_ctx_train", "n_embd", "n_embd_inp", "n_layer", "n_head", "n_head_kv", "n_params", "size"):
        value = getattr(model, name)
        assert value == value() == getattr(model.safe, name) > 0
        assert type(value()) is int
    assert model.desc == model.desc() == model.safe.desc
    assert model.rope_freq_scale_train() == 1.0
    assert model.rope_type == cy.LLAMA_ROPE_TYPE_NORM
    assert (model.has_encoder(), model.has_decoder(), model.decoder_start_token()) == (False, True, -1)
    assert not model.is_recurrent() and not model.is_hybrid()


def test_metadata(model: cy.LlamaModel) -> None:
    entries = model.metadata()
    assert model.meta_count() == len(entries) > 10
    keys = [model.meta_key_by_index(index) for index in range(model.meta_count())]
    values = [model.meta_val_str_by_index(index) for index in range(model.meta_count())]
    assert dict(zip(keys, values, strict=True)) == entries
    assert model.meta_val_str("general.architecture") == "llama"
    for kind in (ValueError, KeyError):
        with pytest.raises(kind, match=r"no\.such"):
            model.meta_val_str("no.such")
    for index in (-1, len(entries), "0"):
        with pytest.raises(IndexError):
            model.meta_key_by_index(index)  # type: ignore[arg-type]


def test_vocabulary(model: cy.LlamaModel) -> None:
    vocab = model.get_vocab()
    safe = model.safe.vocab
    tokens = vocab.tokenize(TEXT, True, False)
    assert tokens == safe.tokenize(TEXT) == model.tokenize(TEXT, True, False)
    assert vocab.detokenize(tokens) == TEXT == model.detokenize(tokens)
    assert vocab.n_vocab == vocab.n_vocab() == model.n_vocab == safe.n_tokens
    assert vocab.vocab_type == cy.LLAMA_VOCAB_TYPE_SPM == model.vocab_type
    assert vocab.token_bos() == model.token_bos() == safe.bos == tokens[0]
    assert vocab.token_eos() == model.token_eos() and vocab.token_eot() == model.token_eot()
    for name in ("token_sep", "token_nl", "token_pad"):
        assert getattr(vocab, name)() == getattr(model, name)() >= -1
    for name in ("fim_prefix", "fim_middle", "fim_suffix", "fim_pad", "fim_rep", "fim_sep"):
        assert getattr(vocab, name)() >= -1
    assert vocab.get_add_bos() is model.add_bos_token() is True
    assert vocab.get_add_eos() is model.add_eos_token() is False
    assert vocab.get_add_sep() is False
    for each in (vocab, model):
        assert each.token_to_piece(vocab.token_bos()) == ""
        assert each.token_to_piece(vocab.token_bos(), special=True) == "<s>"
    word = tokens[1]
    assert vocab.get_text(word) == model.token_get_text(word)
    assert vocab.get_score(word) == model.token_get_score(word)
    assert vocab.get_attr(word) == model.token_get_attr(word) == cy.LLAMA_TOKEN_ATTR_NORMAL
    assert vocab.is_eog(vocab.token_eos()) and model.token_is_eog(vocab.token_eos())
    assert vocab.is_control(tokens[0]) and model.token_is_control(tokens[0])


def test_leading_spaces_can_be_left_out(model: cy.LlamaModel) -> None:
    token = model.tokenize(TEXT, False, False)[0]
    piece = model.token_to_piece(token)
    assert piece.startswith(" ")
    assert model.token_to_piece(token, lstrip=3) == piece.lstrip(" ")


def test_a_token_that_does_not_exist_is_an_error(model: cy.LlamaModel) -> None:
    # cyllama's process ends on these
    for token in (-3, int(model.n_vocab), 2**40):
        for call in (model.token_to_piece, model.token_is_eog, model.get_vocab().get_attr):
            with pytest.raises(errors.TokenRangeError):
                call(token)


def test_chat_templates(model: cy.LlamaModel) -> None:
    messages = [cy.LlamaChatMessage("user", "hi"), cy.ChatMessage(role="assistant", content="yes")]
    text = model.chat_apply_template("chatml", messages, True)
    assert (
        text
        == "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\nyes<|im_end|>\n<|im_start|>assistant\n"
    )
    assert model.get_default_chat_template() == model.safe.chat_template()
    assert model.get_default_chat_template_by_name("none") == ""
    assert "hi" in model.chat_apply_template(None, messages, False)
    assert set(cy.chat_builtin_templates()) > {"chatml", "llama2"}


def test_model_parameters(tmp_path: Path) -> None:
    seen: list[float] = []
    params = cy.LlamaModel.default_params()
    params.vocab_only = True
    params.progress_callback = lambda fraction: seen.append(fraction) or True
    params.kv_overrides = [cy.LlamaModelKvOverride("llama.context_length", 77)]
    params.use_mmap = False
    model = cy.LlamaModel(path_model=lf.tiny_model_path(), params=params, verbose=False)
    assert model.safe.vocab_only and model.n_ctx_train == 0
    model.close()
    override = params.kv_overrides[0]
    assert (override.tag, override.val_i64, override.val_f64, override.val_bool) == (0, 77, 77.0, True)
    assert override.val_str == "77"
    with pytest.raises(AttributeError):
        params.no_such_thing = 1  # type: ignore[attr-defined]
    params.kv_overrides = ["llama.context_length"]  # type: ignore[list-item]
    with pytest.raises(TypeError, match="LlamaModelKvOverride"):
        cy.LlamaModel(path_model=lf.tiny_model_path(), params=params)
    with pytest.raises(TypeError, match="LlamaModelParams"):
        cy.LlamaModel(path_model=lf.tiny_model_path(), params=cy.LlamaContextParams())  # type: ignore[arg-type]
    with pytest.raises(FileNotFoundError):
        cy.LlamaModel(path_model=str(tmp_path / "none.gguf"))
    (tmp_path / "bad.gguf").write_bytes(b"GGUF nonsense")
    with pytest.raises(OSError, match=r"bad\.gguf"):
        cy.LlamaModel(path_model=str(tmp_path / "bad.gguf"))


@pytest.mark.parametrize(
    ("mmap", "mlock", "direct", "mode"),
    [
        (True, False, False, None),
        (False, False, False, "none"),
        (True, True, False, "mmap_mlock"),
        (False, True, False, "mlock"),
        (True, True, True, "direct_io"),
    ],
)
def test_load_modes(mmap: bool, mlock: bool, direct: bool, mode: str | None) -> None:
    params = cy.LlamaModelParams(use_mmap=mmap, use_mlock=mlock, use_direct_io=direct)
    assert params.options()["load_mode"] == mode


def test_saving_and_quantizing(model: cy.LlamaModel, tmp_path: Path) -> None:
    plain = cy.LlamaModel(path_model=lf.tiny_model_path(), params=cy.LlamaModelParams(use_extra_bufts=False))
    cy.model_save_to_file(plain, tmp_path / "copy.gguf")
    plain.close()
    cy.model_quantize(tmp_path / "copy.gguf", tmp_path / "small.gguf")
    small = cy.LlamaModel(path_model=tmp_path / "small.gguf")
    assert small.n_params == model.n_params and small.size < model.size
    small.close()
    how = cy.LlamaModelQuantizeParams(ftype=cy.LLAMA_FTYPE_MOSTLY_Q4_0, dry_run=True)
    cy.model_quantize(tmp_path / "copy.gguf", tmp_path / "not.gguf", how)
    assert not (tmp_path / "not.gguf").exists()
