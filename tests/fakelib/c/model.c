// Models and vocabularies: every byte is a token.

#include "objects.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char * const metadata[][2] = {
    { "general.architecture", "llama" },
    { "general.name", "fake" },
};

struct llama_model_params llama_model_default_params(void) {
    struct llama_model_params params;
    memset(&params, 0, sizeof params);
    params.n_gpu_layers = -1;
    return params;
}

static struct llama_model * load(const char * function, const char * path, struct llama_model_params params) {
    ledger_say(GGML_LOG_LEVEL_INFO, "load: the fake library ");
    ledger_say(GGML_LOG_LEVEL_CONT, "loads a model\n");
    struct llama_model * model = NULL;
    bool cancelled = false;
    if (params.progress_callback != NULL) {
        for (int step = 0; step <= 2 && !cancelled; ++step) {
            ledger_callback_begins();
            cancelled = !params.progress_callback((float) step / 2, params.progress_callback_user_data);
            ledger_callback_ends();
        }
    }
    if (!cancelled && !ledger_must_fail(function, NULL)) {
        model = calloc(1, sizeof *model);
        model->vocab.model = model;
        ledger_made(&model->object, MODEL, NULL);
    } else {
        ledger_say(GGML_LOG_LEVEL_ERROR, "load: error loading model: it was made to fail\n");
    }
    (void) path;
    return model;
}

struct llama_model * llama_model_load_from_file(const char * path, struct llama_model_params params) {
    return load(__func__, path, params);
}

struct llama_model * llama_model_load_from_splits(const char ** paths, size_t n, struct llama_model_params params) {
    return n > 0 ? load(__func__, paths[0], params) : NULL;
}

void llama_model_free(struct llama_model * model) {
    if (model != NULL && ledger_freed(&model->object)) {
        ledger_say(GGML_LOG_LEVEL_DEBUG, "free: the model goes\n");
    }
}

static int number(const struct llama_model * model, const char * function, int value) {
    struct llama_model * object = (struct llama_model *) model;
    ledger_enter(&object->object, MODEL, function);
    ledger_leave(&object->object);
    return value;
}

#define GETTER(type, name, value)                                                                             \
    type name(const struct llama_model * model) {                                                             \
        return (type) number(model, __func__, value);                                                         \
    }

GETTER(int32_t, llama_model_meta_count, 2)
GETTER(int32_t, llama_model_n_ctx_train, 512)
GETTER(int32_t, llama_model_n_embd, 64)
GETTER(int32_t, llama_model_n_embd_inp, 64)
GETTER(int32_t, llama_model_n_embd_out, 64)
GETTER(int32_t, llama_model_n_layer, 2)
GETTER(int32_t, llama_model_n_layer_nextn, 0)
GETTER(int32_t, llama_model_n_head, 2)
GETTER(int32_t, llama_model_n_head_kv, 2)
GETTER(int32_t, llama_model_n_swa, 0)
GETTER(uint32_t, llama_model_n_cls_out, 0)
GETTER(uint64_t, llama_model_n_params, 1000)
GETTER(uint64_t, llama_model_size, 4000)
GETTER(enum llama_ftype, llama_model_ftype, LLAMA_FTYPE_ALL_F32)
GETTER(enum llama_rope_type, llama_model_rope_type, LLAMA_ROPE_TYPE_NORM)
GETTER(float, llama_model_rope_freq_scale_train, 1)
GETTER(bool, llama_model_has_encoder, false)
GETTER(bool, llama_model_has_decoder, true)
GETTER(bool, llama_model_is_recurrent, false)
GETTER(bool, llama_model_is_hybrid, false)
GETTER(bool, llama_model_is_diffusion, false)
GETTER(llama_token, llama_model_decoder_start_token, -1)

int32_t llama_model_meta_key_by_index(const struct llama_model * model, int32_t index, char * buffer, size_t size) {
    return number(model, __func__, snprintf(buffer, size, "%s", metadata[index][0]));
}

int32_t llama_model_meta_val_str_by_index(const struct llama_model * model, int32_t index, char * buffer, size_t size) {
    return number(model, __func__, snprintf(buffer, size, "%s", metadata[index][1]));
}

int32_t llama_model_desc(const struct llama_model * model, char * buffer, size_t size) {
    return number(model, __func__, snprintf(buffer, size, "fake"));
}

const char * llama_model_chat_template(const struct llama_model * model, const char * name) {
    number(model, __func__, 0);
    return name == NULL ? "{{ messages }}" : NULL;
}

const struct llama_vocab * llama_model_get_vocab(const struct llama_model * model) {
    number(model, __func__, 0);
    return &model->vocab;
}

// --- the vocabulary, which lives and dies with its model ---

static int32_t of_vocab(const struct llama_vocab * vocab, const char * function, int32_t value) {
    return number(vocab->model, function, value);
}

