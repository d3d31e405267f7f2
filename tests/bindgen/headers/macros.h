#include <stdint.h>
#define GUARD
#define NUMBER 42
#define NEGATIVE -1
#define HEX 0xFFFFFFFFu
#define SHIFT (1u << 31)
#define REFERENCE (NUMBER + OFFSET)
#define STRING "text" " and more"
#define FLOAT 1.5e3f
#define CAST ((uint8_t) 300)
#define SIZEOF sizeof(struct s)
#define FUNCTION(x) ((x) + 1)
#define CALL FUNCTION(2)
#define TYPE unsigned int
#define EXTERN extern
#define STATEMENT do { } while (0)
#define UNKNOWN some_function()
enum { OFFSET = 8 };
struct s { char c; int i; };
static const int STATIC = NUMBER / 4;
