"""llama.cpp's log: one C callback for the whole process, set before anything can print.

llama.cpp logs pieces of lines, from any thread. Pieces are joined per thread to lines; a line goes to

- the captures that are open on this thread, so that an error can carry what was said while it arose;
- the sinks of :mod:`llama_ffi.log` (a file);
- the function that wants the pieces as they come, for programs that know C's log callback;
- ``logging.getLogger("llama_ffi")``, if the program has imported :mod:`logging` at all. We don't import
  it ourselves: it costs as much as our whole start, and without it nobody can have set a handler.
"""

from __future__ import annotations

import itertools
import sys
import threading
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from . import callbacks

if TYPE_CHECKING:
    from .functions import Functions
    from .guard import Guard

LOGGER = "llama_ffi"
Sink = Callable[[int, str], None]
Watch = Callable[[str], bool]
Forward = Callable[[int, bytes], None]

_NUMBERS = {"DEBUG": 10, "INFO": 20, "WARN": 30, "ERROR": 40}
"""logging's numbers, spelled out because logging isn't imported."""

_KEEP = 200
"""Lines that one capture keeps: the last ones, which say why it failed."""


class _Local(threading.local):
    def __init__(self) -> None:
        self.partial = ""
        self.level = 0
        self.captures: list[list[str]] = []
        self.recent: deque[tuple[int, str]] = deque(maxlen=_KEEP)
        self.hidden = 0
        self.watches: list[Watch] = []
        self.raised: BaseException | None = None


_local = _Local()
_numbers = itertools.count(1)
_sinks: list[Sink] = []
_paused = False
_forward: Forward | None = None
_callback: Any = None
_levels: dict[int, int] = {}
_continued = 5

written = 0
"""The number of the last line, whoever's it was; ``since`` takes it."""

struck: set[int] = set()
"""The threads inside whose log callback something was raised that nobody has fetched: see ``reraise``.

Both are for calls that are made once per token: a ``capture`` would cost more than the rest of the call.
"""


def _no_stop() -> None:
    """Without the guard a call can't be left from its log callback."""


_stop: Callable[[], None] = _no_stop


def install(ffi: Any, lib: Functions, guard: Guard | None, levels: dict[str, int]) -> None:
    """Make ``lib`` log to us; ``levels`` is the ggml_log_level enum, by C name without prefix."""
    global _callback, _continued, _stop
    _levels.update({levels[name]: number for name, number in _NUMBERS.items() if name in levels})
    _continued = levels.get("CONT", _continued)
    string = ffi.string

    def receive(level: int, text: Any, _user_data: Any) -> None:
        guard_depth = callbacks.enter()
        try:
            piece = string(text)
            _piece(level, piece.decode("utf-8", "replace"))
            if _forward is not None:
                _forward(level, piece)
        except BaseException as error:  # nothing may be printed inside C, and Ctrl-C not be lost there
            _keep(error)
        finally:
            callbacks.leave(guard_depth)

    _callback = ffi.callback("ggml_log_callback", receive, onerror=_strike)
    if guard is None:
        lib.llama_log_set(_callback, ffi.NULL)
    else:
        _stop = guard.lib.llama_ffi_stop_after_log
        guard.lib.llama_ffi_log_to(guard.receiver(_callback))
        lib.llama_log_set(ffi.cast("ggml_log_callback", guard.function("llama_ffi_log")), ffi.NULL)


def _strike(_kind: object, error: BaseException, _tb: object) -> None:
    """Keep what is raised before the first line of the callback: Ctrl-C can strike there."""
    _keep(error)


def _keep(error: BaseException) -> None:
    _local.raised = error
    struck.add(threading.get_ident())


def reraise() -> None:
    """Raise what was raised inside of this thread's log callback, once."""
    raised = _fetch()
    if raised is not None:
        raise raised


def _fetch() -> BaseException | None:
    struck.discard(threading.get_ident())
    raised, _local.raised = _local.raised, None
    return raised


