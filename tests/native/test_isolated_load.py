"""Model.load(..., isolate=True): what kills the child is an error in the parent."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import llama_ffi as lf
from llama_ffi.errors import InvalidArgumentError, ModelFileError, ModelLoadError, UnsupportedError
from tests.fuzz.gguf import bases as bases_

pytestmark = pytest.mark.native

KILLER = """
import sys
import llama_ffi as lf
from llama_ffi._core import gguf_scan, model_file
nothing = gguf_scan.Header(3, 32, {}, {}, {}, 0, 0, 0)
model_file.look_at = lambda path: nothing   # as if the check didn't know this killer yet
model_file.check_model = lambda *args: None
"""


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return bases_.make_all(tmp_path_factory.mktemp("bases"))


def test_a_sound_model(bases: dict[str, Path], source: Path) -> None:
    with lf.Model.load(bases["llama"], isolate=True, kv_overrides={"llama.context_length": 99}) as model:
        assert model.n_ctx_train == 99
    lf.Model.load(bases["bert"], isolate=60.0).close()
    lf.Model.load(bases["split"], isolate=True).close()
    lf.Model.load(source / "models/ggml-vocab-gpt-2.gguf", vocab_only=True, isolate=True).close()


def test_what_the_child_says(bases: dict[str, Path], tmp_path: Path) -> None:
    path = tmp_path / "bad.gguf"
    lf.gguf.edit(bases["llama"], path, set={"general.architecture": "no such thing"})
    with pytest.raises(ModelLoadError, match="unknown model architecture") as caught:
        lf.Model.load(path, isolate=True)
    assert caught.value.log
    with pytest.raises(InvalidArgumentError, match="isolate"):
        lf.Model.load(bases["llama"], isolate=-1.0)
    with open(bases["llama"], "rb") as file, pytest.raises(UnsupportedError, match="needs a path"):
        lf.Model.load(file, isolate=True)
    with pytest.raises(ModelFileError, match=r"wasn.t done after 0\.01 seconds"):
        lf.Model.load(bases["llama"], isolate=0.01)


@pytest.mark.skipif(os.name == "nt", reason="names of POSIX signals")
def test_a_file_that_kills(bases: dict[str, Path], tmp_path: Path) -> None:
    """The check is taken out in both processes, so that it kills: directly, and isolated only the child."""
    path = tmp_path / "killer.gguf"
    lf.gguf.edit(bases["rwkv"], path, set={"rwkv6.wkv.head_size": 0})
    (tmp_path / "sitecustomize.py").write_text(
        "import os\nif os.environ.get('TEST_WITHOUT_CHECK'):\n"
        + "".join(f"    {line}\n" for line in KILLER.strip().splitlines())
    )
    root = str(Path(lf.__file__).resolve().parent.parent)
    environment = {
        **os.environ,
        "TEST_WITHOUT_CHECK": "1",
        "PYTHONPATH": os.pathsep.join([str(tmp_path), root]),
    }
    load = f"import llama_ffi as lf\nlf.Model.load({str(path)!r}, isolate=ISOLATE)"
    direct = [sys.executable, "-c", load.replace("ISOLATE", "False")]
    assert subprocess.run(direct, env=environment, capture_output=True).returncode < 0
    isolated = f"""
import llama_ffi as lf
try:
    lf.Model.load({str(path)!r}, isolate=True)
except lf.errors.ModelFileError as error:
    assert "died (SIGFPE)" in str(error), error
    assert error.code == -8
    print("alive")
"""
    done = subprocess.run([sys.executable, "-c", isolated], env=environment, capture_output=True, text=True)
    assert done.stdout == "alive\n", done.stdout + done.stderr
