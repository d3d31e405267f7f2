"""`import llama_cpp` on our library: install(), run, env, with and without a llama-cpp-python."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.compat.conftest import ROOT, Run

pytestmark = pytest.mark.native
Package = Callable[..., Path]

SHOW = """
import llama_cpp, llama_cpp.llama_cpp as low
print(llama_cpp.__version__, low.__name__, llama_cpp.Llama.__module__, llama_cpp.llama_max_devices() > 0)
print(llama_cpp.llama_cpp is low, llama_cpp.llama_decode is low.llama_decode)
"""
SHOWN = "0.3.36 llama_ffi.compat.llama_cpp llama_cpp.llama True\nTrue True\n"


def test_an_installed_package_runs_on_our_library(python: Run, package: Package) -> None:
    install = "import llama_ffi.compat as c; c.install(); c.install()\n"
    assert python("-c", install + SHOW, path=(package(),)).stdout == SHOWN


LATE = """
import sys, threading
import llama_ffi.compat as c; c.install()
import llama_cpp, llama_cpp.llama_cpp as low
assert llama_cpp.llama_decode is low.llama_decode  # no reason to begin
assert "llama_cpp.llama" not in sys.modules
try:
    llama_cpp.Llama
except RuntimeError as error:
    print(error)
assert "llama_cpp.llama" not in sys.modules
sys.ready = True
found = []
threads = [threading.Thread(target=lambda: found.append(llama_cpp.Llama)) for _ in range(4)]
[each.start() for each in threads], [each.join() for each in threads]
assert len(found) == 4 and len(set(found)) == 1
assert "__getattr__" not in vars(llama_cpp) and "__dir__" not in vars(llama_cpp)
try:
    llama_cpp.absent
except AttributeError as error:
    print(error)
"""


def test_its_python_code_is_imported_when_a_name_of_it_is_wanted(python: Run, package: Package) -> None:
    site = package(code="import sys\nif not hasattr(sys, 'ready'): raise RuntimeError('not ready')\n")
    said = python("-c", LATE, path=(site,)).stdout
    assert said == "not ready\nmodule 'llama_cpp' has no attribute 'absent'\n"


@pytest.mark.parametrize(
    "wanted",
    [
        "from llama_cpp import *; Llama, llama_decode",
        "import llama_cpp; assert {'Llama', 'llama_decode', '__version__'} <= {*dir(llama_cpp)}",
        "import llama_cpp; assert llama_cpp.__version__ == '0.3.36'; vars(llama_cpp)['Llama']",
        "from llama_cpp import llama, Llama; assert llama.Llama is Llama",
        "import llama_cpp.llama as llama; import llama_cpp; assert llama.Llama is llama_cpp.Llama",
        "import importlib, llama_cpp; importlib.reload(llama_cpp); llama_cpp.Llama",
    ],
)
def test_any_way_to_want_it(python: Run, package: Package, wanted: str) -> None:
    python("-c", f"import llama_ffi.compat as c; c.install()\n{wanted}", path=(package(),))


def test_its_own_library_is_never_opened(python: Run, package: Package) -> None:
    program = """
import llama_ffi.compat as c; c.install()
import ctypes
import llama_ffi, llama_cpp._ggml, llama_cpp.mtmd_cpp
assert llama_cpp._ggml.libggml._name == str(llama_ffi.library_paths()["ggml"])
assert llama_cpp.mtmd_cpp.mtmd_default_marker()
assert isinstance(llama_cpp.mtmd_cpp._libmtmd, ctypes.CDLL)
try:
    import llama_cpp.llava_cpp
except llama_ffi.errors.LibraryNotFoundError as error:
    print(error)
