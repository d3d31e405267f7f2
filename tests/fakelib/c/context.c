// Contexts and their memories. Nothing is computed: the logits prefer the token after the last one.

#include "objects.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct llama_context_params llama_context_default_params(void) {
    struct llama_context_params params;
    memset(&params, 0, sizeof params);
    params.n_ctx = 512;
    params.n_batch = 2048;
    params.n_ubatch = 512;
    params.n_seq_max = 1;
    params.type_k = params.type_v = GGML_TYPE_F16;
    return params;
}

struct llama_context * llama_init_from_model(struct llama_model * model, struct llama_context_params params) {
    ENTER(model, MODEL);
    struct llama_context * context = NULL;
    if (ledger_must_fail(__func__, NULL)) {
        ledger_say(GGML_LOG_LEVEL_ERROR, "init: failed because it was told to\n");
    } else {
        ledger_say(GGML_LOG_LEVEL_INFO, "init: a context\n");
        adapters_looked_at(model, __func__);
        context = calloc(1, sizeof *context);
        context->params = params;
        context->causal = true;
        context->planned = true;
        context->memory.context = context;
        context->logits = calloc(N_VOCAB, sizeof *context->logits);
        ledger_made(&context->object, CONTEXT, &model->object);
    }
    LEAVE(model);
    return context;
}

void llama_free(struct llama_context * context) {
    if (context != NULL && ledger_freed(&context->object)) {
        adapters_forgotten(context);
        for (int i = 0; i < N_VOCAB; ++i) {
            context->logits[i] = NAN; // a reader that comes too late shall see it
        }
        ledger_say(GGML_LOG_LEVEL_DEBUG, "free: the context goes\n");
    }
}

static uint32_t number(const struct llama_context * context, const char * function, uint32_t value) {
    struct llama_context * object = (struct llama_context *) context;
    ledger_enter(&object->object, CONTEXT, function);
    ledger_leave(&object->object);
    return value;
}

#define GETTER(type, name, value)                                                                             \
    type name(const struct llama_context * ctx) {                                                             \
        return (type) number(ctx, __func__, (uint32_t) (value));                                              \
    }

GETTER(uint32_t, llama_n_ctx, ctx->params.n_ctx)
GETTER(uint32_t, llama_n_ctx_seq, ctx->params.n_ctx / ctx->params.n_seq_max)
GETTER(uint32_t, llama_n_batch, ctx->params.n_batch)
GETTER(uint32_t, llama_n_ubatch, ctx->params.n_ubatch ? ctx->params.n_ubatch : ctx->params.n_batch)
GETTER(uint32_t, llama_n_seq_max, ctx->params.n_seq_max)
GETTER(uint32_t, llama_n_rs_seq, ctx->params.n_rs_seq)
GETTER(enum llama_pooling_type, llama_pooling_type, LLAMA_POOLING_TYPE_NONE)
GETTER(bool, llama_get_causal_attn, ctx->causal)

int32_t llama_n_threads(struct llama_context * ctx) {
    return (int32_t) number(ctx, __func__, (uint32_t) ctx->params.n_threads);
}

int32_t llama_n_threads_batch(struct llama_context * ctx) {
    return (int32_t) number(ctx, __func__, (uint32_t) ctx->params.n_threads_batch);
}

void llama_set_n_threads(struct llama_context * ctx, int32_t one, int32_t several) {
    ENTER(ctx, CONTEXT);
    ctx->params.n_threads = one;
    ctx->params.n_threads_batch = several;
    LEAVE(ctx);
}

void llama_set_causal_attn(struct llama_context * ctx, bool causal) {
    ENTER(ctx, CONTEXT);
    ctx->causal = causal;
    LEAVE(ctx);
}

void llama_set_embeddings(struct llama_context * ctx, bool embeddings) {
    ENTER(ctx, CONTEXT);
    ctx->params.embeddings = embeddings;
    LEAVE(ctx);
}

void llama_set_abort_callback(struct llama_context * ctx, ggml_abort_callback callback, void * data) {
    ENTER(ctx, CONTEXT);
    ctx->abort_callback = callback;
    ctx->abort_data = data;
    LEAVE(ctx);
}

void llama_synchronize(struct llama_context * ctx) {
    ENTER(ctx, CONTEXT);
    ledger_take_time(NULL, NULL);
    LEAVE(ctx);
}

