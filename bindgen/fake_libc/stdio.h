#pragma once
#include <stddef.h>
typedef struct bindgen_file FILE;
