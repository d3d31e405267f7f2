// A back end for tests: devices that say they are GPUs and compute on the processor.
//
//   FAKE_DEVICES  how many there are (1)
//   FAKE_FREE     bytes that each says are free (2^30)

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "ggml-backend-impl.h"
#include "ggml-cpu.h"

namespace {

constexpr int MOST = 4;

ggml_backend_reg registry;
ggml_backend_device devices[MOST];
ggml_backend_buffer_type buffer_types[MOST];
char names[MOST][8];

size_t number(const char * variable, size_t usual) {
    const char * text = getenv(variable);
    return text ? strtoull(text, nullptr, 10) : usual;
}

size_t count() { return number("FAKE_DEVICES", 1); }

ggml_backend_dev_t cpu() { return ggml_backend_reg_dev_get(ggml_backend_cpu_reg(), 0); }

const char * buffer_name(ggml_backend_buffer_type_t type) { return names[(char *) type->context - (char *) nullptr]; }

ggml_backend_buffer_t allocate(ggml_backend_buffer_type_t type, size_t size) {
    ggml_backend_buffer_t buffer = ggml_backend_buft_alloc_buffer(ggml_backend_cpu_buffer_type(), size);
    if (buffer) {
        buffer->buft = type;
    }
    return buffer;
}

size_t alignment(ggml_backend_buffer_type_t) { return ggml_backend_buft_get_alignment(ggml_backend_cpu_buffer_type()); }
size_t largest(ggml_backend_buffer_type_t) { return SIZE_MAX; }
bool no_host(ggml_backend_buffer_type_t) { return false; }

size_t index_of(ggml_backend_dev_t device) { return device - devices; }
const char * device_name(ggml_backend_dev_t device) { return names[index_of(device)]; }
const char * description(ggml_backend_dev_t) { return "a GPU that is none"; }
enum ggml_backend_dev_type kind(ggml_backend_dev_t) { return GGML_BACKEND_DEVICE_TYPE_GPU; }
ggml_backend_buffer_type_t buffer_type(ggml_backend_dev_t device) { return &buffer_types[index_of(device)]; }
bool supports_op(ggml_backend_dev_t, const ggml_tensor * op) { return ggml_backend_dev_supports_op(cpu(), op); }

void memory(ggml_backend_dev_t, size_t * free, size_t * total) {
    *free = number("FAKE_FREE", size_t(1) << 30);
    *total = *free * 2;
}

void props(ggml_backend_dev_t device, ggml_backend_dev_props * found) {
    memset(found, 0, sizeof *found);
    found->name = device_name(device);
    found->description = description(device);
    found->type = kind(device);
    memory(device, &found->memory_free, &found->memory_total);
}

bool supports_buffer(ggml_backend_dev_t device, ggml_backend_buffer_type_t type) {
    return type == buffer_type(device);
}

const char * backend_name(ggml_backend_t backend) { return device_name(backend->device); }

ggml_guid guid = { 0xfa, 0x4e, 0x01 };

ggml_backend_t start(ggml_backend_dev_t device, const char *) {
    ggml_backend_t backend = ggml_backend_cpu_init();
    backend->guid = &guid;
    backend->device = device;
    backend->iface.get_name = backend_name;
    return backend;
}

const char * registry_name(ggml_backend_reg_t) { return FAKE_NAME; }
size_t device_count(ggml_backend_reg_t) { return count(); }
ggml_backend_dev_t device_at(ggml_backend_reg_t, size_t index) { return &devices[index]; }
void * function(ggml_backend_reg_t, const char *) { return nullptr; }

} // namespace

extern "C" __attribute__((visibility("default"))) ggml_backend_reg_t ggml_backend_init(void) {
    registry.api_version = FAKE_API_VERSION;
    registry.iface = { registry_name, device_count, device_at, function };
    for (size_t index = 0; index < MOST; index++) {
        snprintf(names[index], sizeof names[index], "FAKE%zu", index);
        devices[index].iface = { device_name, description, memory, kind, props, start, buffer_type, nullptr,
                                 nullptr, supports_op, supports_buffer, nullptr, nullptr, nullptr, nullptr };
        devices[index].reg = &registry;
        buffer_types[index].iface = { buffer_name, allocate, alignment, largest, nullptr, no_host };
        buffer_types[index].device = &devices[index];
        buffer_types[index].context = (char *) nullptr + index;
    }
    return &registry;
}
