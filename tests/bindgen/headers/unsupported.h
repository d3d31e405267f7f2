#include <stdarg.h>
#include <stdio.h>
struct bits { int a : 3; unsigned b : 5; };
struct holds_bits { struct bits inside; int more; };
union number { int i; float f; };
struct with_union { union number n; };
struct incomplete;
struct packed { char c; int i; } __attribute__((packed));
typedef long double wide;
typedef float vector __attribute__((vector_size(16)));
int takes_bits(struct bits value);
int points_at_bits(struct bits * value);
int takes_union(union number value);
int takes_struct_with_union(struct with_union value);
int points_at_union(union number * value);
long double takes_long_double(int a);
int takes_wide(wide value);
int takes_va_list(const char * format, va_list arguments);
int takes_incomplete(struct incomplete value);
int takes_packed(struct packed value);
_Complex double takes_complex(void);
__int128 takes_int128(void);
int takes_file(FILE * file);
int prints(const char * format, ...);
static inline int in_the_header(int a) { return a; }
static int also_in_the_header(void);
int renamed(void) __asm__("another_name");
int other_convention(int a) __attribute__((ms_abi));
extern int a_variable;
