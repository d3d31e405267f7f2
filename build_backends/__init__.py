"""Build llama.cpp's shared libraries from the pinned source and pack them into wheels.

`recipes` says what a back end is, `toolchain` what it needs, `cmake` runs it, `stage` picks up the result,
`build` ties them together behind a cache; `pep517` and `hatch_hook` make it a build back end for pip.
"""
