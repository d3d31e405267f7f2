"""The library for any processor: each variant of its CPU back end that runs here writes the same text."""

from __future__ import annotations

import json
import os
import platform
from pathlib import Path

import pytest

from .builds import built
from .processes import PROMPT, run

pytestmark = pytest.mark.model

# Of each architecture: the variant that every processor runs, how many there are at least, and how many of
# them run on any processor that is met today.
KNOWN = {"x86_64": ("ggml-cpu-x64", 10, 4), "aarch64": ("ggml-cpu-armv8.0_1", 8, 2)}

GENERATE = f"""
import json
import llama_ffi as lf
text = "".join(lf.generate({PROMPT!r}, max_tokens=100, temp=0, n_threads=1))
long = "".join(lf.generate("The little dog ran to the big tree. " * 12, max_tokens=16, temp=0, n_threads=1))
features = dict(lf.Backend.find("CPU").features)
cpus = [device.name for device in lf.devices() if device.type == "CPU"]
print(json.dumps({{"text": [text, long], "features": features, "cpus": cpus}}))
"""


def variants(folder: Path) -> dict[str, str]:
    """Return the variants' files by their names."""
    modules = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["modules"]
    return {name: file for name, file in modules.items() if name.startswith("ggml-cpu")}


def only(folder: Path, variant: str, scratch: Path) -> Path:
    """Return a folder with the libraries of `folder` and one variant of the CPU's back end."""
    place = scratch / variant
    place.mkdir()
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    left_out = {file for name, file in variants(folder).items() if name != variant}
    for file in folder.iterdir():
        if file.name not in (*left_out, "manifest.json"):
            os.symlink(file, place / file.name)
    manifest["modules"] = {k: file for k, file in manifest["modules"].items() if file not in left_out}
    (place / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    return place


def test_every_variant_writes_the_same(tmp_path: Path) -> None:
    folder = built("cpu")
    names = variants(folder)
    plain, at_least, run_at_least = KNOWN[platform.machine()]
    assert plain in names and len(names) >= at_least, names
    chosen = run(GENERATE, {"LLAMA_FFI_LIB": str(folder)})
    assert chosen.returncode == 0, chosen.stderr
    wanted = json.loads(chosen.stdout)
    assert wanted["cpus"] == ["CPU"], "exactly one CPU module is loaded"
    texts, features, refused = {}, {}, {}
    for name in names:
        done = run(GENERATE, {"LLAMA_FFI_LIB": str(only(folder, name, tmp_path))})
        if done.returncode == 0:
            found = json.loads(done.stdout)
            texts[name], features[name] = found["text"], found["features"]
        else:
            refused[name] = done.stderr
    for name, why in refused.items():  # never by SIGILL
        assert "has no CPU back end that can be used" in why, f"{name}: {why}"
    assert plain in texts and len(texts) >= run_at_least, refused
    for name, text in texts.items():
        assert text == wanted["text"], name
    # what is chosen by itself is one of them, and none has all of its features and more
    assert wanted["features"] in features.values()
    chosen_ones = set(wanted["features"].items())
    assert not any(chosen_ones < set(each.items()) for each in features.values())
    print(f"{len(texts)} variants ran: {', '.join(sorted(texts))}")
