// The ledger of the fake libllama: every object that exists or ever existed, who depends on whom, who is
// inside of what, and every mistake that a caller made.
//
// Nothing is ever given back to malloc. A freed object keeps its place and says so, so that a second
// free, a late use or a wrong order is seen and named instead of corrupting something.

#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum kind { MODEL, CONTEXT, SAMPLER, CHAIN, ADAPTER, POOL, BATCH, N_KINDS };

struct object {
    uint64_t magic;
    enum kind kind;
    int serial;             // counts the objects of this process, for messages
    pid_t process;          // only the process that made an object may free it
    atomic_bool alive;
    atomic_int calls;       // calls that are inside of it now
    atomic_int children;    // objects that need it
    struct object * parent; // what it needs
    struct object * owner;  // the chain that frees it
};

// Adds an object to the ledger; `parent` may be NULL.
void ledger_made(struct object * object, enum kind kind, struct object * parent);

// Takes an object out; notes a mistake and returns false if that was wrong. A child that was freed
// after its parent is such a mistake, and so is anything while a callback is on this thread's stack.
bool ledger_freed(struct object * object);

// The same for an object whose owner frees it.
bool ledger_freed_by_owner(struct object * object);

// Brackets every use: the object must be alive, and only a model or an adapter may have two
// calls inside.
void ledger_enter(struct object * object, enum kind kind, const char * function);
void ledger_leave(struct object * object);

// Notes a mistake, printf-like.
void ledger_mistake(const char * format, ...) __attribute__((format(printf, 1, 2)));

// Whether the test asked `function` to fail at its next call; `value` is what it asked for.
bool ledger_must_fail(const char * function, int * value);

// Takes the time that the test asked calls to take; calls `stop(data)` in between, true ends it early.
bool ledger_take_time(bool (*stop)(void *), void * data);

// Calls back into Python: the log, and brackets for other callbacks.
void ledger_say(int level, const char * text);
void ledger_callback_begins(void);
void ledger_callback_ends(void);
