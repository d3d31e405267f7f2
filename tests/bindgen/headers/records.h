#include <stdint.h>
#define SIZE 4
struct node { struct node * next; int32_t value; };
struct pair { struct node first, * second; };
typedef struct { char c; double d; } box;
typedef struct tagged { box items[SIZE * 2]; struct { int x, y; } at; } tagged_t;
struct outer { struct inner { short a; } in; struct inner more[2]; };
struct hidden;
typedef struct hidden hidden;
typedef struct hidden * handle;
box make(struct pair pair, handle h, const tagged_t * t, hidden ** out);
