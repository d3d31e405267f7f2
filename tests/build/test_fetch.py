"""Fetching: the order of the sources, what each failure says, and that the cache never holds half a tree."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import tarfile
import time
from dataclasses import replace
from pathlib import Path

import pytest
from little_llama import FILES, pack, write_tree

from vendor import download, fetch, tree, unpack
from vendor.fetch import FetchError
from vendor.pin import load_pin

ROOT = Path(__file__).resolve().parents[2]


def leftovers(cache: Path) -> list[str]:
    return [file.name for file in (cache / "source").iterdir() if file.name.startswith(".fetch-")]


def test_first_from_the_index_then_from_the_cache(upstream, cache) -> None:
    root = fetch.fetch(progress=False, pin=upstream.pin)
    assert cache in root.parents
    assert tree.digest(root) == upstream.pin.tree_sha256
    assert not (root / "docs").exists()
    assert not (root / "tools/ui").exists()
    assert fetch.fetch(progress=False, pin=upstream.pin) == root
    assert upstream.pip_calls() == 1
    assert not leftovers(cache)


def test_pip_is_asked_by_name_for_the_source(upstream) -> None:
    fetch.fetch(progress=False, pin=upstream.pin)
    call = upstream.calls.read_text()
    assert "download --no-deps --no-binary thing" in call
    assert "thing==1" in call


def test_a_checkout_of_the_users_comes_first(upstream, tmp_path, monkeypatch) -> None:
    mine = write_tree(tmp_path / "mine", FILES)
    monkeypatch.setenv(fetch.ENVIRONMENT, str(mine))
    assert fetch.fetch(progress=False, pin=upstream.pin) == mine
    assert upstream.pip_calls() == 0


def test_a_named_checkout_is_never_passed_over(upstream, tmp_path, monkeypatch) -> None:
    mine = write_tree(tmp_path / "mine", {"CMakeLists.txt": ""})
    monkeypatch.setenv(fetch.ENVIRONMENT, str(mine))
    with pytest.raises(
        FetchError, match=r"LLAMA_FFI_LLAMA_CPP_DIR: .*mine is not a llama\.cpp tree: ggml/include"
    ):
        fetch.fetch(progress=False, pin=upstream.pin)
    assert upstream.pip_calls() == 0


def test_the_archive_is_next_when_the_index_fails(upstream, monkeypatch) -> None:
    monkeypatch.setenv("FAKE_PIP_ERROR", "No matching distribution found for thing==1")
    root = fetch.fetch(progress=False, pin=upstream.pin)
    assert tree.digest(root) == upstream.pin.tree_sha256


def test_a_file_with_another_hash_is_not_used(upstream, tmp_path, monkeypatch) -> None:
    other = pack(tmp_path / "thing-1.tar.gz", "thing-1/vendor/llama.cpp", {**FILES, "src/llama.c": "evil"})
    monkeypatch.setenv("FAKE_PIP_FILE", str(other))
    pin = replace(upstream.pin, archive=replace(upstream.pin.archive, url="file:///nowhere/archive.tar.gz"))
    with pytest.raises(FetchError) as caught:
        fetch.fetch(progress=False, pin=pin)
    reasons = dict(caught.value.tried)
    index = next(reason for source, reason in reasons.items() if "package index" in source)
    assert f"wanted {pin.index.size:,} bytes and sha256 {pin.index.sha256}" in index


def test_every_source_is_named_with_its_reason(upstream, cache, monkeypatch) -> None:
    monkeypatch.setenv("FAKE_PIP_ERROR", "Could not find a version that satisfies the requirement thing==1")
    pin = replace(upstream.pin, archive=replace(upstream.pin.archive, url="file:///nowhere/archive.tar.gz"))
    with pytest.raises(FetchError) as caught:
        fetch.fetch(progress=False, pin=pin)
    lines = str(caught.value).splitlines()
    assert len(lines) == 6
    assert lines[1] == "  LLAMA_FFI_LLAMA_CPP_DIR: not set"
    assert lines[2].startswith(f"  cache {cache}")
    assert lines[2].endswith("not there yet")
    assert (
        "package index (thing==1 through pip): pip download failed: ERROR: Could not find a version"
        in lines[3]
    )
    assert lines[4].startswith("  archive: file:///nowhere/archive.tar.gz: ")
    assert "No such file" in lines[4]
    assert "LLAMA_FFI_LLAMA_CPP_DIR" in lines[5]


def test_without_pip_the_message_says_so(upstream, monkeypatch) -> None:
    monkeypatch.setattr("vendor.download.pip_command", lambda: None)
    pin = replace(upstream.pin, archive=replace(upstream.pin.archive, url="file:///nowhere/archive.tar.gz"))
    with pytest.raises(FetchError, match="has no pip: python -m ensurepip"):
        fetch.fetch(progress=False, pin=pin)


def test_a_cache_that_cannot_be_written_is_named(upstream, tmp_path, monkeypatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("LLAMA_FFI_CACHE", str(tmp_path / "file" / "below"))
    with pytest.raises(FetchError, match=r"cache .*below.*: not writable"):
        fetch.fetch(progress=False, pin=upstream.pin)


@pytest.mark.parametrize("damage", ["missing", "shorter", "stamp"])
def test_a_damaged_cache_is_fetched_again(upstream, damage) -> None:
    root = fetch.fetch(progress=False, pin=upstream.pin)
    victim = root / ("src/llama.c" if damage != "stamp" else unpack.STAMP)
    if damage == "shorter":
        victim.write_text("int")
    else:
        victim.unlink()
    assert fetch.fetch(progress=False, pin=upstream.pin) == root
    assert upstream.pip_calls() == 2
    assert tree.digest(root) == upstream.pin.tree_sha256


def evil_member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, link
    return member


@pytest.mark.parametrize(
    ("member", "message"),
    [
        (evil_member("top/src/../../../escaped.c"), "unsafe path"),
        (evil_member("top/src/x", tarfile.SYMTYPE, "/etc/passwd"), "not a plain file"),
        (evil_member("top/src/x", tarfile.LNKTYPE, "top/LICENSE"), "not a plain file"),
        (evil_member("top/src/x", tarfile.FIFOTYPE), "not a plain file"),
    ],
)
def test_nothing_is_written_outside(upstream, tmp_path, member, message) -> None:
    archive = pack(tmp_path / "evil.tar.gz", "top", FILES, [member])
    target = tmp_path / "a" / "b" / "target"
    with pytest.raises(unpack.SourceError, match=message):
        unpack.unpack(archive, "top", target, upstream.pin, lambda fraction: None)
    assert not list(tmp_path.rglob("escaped.c"))


def test_a_cut_archive_and_another_content_are_refused(upstream, tmp_path) -> None:
    cut = tmp_path / "cut.tar.gz"
    cut.write_bytes(upstream.archive.read_bytes()[:-200])
    with pytest.raises(unpack.SourceError, match="could not be unpacked"):
        unpack.unpack(cut, "llama.cpp-abc", tmp_path / "t1", upstream.pin, lambda fraction: None)
    other = pack(tmp_path / "other.tar.gz", "top", {**FILES, "src/llama.c": "int other;\n"})
    with pytest.raises(unpack.SourceError, match=r"not the pinned llama\.cpp: 19 files"):
        unpack.unpack(other, "top", tmp_path / "t2", upstream.pin, lambda fraction: None)


DRIVER = """\
import pickle, sys
from vendor import download, fetch
download.pip_command = lambda: [sys.executable, sys.argv[2]]
with open(sys.argv[1], "rb") as file:
    print(fetch.fetch(progress=False, pin=pickle.load(file)))
