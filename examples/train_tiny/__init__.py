"""Train the small model that ships with llama_ffi, with llama.cpp's own training functions."""