"""
    said = python("-c", program, path=(package(),)).stdout
    assert "no library 'llava'" in said and "mtmd_cpp" in said


def test_too_late_is_an_error(python: Run, package: Package, tmp_path: Path) -> None:
    site = package()
    (site / "llama_cpp" / "llama_cpp.py").write_text("", encoding="utf-8")
    program = "import llama_cpp; import llama_ffi.compat as c; c.install()"
    done = python("-c", program, path=(site,), ok=False)
    assert "AlreadyLoadedError: install() came too late" in done.stderr
    assert str(site / "llama_cpp" / "llama_cpp.py") in done.stderr


def test_run(python: Run, package: Package, tmp_path: Path) -> None:
    (tmp_path / "neighbour.py").write_text("value = 7\n", encoding="utf-8")
    script = tmp_path / "script.py"
    script.write_text(
        "import sys, subprocess, neighbour\n"
        f"print(__name__, sys.argv[1:], neighbour.value){SHOW}"
        "sys.stdout.flush()\n"
        f"subprocess.run([sys.executable, '-c', {SHOW!r}], check=True)\n"
        "sys.exit(3)\n",
        encoding="utf-8",
    )
    done = python("-m", "llama_ffi.compat", "run", str(script), "-x", "1", path=(package(),), ok=False)
    assert done.stdout == f"__main__ ['-x', '1'] 7\n{SHOWN}{SHOWN}", done.stderr
    assert done.returncode == 3


def test_run_a_module(python: Run, package: Package) -> None:
    site = package()
    (site / "program.py").write_text(f"import sys\nprint(sys.argv[1:]){SHOW}", encoding="utf-8")
    done = python("-m", "llama_ffi.compat", "run", "-m", "program", "--flag", path=(site,))
    assert done.stdout == f"['--flag']\n{SHOWN}"


def test_wrong_commands_say_so(python: Run) -> None:
    absent = python("-m", "llama_ffi.compat", "run", "absent.py", ok=False)
    assert (absent.returncode, absent.stderr) == (2, "error: there is no file absent.py\n")
    nothing = python("-m", "llama_ffi.compat", "run", ok=False)
    assert nothing.returncode == 2 and "which program?" in nothing.stderr
    unknown = python("-m", "llama_ffi.compat", "fly", ok=False)
    assert unknown.returncode == 2 and "invalid choice: 'fly'" in unknown.stderr


def test_env_on_pythonpath(python: Run, package: Package, tmp_path: Path) -> None:
    site = package()
    shim = python("-m", "llama_ffi.compat", "env").stdout.strip()
    assert Path(shim).is_dir() and os.listdir(shim) != []
    assert python("-c", SHOW, path=(Path(shim), site)).stdout == SHOWN
    # a program elsewhere, llama_ffi itself not importable otherwise
    entries = os.pathsep.join([shim, str(site)])
    assert python("-c", SHOW, env={"PYTHONPATH": entries}).stdout == SHOWN
    assert str(ROOT) in shim


def test_without_llama_cpp_python_there_is_the_low_level(python: Run) -> None:
    program = """
import llama_ffi.compat as c; c.install()
import llama_cpp
from llama_cpp import llama_model_default_params
assert llama_model_default_params().n_gpu_layers == -1 and llama_cpp.GGML_TYPE_F16 == 1
assert callable(llama_cpp.ggml_time_us)
for attempt in ("from llama_cpp import Llama", "import llama_cpp.server", "llama_cpp.Llama"):
    try:
        exec(attempt)
    except (ImportError, AttributeError) as error:
        print(type(error).__name__, error)
try:
    llama_cpp.llama_decoed
except AttributeError as error:
    print(error)
"""
    said = python("-c", program).stdout.splitlines()
    assert said[0].startswith("ImportError cannot import name 'Llama'")
    assert said[1].startswith("ModuleNotFoundError llama_cpp.server is Python code of llama-cpp-python")
    assert said[2].startswith("AttributeError llama_cpp.Llama is Python code") and "pip install" in said[2]
    assert "no llama_decoed" in said[3] and "did you mean llama_decode" in said[3]


def test_install_opens_no_library(python: Run) -> None:
    program = """
import sys
import llama_ffi.compat
llama_ffi.compat.install()
print([name for name in ("ctypes", "ast", "llama_ffi._core.runtime") if name in sys.modules])
"""
    assert python("-S", "-c", program).stdout == "[]\n"
