#define OLD(declaration, hint) declaration __attribute__((deprecated(hint)))
OLD(int first(void), "use second");
int second(int a,
           int b) __attribute__((deprecated));
__attribute__((deprecated("leading"))) int third(void);
int last(void);
