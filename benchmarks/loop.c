/* The decode loop in C that the Python loops are measured against: the same calls, in the same order,
 * into the same loaded library. Compiled and linked by c_loop.py. */
#define _POSIX_C_SOURCE 199309L
#include <stdint.h>
#include <string.h>
#include <time.h>

#include "llama.h"

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double) t.tv_sec + 1e-9 * (double) t.tv_nsec;
}

/* Decode `prompt`, then `n` times: sample, append the piece to `text`, decode.
 * Returns the seconds of the second part, or -1 when a call failed or `text` is full. */
double bench_loop(struct llama_context * ctx, struct llama_sampler * sampler, llama_token * prompt,
                  int32_t n_prompt, int32_t n, char * text, int32_t capacity, int32_t * length) {
    const struct llama_vocab * vocab = llama_model_get_vocab(llama_get_model(ctx));
    llama_memory_clear(llama_get_memory(ctx), true);
    if (llama_decode(ctx, llama_batch_get_one(prompt, n_prompt)) != 0) {
        return -1;
    }
    char piece[256];
    int32_t used = 0;
    llama_token token;
    struct llama_batch one = llama_batch_get_one(&token, 1);
    const double start = now();
    for (int32_t i = 0; i < n; i++) {
        token = llama_sampler_sample(sampler, ctx, -1);
        const int32_t size = llama_token_to_piece(vocab, token, piece, sizeof piece, 0, false);
        if (size < 0 || used + size > capacity) {
            return -1;
        }
        memcpy(text + used, piece, (size_t) size);
        used += size;
        if (llama_decode(ctx, one) != 0) {
            return -1;
        }
    }
    const double seconds = now() - start;
    *length = used;
    return seconds;
}

#ifdef BENCH_CALLGRIND
#include <valgrind/callgrind.h>

/* Under callgrind: write the counts since the last call to a file of their own, under this name. */
void bench_count(const char * name) {
    CALLGRIND_DUMP_STATS_AT(name);
}
#endif
