"""llama.cpp's log: pieces become lines, lines reach captures, logging and files; nothing is lost."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from llama_ffi import log
from llama_ffi._core import logs

DEBUG, INFO, WARN, ERROR, CONT = 1, 2, 3, 4, 5


@pytest.fixture(autouse=True)
def levels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "_levels", {DEBUG: 10, INFO: 20, WARN: 30, ERROR: 40})


@pytest.fixture
def records(caplog: pytest.LogCaptureFixture) -> Iterator[list[tuple[int, str]]]:
    seen: list[tuple[int, str]] = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            seen.append((record.levelno, record.getMessage()))

    handler, logger = Handler(), logging.getLogger("llama_ffi")
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    yield seen
    logger.removeHandler(handler)
    logger.setLevel(logging.NOTSET)


def test_pieces_are_joined_to_lines(records: list[tuple[int, str]]) -> None:
    for level, piece in [
        (INFO, "load"),
        (CONT, "ing "),
        (CONT, "...\nnext"),
        (CONT, " line\n"),
        (WARN, "a\nb\n"),
    ]:
        logs._piece(level, piece)
    assert records == [(20, "loading ..."), (20, "next line"), (30, "a"), (30, "b")]


def test_a_line_without_its_end_is_not_glued_to_the_next(records: list[tuple[int, str]]) -> None:
    logs._piece(INFO, "no newline")
    logs._piece(ERROR, "an error\n")
    assert records == [(20, "no newline"), (40, "an error")]


def test_captures_nest_and_belong_to_their_thread() -> None:
    with logs.capture() as outer:
        logs._piece(INFO, "one\n")
        with logs.capture() as inner:
            logs._piece(INFO, "two\n")
            other = threading.Thread(target=logs._piece, args=(INFO, "elsewhere\n"))
            other.start()
            other.join()
        logs._piece(INFO, "three")
    assert (outer, inner) == (["one", "two", "three"], ["two"])


def test_a_capture_keeps_the_last_lines() -> None:
    with logs.capture() as lines:
        for number in range(1000):
            logs._piece(INFO, f"{number}\n")
    assert lines == [str(number) for number in range(800, 1000)]


def test_pause_spares_the_errors_lines(records: list[tuple[int, str]]) -> None:
    log.pause()
    try:
        with logs.capture() as lines:
            logs._piece(INFO, "said\n")
    finally:
        log.resume()
    logs._piece(INFO, "again\n")
    assert lines == ["said"]
    assert records == [(20, "again")]


def test_to_file(tmp_path: Path) -> None:
    path = tmp_path / "llama.log"
    with log.to_file(path) as file:
        logs._piece(WARN, "first\n")
        logs._piece(DEBUG, "second\n")
    file.close()
    logs._piece(WARN, "not any more\n")
    assert path.read_text() == "WARN first\nDEBUG second\n"


def test_what_a_handler_raises_comes_out_of_the_call() -> None:
    def broken(_level: int, _line: str) -> None:
        raise KeyboardInterrupt

    logs.add_sink(broken)
    try:
        capture = logs.capture()
        capture.__enter__()
        try:
            logs._piece(INFO, "x\n")
        except KeyboardInterrupt as error:  # what the C callback does
            logs._keep(error)
        with pytest.raises(KeyboardInterrupt):
            capture.__exit__(None, None, None)
    finally:
        logs.remove_sink(broken)
    with logs.capture():
        logs._piece(INFO, "fine\n")
