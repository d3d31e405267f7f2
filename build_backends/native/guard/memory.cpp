// Where a context's memory lies, which llama.cpp tells in C++ only, by a header outside of its public ones.

#include "guard.hpp"

// Another version's may look different.
#if defined(__has_include) && !defined(LLAMA_FFI_PUBLIC_HEADERS_ONLY)
#    if __has_include("llama-ext.h")
#        include "llama-ext.h"
#        define LLAMA_FFI_HAS_BREAKDOWN
#    endif
#endif

using namespace llama_ffi;

int llama_ffi_memory_breakdown(const void * context, llama_ffi_memory_use * entries, int room) {
#if defined(LLAMA_FFI_HAS_BREAKDOWN)
    return guarded("llama_get_memory_breakdown", [&] {
        int count = 0;
        for (const auto & [buffer_type, use] :
             llama_get_memory_breakdown(static_cast<const llama_context *>(context))) {
            if (count < room) {
                entries[count] = { buffer_type, use.model, use.context, use.compute };
            }
            ++count;
        }
        return count;
    });
#else
    (void) context;
    (void) entries;
    (void) room;
    return -1;
#endif
}
