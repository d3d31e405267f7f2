"""The index of wheels: what it says, and that pip installs from it, from a server and from a folder."""

from __future__ import annotations

import functools
import hashlib
import http.server
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from release import distributions, index
from release.distributions import ReleaseError
from tests.release import little_wheels


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """Return an index of three versions and two projects."""
    for version, python in (("1.0", ">=3.8"), ("2.0", ">=3.8"), ("3.0", ">=4")):
        little_wheels.make(tmp_path, "little-thing", version, python=python)
    little_wheels.make(tmp_path, "other", requires=("little-thing>=1",))
    out = tmp_path / "site"
    assert index.main([str(tmp_path / "wheels"), "--out", str(out)]) == 0
    return out


@pytest.fixture
def served(site: Path) -> Iterator[str]:
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(site)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/simple/"
    server.shutdown()
    thread.join()
    server.server_close()


def pip(target: Path, url: str, *wanted: str) -> subprocess.CompletedProcess[str]:
    """Install into a folder from this index and no other."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
    environment |= {"PIP_CONFIG_FILE": os.devnull, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    command = [sys.executable, "-m", "pip", "install", "--no-cache-dir", "--target", str(target)]
    return subprocess.run(
        [*command, "--index-url", url, *wanted], capture_output=True, text=True, env=environment
    )


def test_pip_installs_from_a_server(served: str, tmp_path: Path) -> None:
    done = pip(tmp_path / "to", served, "other")
    assert done.returncode == 0, done.stderr
    names = {path.name for path in (tmp_path / "to").iterdir() if path.suffix == ".dist-info"}
    # 3.0 is for another Python
    assert names == {"other-1.0.dist-info", "little_thing-2.0.dist-info"}


def test_pip_installs_from_a_folder(site: Path, tmp_path: Path) -> None:
    done = pip(tmp_path / "to", (site / "simple").as_uri() + "/", "little-thing==1.0")
    assert done.returncode == 0, done.stderr


def test_pip_refuses_a_wheel_that_has_changed(site: Path, served: str, tmp_path: Path) -> None:
    wheel = site / "files" / "little_thing-2.0-py3-none-any.whl"
    changed = wheel.read_bytes() + b"x"
    wheel.unlink()  # it may be a link to the first one
    wheel.write_bytes(changed)
    done = pip(tmp_path / "to", served, "little-thing")
    assert done.returncode != 0
    assert "HASHES" in done.stderr or "hash" in done.stderr.lower()


def test_what_the_pages_say(site: Path) -> None:
    page = json.loads((site / "simple" / "little-thing" / "index.json").read_text())
    assert page["name"] == "little-thing"
    assert page["versions"] == ["1.0", "2.0", "3.0"]
    for file in page["files"]:
        path = (site / "simple" / "little-thing" / file["url"]).resolve()
        assert path.name == file["filename"]
        assert file["size"] == path.stat().st_size
        assert file["hashes"]["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
        metadata = path.with_name(path.name + ".metadata").read_bytes()
        assert file["core-metadata"]["sha256"] == hashlib.sha256(metadata).hexdigest()
    text = (site / "simple" / "little-thing" / "index.html").read_text()
    assert 'data-requires-python="&gt;=3.8"' in text
    listed = json.loads((site / "simple" / "index.json").read_text())
    assert [each["name"] for each in listed["projects"]] == ["little-thing", "other"]
    assert 'href="little-thing/"' in (site / "simple" / "index.html").read_text()


def test_files_may_be_elsewhere(site: Path, tmp_path: Path) -> None:
    out = tmp_path / "pages"
    ones = distributions.in_folders([tmp_path / "wheels"])
    index.write(ones, out, "https://example.org/a b")
    assert not (out / "files").exists()
    page = json.loads((out / "simple" / "other" / "index.json").read_text())
    assert page["files"][0]["url"] == "https://example.org/a b/other-1.0-py3-none-any.whl"


def test_what_can_not_be_listed(site: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert index.main([str(tmp_path / "wheels"), "--out", str(site)]) == 1
    assert "isn't empty" in capsys.readouterr().err
    (tmp_path / "none").mkdir()
    for folder, said in ((tmp_path / "none", "no wheel"), (tmp_path / "missing", "is no folder")):
        with pytest.raises(ReleaseError, match=said):
            distributions.in_folders([folder])
    (tmp_path / "none" / "what.whl").write_bytes(b"")
    with pytest.raises(ReleaseError, match="Invalid wheel filename"):
        distributions.in_folders([tmp_path / "none"])
    (tmp_path / "none" / "what.whl").rename(tmp_path / "none" / "what-1-py3-none-any.whl")
    with pytest.raises(ReleaseError, match="can't be read"):
        _ = distributions.in_folders([tmp_path / "none"])[0].metadata
    twice = tmp_path / "none" / "other-1.0-py3-none-any.whl"
    twice.write_bytes(b"other")
    with pytest.raises(ReleaseError, match="twice"):
        distributions.in_folders([tmp_path / "wheels", tmp_path / "none"])
    renamed = tmp_path / "renamed" / "wrong-1.0-py3-none-any.whl"
    renamed.parent.mkdir()
    renamed.write_bytes((tmp_path / "wheels" / "other-1.0-py3-none-any.whl").read_bytes())
    with pytest.raises(ReleaseError, match=r"its name says wrong 1\.0"):
        index.write(distributions.in_folders([renamed.parent]), tmp_path / "x")
