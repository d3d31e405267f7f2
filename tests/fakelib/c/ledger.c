// See ledger.h. The functions that begin with fake_ are what the tests call.

#include "ledger.h"

#include "llama.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAGIC 0x6c65646765722121u
#define MISTAKES 32
#define MISTAKE_SIZE 200

static const char * const kind_names[N_KINDS] = { "model", "context", "sampler", "chain", "adapter", "pool", "batch" };

static atomic_int made[N_KINDS], freed[N_KINDS];
static atomic_int serials;
static atomic_int mistakes;
static char mistake_texts[MISTAKES][MISTAKE_SIZE];

static atomic_int running;
static atomic_int delay_us;
static char failing[64];
static atomic_int failing_value;
static atomic_bool failing_set;

static _Thread_local int callback_depth;
static _Atomic(ggml_log_callback) log_callback;
static void * log_data;

void ledger_mistake(const char * format, ...) {
    const int index = atomic_fetch_add(&mistakes, 1);
    if (index < MISTAKES) {
        va_list arguments;
        va_start(arguments, format);
        vsnprintf(mistake_texts[index], MISTAKE_SIZE, format, arguments);
        va_end(arguments);
    }
}

void ledger_made(struct object * object, enum kind kind, struct object * parent) {
    object->magic = MAGIC;
    object->kind = kind;
    object->serial = atomic_fetch_add(&serials, 1) + 1;
    object->process = getpid();
    object->parent = parent;
    if (parent != NULL) {
        atomic_fetch_add(&parent->children, 1);
    }
    atomic_fetch_add(&made[kind], 1);
    atomic_store(&object->alive, true);
}

static bool take_out(struct object * object) {
    const char * name = kind_names[object->kind];
    const int serial = object->serial;
    if (object->process != getpid()) {
        ledger_mistake("%s %d is freed in a forked process", name, serial);
        return false;
    }
    if (callback_depth > 0) {
        ledger_mistake("%s %d is freed while a callback is on the stack", name, serial);
    }
    if (atomic_load(&object->calls) > 0) {
        ledger_mistake("%s %d is freed while a call is inside of it", name, serial);
    }
    if (atomic_load(&object->children) > 0) {
        ledger_mistake("%s %d is freed before what needs it", name, serial);
    }
    if (!atomic_exchange(&object->alive, false)) {
        ledger_mistake("%s %d is freed twice", name, serial);
        return false;
    }
    if (object->parent != NULL) {
        atomic_fetch_sub(&object->parent->children, 1);
    }
    atomic_fetch_add(&freed[object->kind], 1);
    return true;
}

bool ledger_freed(struct object * object) {
    if (object->owner != NULL) {
        ledger_mistake("%s %d is freed though a chain owns it", kind_names[object->kind], object->serial);
        return false;
    }
    return take_out(object);
}

bool ledger_freed_by_owner(struct object * object) {
    return take_out(object);
}

void ledger_enter(struct object * object, enum kind kind, const char * function) {
    atomic_fetch_add(&running, 1);
    if (object->magic != MAGIC || (object->kind != kind && !(kind == SAMPLER && object->kind == CHAIN))) {
        ledger_mistake("%s is called with something that is no %s", function, kind_names[kind]);
        return;
    }
    const char * name = kind_names[object->kind];
    if (!atomic_load(&object->alive)) {
        ledger_mistake("%s is called with %s %d, which is freed", function, name, object->serial);
    }
    if (object->process != getpid()) {
        ledger_mistake("%s is called with %s %d in a forked process", function, name, object->serial);
    }
    if (atomic_fetch_add(&object->calls, 1) > 0 && object->kind != MODEL
            && object->kind != ADAPTER) {
        ledger_mistake("%s is the second call inside of %s %d", function, name, object->serial);
    }
}

void ledger_leave(struct object * object) {
    if (!atomic_load(&object->alive)) {
        ledger_mistake("%s %d was freed during a call", kind_names[object->kind], object->serial);
    }
    atomic_fetch_sub(&object->calls, 1);
    atomic_fetch_sub(&running, 1);
}

bool ledger_must_fail(const char * function, int * value) {
    if (!atomic_load(&failing_set) || strcmp(failing, function) != 0) {
        return false;
    }
    if (value != NULL) {
        *value = atomic_load(&failing_value);
    }
    return atomic_exchange(&failing_set, false);
}

bool ledger_take_time(bool (*stop)(void *), void * data) {
    const int step = 200;
    for (int left = atomic_load(&delay_us); left > 0; left -= step) {
        if (stop != NULL && stop(data)) {
            return true;
        }
        usleep(step);
    }
    return stop != NULL && stop(data);
}

void ledger_callback_begins(void) {
    callback_depth++;
}

void ledger_callback_ends(void) {
    callback_depth--;
}

void ledger_say(int level, const char * text) {
    ggml_log_callback callback = atomic_load(&log_callback);
    if (callback != NULL) {
        ledger_callback_begins();
        callback((enum ggml_log_level) level, text, log_data);
        ledger_callback_ends();
    }
}

void llama_log_set(ggml_log_callback callback, void * user_data) {
    log_data = user_data;
    atomic_store(&log_callback, callback);
}

// --- for the tests ---

// Makes the next call of `function` fail; `value` is the return code where there is one.
void fake_fail(const char * function, int value) {
    snprintf(failing, sizeof failing, "%s", function);
    atomic_store(&failing_value, value);
    atomic_store(&failing_set, function[0] != '\0');
}

// Makes every computing call take that long.
void fake_delay(int microseconds) {
    atomic_store(&delay_us, microseconds);
}

int fake_running(void) {
    return atomic_load(&running);
}

int fake_mistakes(void) {
    return atomic_load(&mistakes);
}

const char * fake_mistake(int index) {
    return index < MISTAKES && index < atomic_load(&mistakes) ? mistake_texts[index] : "";
}

// Objects of the kind ("model", …) that were ever made, and that still exist.
static int kind_of(const char * name) {
    for (int kind = 0; kind < N_KINDS; ++kind) {
        if (strcmp(kind_names[kind], name) == 0) {
            return kind;
        }
    }
    return 0;
}

int fake_made(const char * kind) {
    return atomic_load(&made[kind_of(kind)]);
}

int fake_live(const char * kind) {
    return atomic_load(&made[kind_of(kind)]) - atomic_load(&freed[kind_of(kind)]);
}

// The process's last word, in the file that FAKE_LLAMA_REPORT names: what the interpreter's exit did.
__attribute__((destructor)) static void report(void) {
    const char * path = getenv("FAKE_LLAMA_REPORT");
    FILE * file = path != NULL ? fopen(path, "a") : NULL;
    if (file == NULL) {
        return;
    }
    fprintf(file, "mistakes %d live", atomic_load(&mistakes));
    for (int kind = 0; kind < N_KINDS; ++kind) {
        fprintf(file, " %s %d", kind_names[kind], atomic_load(&made[kind]) - atomic_load(&freed[kind]));
    }
    fprintf(file, " first: %s\n", mistake_texts[0]);
    fclose(file);
}
