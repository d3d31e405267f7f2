"""Generate the bindings of llama.cpp from its headers.

The stages are: run the C preprocessor (`preprocess`), parse (`parse`, `evaluate`) into frozen
dataclasses (`ir`), decide what can be bound (`analyze`), and write a closed list of files
(`emit`, `files`).  A C compiler judges the result (`probe`, `layout`).
"""