#define VOCAB_GETTER(type, name, value)                                                                       \
    type name(const struct llama_vocab * vocab) {                                                             \
        return (type) of_vocab(vocab, __func__, value);                                                       \
    }

VOCAB_GETTER(enum llama_vocab_type, llama_vocab_type, LLAMA_VOCAB_TYPE_SPM)
VOCAB_GETTER(int32_t, llama_vocab_n_tokens, N_VOCAB)
VOCAB_GETTER(llama_token, llama_vocab_bos, 1)
VOCAB_GETTER(llama_token, llama_vocab_eos, 2)
VOCAB_GETTER(llama_token, llama_vocab_eot, N_VOCAB - 1)
VOCAB_GETTER(llama_token, llama_vocab_sep, -1)
VOCAB_GETTER(llama_token, llama_vocab_nl, FIRST_BYTE + '\n')
VOCAB_GETTER(llama_token, llama_vocab_pad, -1)
VOCAB_GETTER(llama_token, llama_vocab_mask, -1)
VOCAB_GETTER(llama_token, llama_vocab_fim_pre, -1)
VOCAB_GETTER(llama_token, llama_vocab_fim_suf, -1)
VOCAB_GETTER(llama_token, llama_vocab_fim_mid, -1)
VOCAB_GETTER(llama_token, llama_vocab_fim_pad, -1)
VOCAB_GETTER(llama_token, llama_vocab_fim_rep, -1)
VOCAB_GETTER(llama_token, llama_vocab_fim_sep, -1)
VOCAB_GETTER(bool, llama_vocab_get_add_bos, true)
VOCAB_GETTER(bool, llama_vocab_get_add_eos, false)
VOCAB_GETTER(bool, llama_vocab_get_add_sep, false)

static bool is_byte(llama_token token) {
    return token >= FIRST_BYTE && token < FIRST_BYTE + 256;
}

const char * llama_vocab_get_text(const struct llama_vocab * vocab, llama_token token) {
    static char texts[N_VOCAB][8];
    if (is_byte(of_vocab(vocab, __func__, token))) {
        snprintf(texts[token], sizeof texts[token], "<0x%02X>", (unsigned) (token - FIRST_BYTE));
        return texts[token];
    }
    return token == 0 ? "<unk>" : token == 1 ? "<s>" : token == 2 ? "</s>" : "<end>";
}

float llama_vocab_get_score(const struct llama_vocab * vocab, llama_token token) {
    return (float) of_vocab(vocab, __func__, -token);
}

enum llama_token_attr llama_vocab_get_attr(const struct llama_vocab * vocab, llama_token token) {
    const bool byte = is_byte(of_vocab(vocab, __func__, token));
    return byte ? LLAMA_TOKEN_ATTR_BYTE : LLAMA_TOKEN_ATTR_CONTROL;
}

bool llama_vocab_is_eog(const struct llama_vocab * vocab, llama_token token) {
    return of_vocab(vocab, __func__, token == 2 || token == N_VOCAB - 1);
}

bool llama_vocab_is_control(const struct llama_vocab * vocab, llama_token token) {
    return of_vocab(vocab, __func__, !is_byte(token));
}

int32_t llama_tokenize(const struct llama_vocab * vocab, const char * text, int32_t length, llama_token * tokens,
                       int32_t room, bool add_special, bool parse_special) {
    (void) parse_special;
    ledger_enter(&vocab->model->object, MODEL, __func__);
    ledger_take_time(NULL, NULL);
    int32_t count = 0;
    if (length + add_special > room) {
        count = -(length + add_special);
    } else {
        if (add_special) {
            tokens[count++] = 1;
        }
        for (int32_t i = 0; i < length; ++i) {
            tokens[count++] = FIRST_BYTE + (unsigned char) text[i];
        }
    }
    ledger_leave(&vocab->model->object);
    return count;
}

int32_t llama_token_to_piece(const struct llama_vocab * vocab, llama_token token, char * buffer, int32_t length,
                             int32_t lstrip, bool special) {
    (void) lstrip;
    if (is_byte(of_vocab(vocab, __func__, token))) {
        buffer[0] = (char) (token - FIRST_BYTE);
        return 1;
    }
    const char * text = special ? llama_vocab_get_text(vocab, token) : "";
    const int32_t size = (int32_t) strlen(text);
    if (size > length) {
        return -size;
    }
    memcpy(buffer, text, (size_t) size);
    return size;
}

int32_t llama_detokenize(const struct llama_vocab * vocab, const llama_token * tokens, int32_t count, char * text,
                         int32_t room, bool remove_special, bool unparse_special) {
    (void) remove_special;
    int32_t size = 0;
    for (int32_t i = 0; i < count; ++i) {
        if (room - size < 8) {
            return -8 * count;
        }
        size += llama_token_to_piece(vocab, tokens[i], text + size, room - size, 0, unparse_special);
    }
    return size;
}
