#include <stdint.h>
#define BASE 2
enum plain { PLAIN_A, PLAIN_B = 5, PLAIN_C };
enum flags { FLAGS_NONE = 0, FLAGS_X = 1 << 0, FLAGS_Y = 1 << BASE, FLAGS_ALL = FLAGS_X | FLAGS_Y };
enum negative { NEG_A = -3, NEG_B, NEG_SAME = NEG_A };
enum wide { WIDE = 0xFFFFFFFF };
enum huge { HUGE = 1ll << 40 };
enum sized { SIZED = sizeof(int64_t) / 4, CAST = (int8_t) 200, HEX = 0x7f, CHAR = 'x' };
typedef enum { NAMELESS_A = 1, NAMELESS_B } nameless;
enum { LOOSE = 7, LOOSER };
enum plain use(enum flags f, nameless n, enum huge * h);
