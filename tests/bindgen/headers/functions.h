#include <stddef.h>
#include <stdint.h>
#include <stdbool.h>
void nothing(void);
int unnamed(int, const char *, bool);
size_t words(unsigned long int a, long long unsigned b, short signed int c, char d, signed char e);
float keyword(float lambda, double in, int self);
const char * text(const char * in, char * out, const char * const * many);
int32_t arrays(int32_t a[4], const float b[], uint8_t c[2][3]);
