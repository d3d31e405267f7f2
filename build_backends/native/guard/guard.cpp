// The guard's state, and the small C functions that Python needs where Python itself must not run.

#include "guard.hpp"

#include "ggml.h"

#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <new>
#include <stdexcept>

namespace llama_ffi {

namespace {

constexpr size_t MESSAGE_SIZE = 2048;

struct Failure {
    FailureKind kind = FAILURE_NONE;
    const char * function = "";
    char message[MESSAGE_SIZE] = "";
};

// No allocation: a failure may be noted when there is no memory left.
thread_local Failure failure;
thread_local char abort_message[MESSAGE_SIZE];

// Failures that no thread has fetched yet. Python reads it after each call, which costs a load; only
// when it isn't zero does a thread ask whether one of them is its own.
std::atomic<uint64_t> pending{ 0 };

void copy(char * to, const char * from) noexcept {
    std::snprintf(to, MESSAGE_SIZE, "%s", from ? from : "");
}

void on_abort(const char * message) {
    if (guard_depth > 0) {
        throw Aborted(message);
    }
    // ggml ends the process after this; what it would have said is said here.
    std::fprintf(stderr, "%s\n", message);
}

} // namespace

thread_local int guard_depth = 0;

Aborted::Aborted(const char * message) noexcept {
    copy(abort_message, message);
}

const char * Aborted::what() const noexcept {
    return abort_message;
}

void note_failure(FailureKind kind, const char * function, const char * message) noexcept {
    if (failure.kind == FAILURE_NONE) {
        pending.fetch_add(1);
    }
    failure.kind = kind;
    failure.function = function;
    copy(failure.message, message);
}

} // namespace llama_ffi

using namespace llama_ffi;

static_assert(sizeof(std::atomic<uint64_t>) == sizeof(uint64_t), "Python reads the counter as a plain integer");

void llama_ffi_guard_install(void) {
    ggml_set_abort_callback(on_abort);
}

void * llama_ffi_guard_function(const char * name) {
    for (unsigned i = 0; i < guarded_function_count; ++i) {
        if (std::strcmp(guarded_functions[i].name, name) == 0) {
            return guarded_functions[i].function;
        }
    }
    return nullptr;
}

const uint64_t * llama_ffi_guard_pending(void) {
    return reinterpret_cast<const uint64_t *>(&pending);
}

int llama_ffi_guard_fetch(const char ** function, const char ** message) {
    const FailureKind kind = failure.kind;
    if (kind != FAILURE_NONE) {
        *function = failure.function;
        *message = failure.message;
        failure.kind = FAILURE_NONE;
        pending.fetch_sub(1);
    }
    return kind;
}

int llama_ffi_guard_set_depth(int depth) {
    const int old = guard_depth;
    guard_depth = depth;
    return old;
}

bool llama_ffi_cancelled(void * flag) {
    return static_cast<std::atomic<unsigned char> *>(flag)->load(std::memory_order_relaxed) != 0;
}

static std::atomic<llama_ffi_log_receiver> log_receiver{ nullptr };

void llama_ffi_log_to(llama_ffi_log_receiver receiver) {
    log_receiver.store(receiver);
}

static thread_local bool stop_requested = false;

void llama_ffi_stop_after_log(void) {
    stop_requested = true;
}

void llama_ffi_log(int level, const char * text, void * user_data) {
    if (llama_ffi_log_receiver receiver = log_receiver.load()) {
        receiver(level, text, user_data);
        if (stop_requested) {
            stop_requested = false;
            if (guard_depth > 0) {
                throw std::runtime_error("stopped on request");
            }
        }
    }
}

// So large that it comes back through a hidden pointer everywhere; the callee writes only what its own
// struct has.
struct Returned {
    unsigned char bytes[LLAMA_FFI_STRUCT_RETURN_SIZE];
};

void llama_ffi_struct_return(void * function, void * buffer) {
    // A function that takes nothing doesn't look at the registers that these arguments are in.
    void * tokens = reinterpret_cast<void *>(0x10);
    new (buffer) Returned(reinterpret_cast<Returned (*)(void *, int32_t)>(function)(tokens, 3));
}
