// The C objects of the fake library. Python sees opaque pointers, but for samplers, whose first two
// members are public.

#pragma once

#include "ledger.h"
#include "llama.h"

#define N_VOCAB 260 // <unk> <s> </s>, one token per byte, <end>
#define FIRST_BYTE 3
#define MAX_SEQUENCES 256

struct llama_vocab {
    struct llama_model * model;
};

struct llama_model {
    struct object object;
    struct llama_vocab vocab;
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
};

// Brackets of a function's body.
#define ENTER(pointer, kind) ledger_enter((struct object *) &(pointer)->object, kind, __func__)
#define LEAVE(pointer) ledger_leave((struct object *) &(pointer)->object)
