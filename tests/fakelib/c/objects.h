// The C objects of the fake library. Python sees opaque pointers, but for samplers, whose first two
// members are public.

#pragma once

#include "ledger.h"
#include "llama.h"

#define N_VOCAB 260 // <unk> <s> </s>, one token per byte, <end>
#define FIRST_BYTE 3
#define MAX_SEQUENCES 256
#define MOST_ADAPTERS 16

struct llama_vocab {
    struct llama_model * model;
};

struct llama_model {
    struct object object;
    struct llama_vocab vocab;
    atomic_int looking;  // calls that walk over its adapters now
    atomic_int changing; // calls that change them
};

struct llama_adapter_lora {
    struct object object;
    struct llama_model * model;
};

struct ggml_threadpool {
    struct object object;
};

struct llama_memory_i {
    struct llama_context * context;
    llama_pos next[MAX_SEQUENCES]; // of each sequence
};

struct llama_context {
    struct object object;
    struct llama_context_params params;
    struct llama_memory_i memory;
    bool causal;
    int outputs;
    float * logits;
    ggml_abort_callback abort_callback;
    void * abort_data;
    struct llama_adapter_lora * adapters[MOST_ADAPTERS]; // those in use count this context as a child
    size_t n_adapters;
    bool planned; // the next decode need not look at the model's adapters
    struct ggml_threadpool * pools[2];  // for one token, for several
    struct ggml_threadpool * last_pool; // the one it has computed with last
    int on_device[MAX_SEQUENCES]; // number of the newest state of each sequence
};

// adapter.c
void adapters_looked_at(struct llama_model * model, const char * function);
void adapters_used(struct llama_context * ctx, const char * function);
void adapters_forgotten(struct llama_context * ctx);

// pool.c: the pool that is inside of a call from here to its LEAVE, or NULL
struct ggml_threadpool * pool_begins(struct llama_context * ctx, int n_tokens, const char * function);

// Brackets of a function's body.
#define ENTER(pointer, kind) ledger_enter((struct object *) &(pointer)->object, kind, __func__)
#define LEAVE(pointer) ledger_leave((struct object *) &(pointer)->object)
