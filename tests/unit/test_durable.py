"""Replacing files: what is no file is never replaced, whoever may."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from llama_ffi._core.durable import Replacement


def test_a_file_is_replaced_when_it_is_whole(tmp_path: Path) -> None:
    target = tmp_path / "file"
    target.write_text("old")
    with Replacement(target) as new:
        os.write(new.fd, b"lost")
    assert target.read_text() == "old"
    with Replacement(target) as new:
        os.write(new.fd, b"new")
        new.commit()
    assert target.read_text() == "new"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes")
def test_pipes_and_devices_stay_what_they_are(tmp_path: Path) -> None:
    """As root /dev/null could be replaced, and nothing would work any more."""
    pipe, link = tmp_path / "pipe", tmp_path / "link"
    os.mkfifo(pipe)
    link.symlink_to(pipe)
    for target in (pipe, link):
        with pytest.raises(FileExistsError, match="It is a device, a pipe or a socket, no file"):
            Replacement(target)
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert sorted(tmp_path.iterdir()) == [link, pipe]
    with pytest.raises(IsADirectoryError):
        Replacement(tmp_path)