"""


def start(upstream, tmp_path: Path, **environment: str) -> subprocess.Popen[str]:
    pinned = tmp_path / "pin.pickle"
    pinned.write_bytes(pickle.dumps(upstream.pin))
    return subprocess.Popen(
        [sys.executable, "-c", DRIVER, str(pinned), str(upstream.folder / "fake_pip.py")],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_two_processes_fetch_once(upstream, cache, tmp_path) -> None:
    both = [start(upstream, tmp_path, FAKE_PIP_DELAY="1") for _ in range(2)]
    ends = [process.communicate(timeout=300) for process in both]
    assert [process.returncode for process in both] == [0, 0], ends
    assert ends[0][0] == ends[1][0]
    assert upstream.pip_calls() == 1
    assert sum("waiting for another process" in error for _, error in ends) == 1
    assert not leftovers(cache)


def test_a_killed_fetch_blocks_nobody(upstream, cache, tmp_path) -> None:
    victim = start(upstream, tmp_path, FAKE_PIP_DELAY="30")
    deadline = time.monotonic() + 30
    while upstream.pip_calls() == 0 and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(victim.pid, signal.SIGKILL)
    victim.communicate()
    assert not unpack.is_complete(fetch.cached_path(upstream.pin), upstream.pin)
    second = start(upstream, tmp_path)
    output, error = second.communicate(timeout=300)
    assert second.returncode == 0, error
    assert unpack.is_complete(Path(output.strip()), upstream.pin)
    assert not leftovers(cache)


def test_pip_is_stopped_once_the_file_is_there(upstream, tmp_path, monkeypatch) -> None:
    """The real pip downloads into its temporary folder and then prepares a build for a minute."""
    script = tmp_path / "slow_pip.py"
    script.write_text(
        "import os, shutil, tempfile, time\n"
        "shutil.copy(os.environ['FAKE_PIP_FILE'], tempfile.mkdtemp(prefix='pip-unpack-'))\n"
        "time.sleep(120)\n"
    )
    monkeypatch.setattr("vendor.download.pip_command", lambda: [sys.executable, str(script)])
    began = time.monotonic()
    assert tree.digest(fetch.fetch(progress=False, pin=upstream.pin)) == upstream.pin.tree_sha256
    assert time.monotonic() - began < 100


def test_pip_is_found_where_a_build_environment_hides_it(tmp_path, monkeypatch) -> None:
    """pip's build environment hides pip by a module that PYTHONPATH brings in."""
    (tmp_path / "pip.py").write_text("raise ImportError('hidden by the build environment')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    command = download.pip_command()
    assert command is not None
    assert "-I" in command


def test_command_line(cache, tmp_path, monkeypatch, capsys) -> None:
    mine = write_tree(tmp_path / "mine", FILES)
    monkeypatch.setenv(fetch.ENVIRONMENT, str(mine))
    assert fetch.main(["--print-path"]) == 0
    assert capsys.readouterr().out == f"{mine}\n"
    assert fetch.main(["--digest", str(mine)]) == 0
    assert f'tree_sha256 = "{tree.digest(mine)}"' in capsys.readouterr().out
    monkeypatch.setenv(fetch.ENVIRONMENT, str(tmp_path))
    assert fetch.main([]) == 1
    assert "is not a llama.cpp tree" in capsys.readouterr().err


def test_it_runs_as_a_script_from_anywhere(tmp_path) -> None:
    mine = write_tree(tmp_path / "mine", FILES)
    done = subprocess.run(
        [sys.executable, str(ROOT / "vendor" / "fetch.py"), "--print-path"],
        cwd=tmp_path,
        env={**os.environ, fetch.ENVIRONMENT: str(mine)},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (0, f"{mine}\n"), done.stderr


@pytest.mark.native
def test_the_tree_in_use_is_the_pinned_one() -> None:
    pin = load_pin()
    root = fetch.fetch(progress=False)
    if fetch.ENVIRONMENT not in os.environ:
        assert tree.digest(root) == pin.tree_sha256
    assert tree.headers_digest(root) == pin.headers_sha256
