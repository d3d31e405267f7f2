#include <stdbool.h>
#include <stddef.h>
struct state;
typedef bool (*progress)(float done, void * user);
typedef void (visitor)(struct state * state, int depth);
struct hooks { progress on_progress; void * (*alloc)(size_t size); visitor * visit; int (*table[3])(void); };
void set(struct hooks hooks, progress again);
progress get(void);
int (*choose(int which))(const char * name);
void walk(struct state * state, visitor * visit, int order(int, int));
