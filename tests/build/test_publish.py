"""Publishing: in one step, whoever else publishes, reads, or is killed; nobody's own files are replaced."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from build_backends import publish, stage
from build_backends.errors import BuildError

ROOT = Path(__file__).resolve().parents[2]


def made(folder: Path, text: str) -> Path:
    """Make a plugin's folder, as a build leaves it."""
    folder.mkdir(parents=True)
    (folder / "libggml-x-abc.so").write_text(text)
    digest = hashlib.sha256(text.encode()).hexdigest()
    manifest = {"format": 1, "kind": "plugin", "backend": "x", "commit": "c", "module": "libggml-x-abc.so"}
    (folder / "manifest.json").write_text(json.dumps({**manifest, "size": len(text), "sha256": digest}))
    assert stage.is_complete(folder)
    return folder


PUBLISHER = """\
import os, sys
from pathlib import Path
from build_backends import publish
exchange, one, other, target, count = sys.argv[1:]
if exchange == "no":
    publish._exchange = lambda one, other: False
if count == "die":
    def replace(source, target, real=os.replace):
        real(source, target)
        os._exit(9)
    os.replace = replace
    count = 1
for _ in range(int(count)):
    for staged in (one, other):
        publish.publish(Path(staged), Path(target))
"""


def publisher(exchange: str, one: Path, other: Path, target: Path, count: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", PUBLISHER, exchange, str(one), str(other), str(target), str(count)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize("exchange", ["yes", "no"])
def test_publishers_at_once_and_a_reader(tmp_path, cache, exchange) -> None:
    one, other = made(tmp_path / "one", "1" * 1000), made(tmp_path / "other", "2" * 2000)
    target = tmp_path / "place" / "target"
    publish.publish(one, target)
    atomic = exchange == "yes" and _can_exchange(tmp_path)
    both = [publisher(exchange, one, other, target, 15) for _ in range(2)]
    seen = set()
    deadline = time.monotonic() + 120
    while any(process.poll() is None for process in both) and time.monotonic() < deadline:
        try:
            seen.add((target / "libggml-x-abc.so").read_text()[0])
        except OSError:
            assert not atomic, "a reader missed the file"
    ends = [process.communicate(timeout=60)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], ends
    assert seen <= {"1", "2"}
    assert stage.is_complete(target)
    assert [each.name for each in target.parent.iterdir()] == ["target"]


def _can_exchange(folder: Path) -> bool:
    """Other systems, and some file systems, have no exchange."""
    one, other = made(folder / "can" / "one", "1"), made(folder / "can" / "other", "2")
    return publish._exchange(one, other)


def test_folders_change_places_or_stay(tmp_path) -> None:
    one, other = made(tmp_path / "one", "1"), made(tmp_path / "other", "2")
    places = (2, 1) if publish._exchange(one, other) else (1, 2)
    assert [int((each / "libggml-x-abc.so").read_text()) for each in (one, other)] == [*places]
    assert not publish._exchange(one, tmp_path / "nothing")


def test_killed_between_two_renames(tmp_path, cache, monkeypatch) -> None:
    old, new = made(tmp_path / "old", "1"), made(tmp_path / "new", "2")
    target = tmp_path / "place" / "target"
    publish.publish(old, target)
    victim = publisher("no", new, new, target, "die")
    victim.communicate(timeout=60)
    assert victim.returncode == 9
    assert not target.exists()  # the state in question
    # the next one puts things right, even if it can't do its own work
    with monkeypatch.context() as patch:
        patch.setattr(publish.shutil, "copytree", Path.unlink)  # new can't be unlinked: it is a folder
        with pytest.raises(BuildError, match="could not be put"):
            publish.publish(new, target)
    assert (target / "libggml-x-abc.so").read_text() == "1"
    publish.publish(new, target)
    assert (target / "libggml-x-abc.so").read_text() == "2"
    assert [each.name for each in target.parent.iterdir()] == ["target"]


def test_the_old_folder_goes_back_if_the_new_one_cannot_come(tmp_path, cache, monkeypatch) -> None:
    target = made(tmp_path / "place" / "target", "1")
    real, calls = os.replace, []

    def replace(source, destination):
        calls.append(source)
        if len(calls) == 2:
            raise PermissionError("in use")
        real(source, destination)

    monkeypatch.setattr(publish, "_exchange", lambda one, other: False)
    monkeypatch.setattr(os, "replace", replace)
    with pytest.raises(BuildError, match=r"could not be put into .*in use"):
        publish.publish(made(tmp_path / "new", "2"), target)
    assert (target / "libggml-x-abc.so").read_text() == "1"
    assert [each.name for each in target.parent.iterdir()] == ["target"]


def test_a_link_to_a_build_stays(tmp_path, cache) -> None:
    target = made(tmp_path / "target", "1")
    (tmp_path / "link").symlink_to(target)
    publish.publish(made(tmp_path / "new", "2"), tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert (target / "libggml-x-abc.so").read_text() == "2"


def test_a_damaged_build_is_replaced(tmp_path, cache) -> None:
    new = made(tmp_path / "new", "2")
    for number, text in enumerate(("", "[]", "{", '{"format": 1}')):
        target = made(tmp_path / str(number), "1")
        (target / "manifest.json").write_text(text)
        publish.publish(new, target)
        assert stage.is_complete(target)


@pytest.mark.parametrize(
    ("files", "named"),
    [
        (["manifest.json"], "manifest.json"),  # a web page's, alone
        (["manifest.json", "licenses"], "licenses"),
        (["manifest.json", "libggml-x.so", "notes.txt"], "notes.txt"),
        (["manifest.json", "plugin.dll"], "plugin.dll"),  # another program's plugin
        (["manifest.json", "libggml-x.so", "libmine.so"], "libmine.so"),
        (["libggml-x.so"], "libggml-x.so"),
        (["manifest.json", "libggml-x.so", ".git"], ".git"),
    ],
)
def test_what_no_build_has_put_there_stays(tmp_path, cache, files, named) -> None:
    target = tmp_path / "target"
    target.mkdir()
    for name in files:
        (target / name).write_text("{}")
    with pytest.raises(BuildError, match="holds something else than a build") as caught:
        publish.publish(made(tmp_path / "new", "2"), target)
    assert named in str(caught.value)
    assert sorted(each.name for each in target.iterdir()) == sorted(files)
    assert not cache.exists()


def test_the_current_folder_is_not_replaced(tmp_path, cache, monkeypatch) -> None:
    """A shell that stands in it would stand nowhere."""
    new, here = made(tmp_path / "new", "2"), tmp_path / "here"
    for place in (here, made(tmp_path / "built", "1")):
        place.mkdir(exist_ok=True)
        monkeypatch.chdir(place)
        for out in (Path.cwd(), Path(".").absolute(), Path("..") / place.name):
            with pytest.raises(BuildError, match="is the current folder"):
                publish.check_target(out)
            with pytest.raises(BuildError, match="is the current folder"):
                publish.publish(new, out)
    assert list(here.iterdir()) == []


def test_a_folder_of_the_users_that_is_named_as_ours_stays(tmp_path, cache) -> None:
    mine = tmp_path / ".target.llama_ffi"
    mine.mkdir()
    (mine / "letter.txt").write_text("mine")
    target = made(tmp_path / "target", "1")
    with pytest.raises(BuildError, match="could not be put"):
        publish.publish(made(tmp_path / "new", "2"), target)
    assert (mine / "letter.txt").read_text() == "mine"
    assert (target / "libggml-x-abc.so").read_text() == "1"
