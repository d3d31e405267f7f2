/* What the guard library offers to Python. bindgen reads this header like llama.cpp's own, by itself: it
   uses no type of llama.cpp. */

#ifndef LLAMA_FFI_GUARD_API_H
#define LLAMA_FFI_GUARD_API_H

#include <stdbool.h>
#include <stdint.h>

#if defined(_WIN32)
#    define LLAMA_FFI_GUARD_EXPORT __declspec(dllexport)
#else
#    define LLAMA_FFI_GUARD_EXPORT __attribute__((visibility("default")))
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* Makes assertions under guarded calls catchable, for the rest of this process's life. */
LLAMA_FFI_GUARD_EXPORT void llama_ffi_guard_install(void);

/* The guarded form of the C function `name`, with the same signature; NULL if it has none. */
LLAMA_FFI_GUARD_EXPORT void * llama_ffi_guard_function(const char * name);

/* The address of the number of failures that no thread has fetched yet. */
LLAMA_FFI_GUARD_EXPORT const uint64_t * llama_ffi_guard_pending(void);

/* The kind of this thread's last failure, which it forgets: 0 none, 1 an assertion, 2 an exception.
   The strings are valid until this thread's next failure. */
LLAMA_FFI_GUARD_EXPORT int llama_ffi_guard_fetch(const char ** function, const char ** message);

/* Sets this thread's depth and returns the old one. A Python callback runs with depth zero: an
   exception must not unwind through the interpreter's frames. */
LLAMA_FFI_GUARD_EXPORT int llama_ffi_guard_set_depth(int depth);

/* An abort callback that reads a byte of Python's: Python itself would be called for every node of every
   graph, and wait for the interpreter lock each time. */
LLAMA_FFI_GUARD_EXPORT bool llama_ffi_cancelled(void * flag);

/* The log callback that llama.cpp keeps, because it outlives Python; and where it sends the lines: NULL
   for nowhere. */
typedef void (*llama_ffi_log_receiver)(int level, const char * text, void * user_data);
LLAMA_FFI_GUARD_EXPORT void llama_ffi_log(int level, const char * text, void * user_data);
LLAMA_FFI_GUARD_EXPORT void llama_ffi_log_to(llama_ffi_log_receiver receiver);

/* Called inside the receiver: when that returns, the guarded call that logs is left by an exception. For
   calls that C offers no other way to stop, at lines where nothing is left half done. */
LLAMA_FFI_GUARD_EXPORT void llama_ffi_stop_after_log(void);

/* Calls `function`, which takes nothing, or a pointer that it only stores and a number, and returns a struct by
   a hidden pointer; lets it write into `buffer` of `LLAMA_FFI_STRUCT_RETURN_SIZE` bytes. On arm64 that pointer
   has a register of its own. The arguments are those of `_ARGUMENTS` in llama_ffi/_lib/foreign.py. */
#define LLAMA_FFI_STRUCT_RETURN_SIZE 4096
LLAMA_FFI_GUARD_EXPORT void llama_ffi_struct_return(void * function, void * buffer);

/* Where a context's memory lies. */
struct llama_ffi_memory_use {
    void * buffer_type; /* ggml_backend_buffer_type_t */
    uint64_t model;     /* bytes of weights */
    uint64_t context;   /* bytes of what the context remembers: keys and values, recurrent states */
    uint64_t compute;   /* bytes of buffers for computing */
};

/* Writes at most `room` entries, one per buffer type, and returns how many there are; -1 if this llama.cpp
   doesn't tell. It does by a C++ function, which can't be called from Python. */
LLAMA_FFI_GUARD_EXPORT int llama_ffi_memory_breakdown(
    const void * context, struct llama_ffi_memory_use * entries, int room);

#ifdef __cplusplus
}
#endif

#endif
