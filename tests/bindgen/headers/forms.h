#pragma once
#ifndef FORMS_H
#define FORMS_H
#ifdef __cplusplus
extern "C" {
#endif
struct twice;
struct twice;
typedef struct twice twice;
typedef struct twice twice;
struct twice { int a; };
int again(twice * t);
int again(twice * t);
int a, b_variable;
typedef int number, * pointer;
_Static_assert(sizeof(int) == 4, "int");
number use(pointer p, const volatile int * const restrict q);
;
#ifdef __cplusplus
}
namespace forms { struct wrapper { int x; }; }
class only_cpp;
int overloaded(int a);
#endif
#endif
