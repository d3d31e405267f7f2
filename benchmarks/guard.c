/* Calls one C function N times, plain or through the guard, for callgrind to count.
   guard LIBRARY GUARD plain|guarded N */

#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef size_t row_size(int type, int64_t count); /* ggml_row_size: two arguments, a few instructions */

int main(int argc, char ** argv) {
    if (argc != 5) {
        return 2;
    }
    void * library = dlopen(argv[1], RTLD_NOW);
    void * guard = dlopen(argv[2], RTLD_NOW);
    if (library == NULL || guard == NULL) {
        fprintf(stderr, "%s\n", dlerror());
        return 1;
    }
    row_size * call = (row_size *) dlsym(library, "ggml_row_size");
    if (strcmp(argv[3], "guarded") == 0) {
        void * (*find)(const char *) = (void * (*)(const char *)) dlsym(guard, "llama_ffi_guard_function");
        void (*install)(void) = (void (*)(void)) dlsym(guard, "llama_ffi_guard_install");
        install();
        call = (row_size *) find("ggml_row_size");
    }
    if (call == NULL) {
        fprintf(stderr, "ggml_row_size is missing\n");
        return 1;
    }
    size_t sum = 0;
    for (long i = 0, n = atol(argv[4]); i < n; ++i) {
        sum += call(0, i);
    }
    return sum == 1;
}
