// What the safe layer asks of ggml: one back end with one device, and the sizes of types.

#include "objects.h"

#include "ggml-backend.h"

static int the_one; // its address stands for the only back end and for its device

void llama_backend_init(void) {}

const char * llama_version(void) {
    return "fake";
}

size_t llama_max_devices(void) {
    return 16;
}

size_t ggml_backend_reg_count(void) {
    return 1;
}

size_t ggml_backend_dev_count(void) {
    return 1;
}

ggml_backend_dev_t ggml_backend_dev_get(size_t index) {
    (void) index;
    return (ggml_backend_dev_t) &the_one;
}

const char * ggml_backend_dev_name(ggml_backend_dev_t device) {
    (void) device;
    return "CPU";
}

enum ggml_backend_dev_type ggml_backend_dev_type(ggml_backend_dev_t device) {
    (void) device;
    return GGML_BACKEND_DEVICE_TYPE_CPU;
}

int64_t ggml_blck_size(enum ggml_type type) {
    (void) type;
    return 1;
}

bool ggml_is_quantized(enum ggml_type type) {
    (void) type;
    return false;
}

size_t ggml_row_size(enum ggml_type type, int64_t count) {
    (void) type;
    return 2 * (size_t) count;
}

bool ggml_validate_row_data(enum ggml_type type, const void * data, size_t size) {
    (void) type, (void) data, (void) size;
    return true;
}
