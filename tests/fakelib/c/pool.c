// Thread pools without threads: who has one, and who computes with it at the same time as somebody else.

#include "objects.h"

#include "ggml-cpu.h"

#include <stdlib.h>
#include <string.h>

struct ggml_threadpool_params ggml_threadpool_params_default(int n_threads) {
    struct ggml_threadpool_params params;
    memset(&params, 0, sizeof params);
    params.n_threads = n_threads;
    return params;
}

struct ggml_threadpool * ggml_threadpool_new(struct ggml_threadpool_params * params) {
    (void) params;
    struct ggml_threadpool * pool = calloc(1, sizeof *pool);
    ledger_made(&pool->object, POOL, NULL);
    return pool;
}

void ggml_threadpool_free(struct ggml_threadpool * pool) {
    if (pool != NULL) {
        ledger_freed(&pool->object);
    }
}

void ggml_threadpool_pause(struct ggml_threadpool * pool) {
    ENTER(pool, POOL);
    ledger_take_time(NULL, NULL);
    LEAVE(pool);
}

void ggml_threadpool_resume(struct ggml_threadpool * pool) {
    ENTER(pool, POOL);
    LEAVE(pool);
}

void llama_attach_threadpool(
    struct llama_context * ctx, struct ggml_threadpool * pool, struct ggml_threadpool * batch_pool) {
    ENTER(ctx, CONTEXT);
    ctx->pools[0] = pool;
    ctx->pools[1] = batch_pool != NULL ? batch_pool : pool;
    LEAVE(ctx);
}

void llama_detach_threadpool(struct llama_context * ctx) {
    ENTER(ctx, CONTEXT);
    ctx->pools[0] = ctx->pools[1] = NULL;
    LEAVE(ctx);
}

struct ggml_threadpool * pool_begins(struct llama_context * ctx, int n_tokens, const char * function) {
    struct ggml_threadpool * pool = ctx->pools[n_tokens > 1];
    if (ctx->last_pool != NULL && ctx->last_pool != pool) { // libllama pauses it, detached or not
        ledger_enter(&ctx->last_pool->object, POOL, function);
        LEAVE(ctx->last_pool);
    }
    ctx->last_pool = pool;
    if (pool != NULL) {
        ledger_enter(&pool->object, POOL, function);
    }
    return pool;
}
