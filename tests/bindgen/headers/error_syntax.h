int fine(void);
struct broken { int a int b; };
