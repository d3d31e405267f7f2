// Samplers and chains. What a sampler does is of no interest here, only who owns it and what it needs.

#include "objects.h"

#include <stdlib.h>
#include <string.h>

#define CHAIN_SIZE 64

struct sampler {
    struct llama_sampler public; // first: Python reads iface and ctx
    struct object object;
    const char * name;
    bool selects;
    int accepted;
    int count; // of a chain
    struct sampler * members[CHAIN_SIZE];
};

static struct sampler * of(const struct llama_sampler * sampler) {
    return (struct sampler *) sampler;
}

static const char * iface_name(const struct llama_sampler * sampler) {
    return of(sampler)->name;
}

static struct llama_sampler_i iface = { .name = iface_name, .clone = llama_sampler_clone };

static struct sampler * make(const char * name, bool selects, enum kind kind, struct object * parent) {
    struct sampler * sampler = calloc(1, sizeof *sampler);
    sampler->public.iface = &iface;
    sampler->public.ctx = sampler;
    sampler->name = name;
    sampler->selects = selects;
    ledger_made(&sampler->object, kind, parent);
    return sampler;
}

static struct llama_sampler * simple(const char * name, bool selects) {
    return &make(name, selects, SAMPLER, NULL)->public;
}

static struct llama_sampler * with_vocab(const char * name, const struct llama_vocab * vocab) {
    ENTER(vocab->model, MODEL);
    struct llama_sampler * sampler = &make(name, false, SAMPLER, &vocab->model->object)->public;
    LEAVE(vocab->model);
    return sampler;
}

struct llama_sampler * llama_sampler_init_greedy(void) {
    return simple("greedy", true);
}

struct llama_sampler * llama_sampler_init_dist(uint32_t seed) {
    (void) seed;
    return simple("dist", true);
}

struct llama_sampler * llama_sampler_init_top_k(int32_t k) {
    (void) k;
    return simple("top-k", false);
}

struct llama_sampler * llama_sampler_init_top_p(float p, size_t min_keep) {
    (void) p, (void) min_keep;
    return simple("top-p", false);
}

struct llama_sampler * llama_sampler_init_min_p(float p, size_t min_keep) {
    (void) p, (void) min_keep;
    return simple("min-p", false);
}

struct llama_sampler * llama_sampler_init_temp(float t) {
    (void) t;
    return simple("temp", false);
}

struct llama_sampler * llama_sampler_init_infill(const struct llama_vocab * vocab) {
    return with_vocab("infill", vocab);
}

struct llama_sampler * llama_sampler_init_dry(const struct llama_vocab * vocab, float multiplier, float base,
                                              int32_t allowed, int32_t last_n, const char ** breakers, size_t count) {
    (void) multiplier, (void) base, (void) allowed, (void) last_n, (void) breakers, (void) count;
    return with_vocab("dry", vocab);
}

struct llama_sampler * llama_sampler_init_grammar(const struct llama_vocab * vocab, const char * text, const char * root) {
    (void) text, (void) root;
    return ledger_must_fail(__func__, NULL) ? NULL : with_vocab("grammar", vocab);
}

void llama_sampler_free(struct llama_sampler * sampler) {
    if (sampler == NULL) {
        return;
    }
    struct sampler * self = of(sampler);
    if (!ledger_freed(&self->object)) {
        return;
    }
    for (int i = 0; i < self->count; ++i) {
        ledger_freed_by_owner(&self->members[i]->object);
    }
    ledger_say(GGML_LOG_LEVEL_DEBUG, "free: the sampler goes\n");
}

struct llama_sampler * llama_sampler_clone(const struct llama_sampler * sampler) {
    struct sampler * self = of(sampler);
    ENTER(self, SAMPLER);
    struct sampler * copy = NULL;
    if (!ledger_must_fail(__func__, NULL)) {
        copy = make(self->name, self->selects, self->object.kind, self->object.parent);
        copy->accepted = self->accepted;
        for (int i = 0; i < self->count; ++i) {
            copy->members[i] = of(llama_sampler_clone(&self->members[i]->public));
            copy->members[i]->object.owner = &copy->object;
        }
        copy->count = self->count;
    }
    LEAVE(self);
    return copy == NULL ? NULL : &copy->public;
}

const char * llama_sampler_name(const struct llama_sampler * sampler) {
    ENTER(of(sampler), SAMPLER);
    LEAVE(of(sampler));
    return of(sampler)->name;
}

uint32_t llama_sampler_get_seed(const struct llama_sampler * sampler) {
    llama_sampler_name(sampler);
    return LLAMA_DEFAULT_SEED;
}

