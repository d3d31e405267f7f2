"""Stands before llama-cpp-python on PYTHONPATH: switches it to llama_ffi's library and hands over to it."""

import sys
from importlib import import_module
from pathlib import Path

try:
    from llama_ffi.compat import install
except ModuleNotFoundError:  # this folder is on PYTHONPATH, the one that holds llama_ffi isn't
    sys.path.append(str(Path(__file__).resolve().parents[4]))
    from llama_ffi.compat import install

install()
del sys.modules[__name__]
import_module(__name__)