def uninstall(ffi: Any, lib: Functions, guard: Guard | None) -> None:
    """Let C log into the void, for the time when Python can't be called any more.

    NULL would mean stderr to llama.cpp. Without the guard's own function any other that ignores its
    arguments serves: the caller cleans up on every platform we build for.
    """
    if guard is not None:
        guard.lib.llama_ffi_log_to(ffi.NULL)
        return
    nothing = ffi.cast("ggml_log_callback", ffi.addressof(lib.library("llama"), "llama_max_devices"))
    lib.llama_log_set(nothing, ffi.NULL)


class capture:
    """Collect the lines that this thread's calls log: ``with capture() as lines``; the list grows.

    Raises at its end what arose inside the log callback meanwhile: a KeyboardInterrupt, or the mistake of
    a log handler.

    Arguments:
        watch: called with each line; True says that the C call may be stopped there, which happens if
            something was raised before or by it.
        hidden: nobody else gets the lines.
    """

    __slots__ = ("_hidden", "_lines", "_watch")

    def __init__(self, watch: Watch | None = None, *, hidden: bool = False) -> None:
        self._watch = watch
        self._hidden = hidden

    def __enter__(self) -> list[str]:
        self._lines: list[str] = []
        _local.captures.append(self._lines)
        _local.hidden += self._hidden
        if self._watch is not None:
            _local.watches.append(self._watch)
        return self._lines

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: object) -> None:
        local = _local
        if local.partial:
            _flush()
        local.hidden -= self._hidden
        if self._watch is not None:
            local.watches.pop()
        local.captures.pop()  # with-blocks of one thread end in the order opposite to their beginning
        raised = _fetch()
        if raised is not None and kind is None:
            raise raised


def since(mark: int) -> list[str]:
    """Return the lines that this thread's calls have logged since ``written`` was ``mark``."""
    local = _local
    if local.partial:
        _flush()
    return [line for number, line in local.recent if number > mark]


def warn(text: str) -> None:
    """Log a line of our own as a warning."""
    _line(next((level for level, number in _levels.items() if number == _NUMBERS["WARN"]), 0), text)


def add_sink(sink: Sink) -> None:
    """Hand every line to ``sink(logging level, text)`` as well."""
    _sinks.append(sink)


def remove_sink(sink: Sink) -> None:
    """Stop handing lines to ``sink``."""
    if sink in _sinks:
        _sinks.remove(sink)


def forward(function: Forward | None) -> None:
    """Hand every piece to ``function(ggml's level, bytes)`` as well, as C hands it out; None = no longer."""
    global _forward
    _forward = function


def pause() -> None:
    """Drop lines until ``resume()``; errors still get theirs."""
    global _paused
    _paused = True


def resume() -> None:
    """Undo ``pause()``."""
    global _paused
    _paused = False


def _piece(level: int, text: str) -> None:
    local = _local
    if level != _continued:
        if local.partial:  # a line without its end, followed by a new one: don't glue them
            _flush()
        local.level = level
    text = local.partial + text
    *lines, local.partial = text.split("\n")
    for line in lines:
        if line:
            _line(local.level, line)


def _flush() -> None:
    line, _local.partial = _local.partial, ""
    _line(_local.level, line)


def _ask(local: _Local, line: str) -> None:
    safe = False
    for watch in local.watches:
        try:
            safe = watch(line) or safe
        except BaseException as error:
            _keep(error)
            safe = True
    if safe and local.raised is not None and callbacks.inside():
        _stop()


def _line(level: int, line: str) -> None:
    global written
    local = _local
    written = number = next(_numbers)
    local.recent.append((number, line))
    for lines in local.captures:
        if len(lines) >= _KEEP:
            del lines[0]
        lines.append(line)
    if local.watches:
        _ask(local, line)
    if not local.hidden:
        deliver(_levels.get(level, 20), line)


def deliver(number: int, line: str) -> None:
    """Hand a line with logging's level to the sinks and the logger; also for lines of another process."""
    if _paused:
        return
    for sink in list(_sinks):
        sink(number, line)
    logging = sys.modules.get("logging")
    if logging is not None:
        logger = logging.getLogger(LOGGER)
        if not logger.handlers:
            logger.addHandler(logging.NullHandler())  # else logging's last resort prints warnings on stderr
        logger.log(number, "%s", line)