static int32_t compute(struct llama_context * ctx, struct llama_batch batch, const char * function) {
    ledger_enter(&ctx->object, CONTEXT, function);
    int code = 0;
    ctx->outputs = 0;
    adapters_used(ctx, function);
    struct ggml_threadpool * pool = pool_begins(ctx, batch.n_tokens, function);
    if (ledger_must_fail("llama_decode", &code)) {
        ledger_say(GGML_LOG_LEVEL_ERROR, "decode: failed because it was told to\n");
    } else if (ledger_take_time(ctx->abort_callback, ctx->abort_data)) {
        code = 2;
    } else {
        for (int i = 0; i < batch.n_tokens; ++i) {
            for (int k = 0; k < batch.n_seq_id[i]; ++k) {
                ctx->memory.next[batch.seq_id[i][k]] = batch.pos[i] + 1;
            }
            ctx->outputs += batch.logits[i] != 0;
        }
        memset(ctx->logits, 0, N_VOCAB * sizeof *ctx->logits);
        ctx->logits[(batch.token[batch.n_tokens - 1] + 1) % N_VOCAB] = 1;
    }
    if (pool != NULL) {
        LEAVE(pool);
    }
    LEAVE(ctx);
    return code;
}

int32_t llama_decode(struct llama_context * ctx, struct llama_batch batch) {
    return compute(ctx, batch, __func__);
}

int32_t llama_encode(struct llama_context * ctx, struct llama_batch batch) {
    return compute(ctx, batch, __func__);
}

float * llama_get_logits_ith(struct llama_context * ctx, int32_t index) {
    ENTER(ctx, CONTEXT);
    float * row = ctx->outputs > 0 && index >= -ctx->outputs ? ctx->logits : NULL;
    LEAVE(ctx);
    return row;
}

float * llama_get_embeddings_ith(struct llama_context * ctx, int32_t index) {
    return ctx->params.embeddings ? llama_get_logits_ith(ctx, index) : NULL;
}

float * llama_get_embeddings_seq(struct llama_context * ctx, llama_seq_id sequence) {
    (void) sequence;
    return llama_get_embeddings_ith(ctx, -1);
}

// --- the memory, which lives and dies with its context ---

llama_memory_t llama_get_memory(const struct llama_context * ctx) {
    number(ctx, __func__, 0);
    return (llama_memory_t) &ctx->memory;
}

void llama_memory_clear(llama_memory_t memory, bool data) {
    (void) data;
    ENTER(memory->context, CONTEXT);
    memset(memory->next, 0, sizeof memory->next);
    LEAVE(memory->context);
}

bool llama_memory_seq_rm(llama_memory_t memory, llama_seq_id sequence, llama_pos p0, llama_pos p1) {
    (void) p1;
    ENTER(memory->context, CONTEXT);
    for (int i = 0; i < MAX_SEQUENCES; ++i) {
        if ((sequence < 0 || sequence == i) && memory->next[i] > p0) {
            memory->next[i] = p0 < 0 ? 0 : p0;
        }
    }
    LEAVE(memory->context);
    return true;
}

void llama_memory_seq_cp(llama_memory_t memory, llama_seq_id from, llama_seq_id to, llama_pos p0, llama_pos p1) {
    (void) p0, (void) p1;
    ENTER(memory->context, CONTEXT);
    memory->next[to] = memory->next[from];
    LEAVE(memory->context);
}

void llama_memory_seq_keep(llama_memory_t memory, llama_seq_id sequence) {
    ENTER(memory->context, CONTEXT);
    for (int i = 0; i < MAX_SEQUENCES; ++i) {
        memory->next[i] = i == sequence ? memory->next[i] : 0;
    }
    LEAVE(memory->context);
}

void llama_memory_seq_add(llama_memory_t memory, llama_seq_id sequence, llama_pos p0, llama_pos p1, llama_pos delta) {
    (void) p0, (void) p1;
    ENTER(memory->context, CONTEXT);
    memory->next[sequence] += delta;
    LEAVE(memory->context);
}

void llama_memory_seq_div(llama_memory_t memory, llama_seq_id sequence, llama_pos p0, llama_pos p1, int divisor) {
    (void) p0, (void) p1;
    ENTER(memory->context, CONTEXT);
    memory->next[sequence] /= divisor;
    LEAVE(memory->context);
}

llama_pos llama_memory_seq_pos_min(llama_memory_t memory, llama_seq_id sequence) {
    return number(memory->context, __func__, 0) == 0 && memory->next[sequence] > 0 ? 0 : -1;
}

llama_pos llama_memory_seq_pos_max(llama_memory_t memory, llama_seq_id sequence) {
    number(memory->context, __func__, 0);
    return memory->next[sequence] - 1;
}

bool llama_memory_can_shift(llama_memory_t memory) {
    return number(memory->context, __func__, 1);
}
