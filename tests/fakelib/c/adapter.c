// LoRA adapters, and the list of them that a model keeps without a lock: whoever changes it while another
// thread looks at it, or looks while another changes it, makes a mistake.

#include "objects.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void adapters_looked_at(struct llama_model * model, const char * function) {
    atomic_fetch_add(&model->looking, 1);
    if (atomic_load(&model->changing) > 0) {
        ledger_mistake("%s looks at a model's adapters while they change", function);
    }
    ledger_take_time(NULL, NULL);
    atomic_fetch_sub(&model->looking, 1);
}

static void change(struct llama_model * model, const char * function, bool slowly) {
    if (atomic_fetch_add(&model->changing, 1) > 0 || atomic_load(&model->looking) > 0) {
        ledger_mistake("%s changes a model's adapters while somebody else is at them", function);
    }
    if (slowly) {
        ledger_take_time(NULL, NULL);
    }
    atomic_fetch_sub(&model->changing, 1);
}

struct llama_adapter_lora * llama_adapter_lora_init(struct llama_model * model, const char * path) {
    (void) path;
    ENTER(model, MODEL);
    struct llama_adapter_lora * adapter = NULL;
    if (ledger_must_fail(__func__, NULL)) {
        ledger_say(GGML_LOG_LEVEL_ERROR, "init: failed to apply lora adapter: it was made to fail\n");
    } else {
        ledger_say(GGML_LOG_LEVEL_INFO, "init: an adapter\n");
        adapter = calloc(1, sizeof *adapter);
        adapter->model = model;
        ledger_made(&adapter->object, ADAPTER, &model->object);
        change(model, __func__, true);
    }
    LEAVE(model);
    return adapter;
}

void llama_adapter_lora_free(struct llama_adapter_lora * adapter) {
    if (adapter != NULL && ledger_freed(&adapter->object)) {
        change(adapter->model, __func__, false);
    }
}

int32_t llama_adapter_meta_count(const struct llama_adapter_lora * adapter) {
    struct llama_adapter_lora * object = (struct llama_adapter_lora *) adapter;
    ENTER(object, ADAPTER);
    LEAVE(object);
    return 1;
}

int32_t llama_adapter_meta_key_by_index(const struct llama_adapter_lora * adapter, int32_t i, char * text, size_t size) {
    (void) adapter, (void) i;
    return snprintf(text, size, "adapter.type");
}

int32_t llama_adapter_meta_val_str_by_index(
        const struct llama_adapter_lora * adapter, int32_t i, char * text, size_t size) {
    (void) adapter, (void) i;
    return snprintf(text, size, "lora");
}

void adapters_forgotten(struct llama_context * ctx) {
    for (size_t i = 0; i < ctx->n_adapters; ++i) {
        atomic_fetch_sub(&ctx->adapters[i]->object.children, 1);
    }
    ctx->n_adapters = 0;
}

int32_t llama_set_adapters_lora(
        struct llama_context * ctx, struct llama_adapter_lora ** adapters, size_t count, float * scales) {
    (void) scales;
    ENTER(ctx, CONTEXT);
    adapters_forgotten(ctx);
    for (size_t i = 0; i < count && i < MOST_ADAPTERS; ++i) {
        ENTER(adapters[i], ADAPTER);
        LEAVE(adapters[i]);
        atomic_fetch_add(&adapters[i]->object.children, 1);
        ctx->adapters[ctx->n_adapters++] = adapters[i];
    }
    ctx->planned = false;
    LEAVE(ctx);
    return 0;
}

void adapters_used(struct llama_context * ctx, const char * function) {
    for (size_t i = 0; i < ctx->n_adapters; ++i) {
        if (!atomic_load(&ctx->adapters[i]->object.alive)) {
            ledger_mistake("%s uses adapter %d, which is freed", function, ctx->adapters[i]->object.serial);
        }
    }
    if (!ctx->planned) {
        adapters_looked_at((struct llama_model *) ctx->object.parent, function);
        ctx->planned = true;
    }
}
