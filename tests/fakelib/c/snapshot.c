// The state of a sequence as bytes. What lies on the device is a number that the context must still have.

#include "objects.h"

#include <string.h>

struct state {
    uint64_t magic;
    int context; // serial of the context, if the rest lies on its device
    int number;
    llama_seq_id sequence;
    llama_pos next;
};

#define STATE 0x65746174732d6c6cu

size_t llama_state_seq_get_size_ext(struct llama_context * ctx, llama_seq_id sequence, llama_state_seq_flags flags) {
    (void) sequence, (void) flags;
    ENTER(ctx, CONTEXT);
    LEAVE(ctx);
    return sizeof(struct state);
}

size_t llama_state_seq_get_data_ext(
        struct llama_context * ctx, uint8_t * data, size_t size, llama_seq_id sequence, llama_state_seq_flags flags) {
    ENTER(ctx, CONTEXT);
    size_t written = 0;
    if (!ledger_must_fail("llama_state_seq_get_data_ext", NULL) && size >= sizeof(struct state)) {
        struct state state = { STATE, 0, 0, sequence, ctx->memory.next[sequence] };
        if (flags & LLAMA_STATE_SEQ_FLAGS_ON_DEVICE) {
            state.context = ctx->object.serial;
            state.number = ++ctx->on_device[sequence];
        }
        ledger_take_time(NULL, NULL);
        memcpy(data, &state, sizeof state);
        written = sizeof state;
    }
    LEAVE(ctx);
    return written;
}

size_t llama_state_seq_set_data_ext(
        struct llama_context * ctx, const uint8_t * data, size_t size, llama_seq_id sequence,
        llama_state_seq_flags flags) {
    ENTER(ctx, CONTEXT);
    struct state state;
    size_t read = 0;
    if (size == sizeof state) {
        memcpy(&state, data, sizeof state);
    }
    if (size != sizeof state || state.magic != STATE) {
        ledger_mistake("what is restored is no state");
    } else if (flags & LLAMA_STATE_SEQ_FLAGS_ON_DEVICE
            && (state.context != ctx->object.serial || state.number != ctx->on_device[state.sequence])) {
        ledger_mistake("a state is restored that isn't on the device any more");
    } else if (!ledger_must_fail("llama_state_seq_set_data_ext", NULL)) {
        ledger_take_time(NULL, NULL);
        ctx->memory.next[sequence] = state.next;
        read = sizeof state;
    }
    LEAVE(ctx);
    return read;
}
