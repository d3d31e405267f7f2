// The guard: a call into llama.cpp that can fail without taking the process along.
//
// `guarded(name, call)` runs `call` with a thread-local depth above zero. While that depth is above zero,
// the abort callback that ggml calls before `abort()` throws instead of returning, so a failed GGML_ASSERT
// on this thread unwinds to here, as does any C++ exception. The failure is noted for this thread, and
// the caller gets a value of zeros.
//
// What it can't reach: ggml's worker threads and an RPC client's thread (their depth is zero), signals, and
// a stack that has overflowed.

#pragma once

#include "guard_api.h"

#include <exception>
#include <type_traits>

namespace llama_ffi {

// Thrown by the abort callback with ggml's message.
class Aborted : public std::exception {
  public:
    explicit Aborted(const char * message) noexcept;
    const char * what() const noexcept override;
};

enum FailureKind { FAILURE_NONE = 0, FAILURE_ABORT = 1, FAILURE_EXCEPTION = 2 };

// Notes a failure of `function` on this thread.
void note_failure(FailureKind kind, const char * function, const char * message) noexcept;

// How many guarded calls are on this thread's stack.
extern thread_local int guard_depth;

class DepthScope {
  public:
    DepthScope() noexcept { ++guard_depth; }
    ~DepthScope() { --guard_depth; }
    DepthScope(const DepthScope &) = delete;
    DepthScope & operator=(const DepthScope &) = delete;
};

template <class Call> auto guarded(const char * function, Call && call) noexcept -> decltype(call()) {
    using Result = decltype(call());
    try {
        DepthScope scope;
        return call();
    } catch (const Aborted & error) {
        note_failure(FAILURE_ABORT, function, error.what());
    } catch (const std::exception & error) {
        note_failure(FAILURE_EXCEPTION, function, error.what());
    } catch (...) {
        note_failure(FAILURE_EXCEPTION, function, "an exception of unknown type");
    }
    if constexpr (!std::is_void_v<Result>) {
        return Result{};
    }
}

// The generated table of guarded functions, sorted by name.
struct GuardedFunction {
    const char * name;
    void * function;
};
extern const GuardedFunction guarded_functions[];
extern const unsigned guarded_function_count;

} // namespace llama_ffi
