#pragma once
typedef struct bindgen_va_list *va_list;