void llama_sampler_accept(struct llama_sampler * sampler, llama_token token) {
    struct sampler * self = of(sampler);
    ENTER(self, SAMPLER);
    self->accepted++;
    for (int i = 0; i < self->count; ++i) {
        llama_sampler_accept(&self->members[i]->public, token);
    }
    LEAVE(self);
}

void llama_sampler_apply(struct llama_sampler * sampler, llama_token_data_array * candidates) {
    struct sampler * self = of(sampler);
    ENTER(self, SAMPLER);
    for (int i = 0; i < self->count; ++i) {
        llama_sampler_apply(&self->members[i]->public, candidates);
    }
    if (self->selects) {
        candidates->selected = 0;
        for (size_t i = 1; i < candidates->size; ++i) {
            if (candidates->data[i].logit > candidates->data[candidates->selected].logit) {
                candidates->selected = (int64_t) i;
            }
        }
    }
    LEAVE(self);
}

void llama_sampler_reset(struct llama_sampler * sampler) {
    struct sampler * self = of(sampler);
    ENTER(self, SAMPLER);
    self->accepted = 0;
    for (int i = 0; i < self->count; ++i) {
        llama_sampler_reset(&self->members[i]->public);
    }
    LEAVE(self);
}

// --- chains ---

struct llama_sampler_chain_params llama_sampler_chain_default_params(void) {
    return (struct llama_sampler_chain_params) { .no_perf = true };
}

struct llama_sampler * llama_sampler_chain_init(struct llama_sampler_chain_params params) {
    (void) params;
    return &make("chain", false, CHAIN, NULL)->public;
}

void llama_sampler_chain_add(struct llama_sampler * chain, struct llama_sampler * sampler) {
    struct sampler *self = of(chain), *member = of(sampler);
    ENTER(self, CHAIN);
    ENTER(member, SAMPLER);
    if (member->object.owner != NULL) {
        ledger_mistake("sampler %d is added to a second chain", member->object.serial);
    } else if (self->count < CHAIN_SIZE) {
        member->object.owner = &self->object;
        self->members[self->count++] = member;
    }
    LEAVE(member);
    LEAVE(self);
}

int32_t llama_sampler_chain_n(const struct llama_sampler * chain) {
    ENTER(of(chain), CHAIN);
    LEAVE(of(chain));
    return of(chain)->count;
}

struct llama_sampler * llama_sampler_chain_get(struct llama_sampler * chain, int32_t index) {
    return index >= 0 && index < llama_sampler_chain_n(chain) ? &of(chain)->members[index]->public : NULL;
}

struct llama_sampler * llama_sampler_chain_remove(struct llama_sampler * chain, int32_t index) {
    struct sampler * self = of(chain);
    if (index < 0 || index >= llama_sampler_chain_n(chain)) {
        return NULL;
    }
    ENTER(self, CHAIN);
    struct sampler * member = self->members[index];
    const size_t behind = (size_t) (self->count - index - 1);
    memmove(&self->members[index], &self->members[index + 1], behind * sizeof self->members[0]);
    self->count--;
    member->object.owner = NULL;
    LEAVE(self);
    return &member->public;
}

llama_token llama_sampler_sample(struct llama_sampler * chain, struct llama_context * ctx, int32_t index) {
    float * logits = llama_get_logits_ith(ctx, index);
    if (logits == NULL) {
        ledger_mistake("a row without logits is sampled");
        return 0;
    }
    ENTER(ctx, CONTEXT);
    ledger_take_time(NULL, NULL);
    llama_token_data data[N_VOCAB];
    for (int i = 0; i < N_VOCAB; ++i) {
        data[i] = (llama_token_data) { .id = i, .logit = logits[i] };
    }
    llama_token_data_array candidates = { .data = data, .size = N_VOCAB, .selected = -1 };
    llama_sampler_apply(chain, &candidates);
    LEAVE(ctx);
    if (candidates.selected < 0) {
        ledger_mistake("a chain that selects nothing is sampled");
        return 0;
    }
    llama_sampler_accept(chain, data[candidates.selected].id);
    return data[candidates.selected].id;
}

struct llama_perf_sampler_data llama_perf_sampler(const struct llama_sampler * chain) {
    ENTER(of(chain), CHAIN);
    LEAVE(of(chain));
    return (struct llama_perf_sampler_data) { .t_sample_ms = 0, .n_sample = of(chain)->accepted };
}

void llama_perf_sampler_reset(struct llama_sampler * chain) {
    llama_sampler_chain_n(chain);
}
