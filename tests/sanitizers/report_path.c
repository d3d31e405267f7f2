// Preloaded with the sanitizers. Beside libasan, GCC's libubsan doesn't heed log_path and writes to stderr, which
// tests swallow; but it listens when it is told.

#include <dlfcn.h>
#include <stdlib.h>

__attribute__((constructor)) static void tell(void) {
    const char * path = getenv("UBSAN_REPORT_PATH");
    void * library = dlopen("libubsan.so.1", RTLD_NOW | RTLD_NOLOAD);
    void (*set_report_path)(const char *) = library ? dlsym(library, "__sanitizer_set_report_path") : NULL;
    if (path && set_report_path) {
        set_report_path(path);
    }
}
