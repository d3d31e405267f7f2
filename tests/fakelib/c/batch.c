// Batches of libllama's own kind, with tokens only: they belong to a context and must go before it.

#include "objects.h"

#include <stdlib.h>

#define MOST_ENTRIES 2048

struct llama_batch_ext {
    struct object object;
    int32_t n;
    llama_token token[MOST_ENTRIES];
    llama_pos pos[MOST_ENTRIES];
    llama_seq_id seq[MOST_ENTRIES];
    llama_seq_id * seqs[MOST_ENTRIES];
    int32_t n_seqs[MOST_ENTRIES];
    int8_t output[MOST_ENTRIES];
};

struct llama_batch_ext * llama_batch_ext_init(struct llama_context * ctx) {
    ENTER(ctx, CONTEXT);
    struct llama_batch_ext * batch = calloc(1, sizeof *batch);
    ledger_made(&batch->object, BATCH, &ctx->object);
    LEAVE(ctx);
    return batch;
}

void llama_batch_ext_free(struct llama_batch_ext * batch) {
    if (batch != NULL) {
        ledger_freed(&batch->object);
    }
}

void llama_batch_ext_clear(struct llama_batch_ext * batch) {
    ENTER(batch, BATCH);
    batch->n = 0;
    LEAVE(batch);
}

int32_t llama_batch_ext_add_token(struct llama_batch_ext * batch, llama_seq_id seq_id, llama_token id) {
    ENTER(batch, BATCH);
    int32_t index = batch->n++;
    batch->token[index] = id;
    batch->pos[index] = -1;
    batch->seq[index] = seq_id;
    batch->seqs[index] = &batch->seq[index];
    batch->n_seqs[index] = 1;
    batch->output[index] = 0;
    LEAVE(batch);
    return index;
}

bool llama_batch_ext_set_pos(struct llama_batch_ext * batch, int32_t index, const llama_pos * pos) {
    ENTER(batch, BATCH);
    batch->pos[index] = pos[0];
    LEAVE(batch);
    return true;
}

bool llama_batch_ext_set_output_logits(struct llama_batch_ext * batch, int32_t index, bool value) {
    ENTER(batch, BATCH);
    batch->output[index] = value;
    LEAVE(batch);
    return true;
}

int32_t llama_process(struct llama_context * ctx, enum llama_process_type type, struct llama_batch_ext * batch) {
    (void) type;
    ENTER(batch, BATCH);
    if (batch->object.parent != &ctx->object) {
        ledger_mistake("a context computes the batch of another");
    }
    struct llama_batch plain = {
        .n_tokens = batch->n,
        .token = batch->token,
        .pos = batch->pos,
        .n_seq_id = batch->n_seqs,
        .seq_id = batch->seqs,
        .logits = batch->output,
    };
    int32_t code = llama_decode(ctx, plain);
    LEAVE(batch);
    return code;
}
