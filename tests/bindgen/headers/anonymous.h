#include <stdint.h>
struct value {
    uint8_t kind;
    union { int64_t i; double d; struct { float re, im; }; };
    union { char text[16]; uint32_t words[4]; } named;
    struct { int8_t q; } many[3];
};
void print(const struct value * value);
