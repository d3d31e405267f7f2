"""Run cmake: all output goes to a log, a line of progress to the terminal, the cause into the error."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import BinaryIO

from build_backends.errors import BuildError
from build_backends.toolchain import Toolchain

_STEP = re.compile(rb"\[(\d+)/(\d+)\] ")
_CAUSE = re.compile(r"\berror ?(C\d+|LNK\d+)?:|\bundefined reference\b|^CMake Error|No space left|\bKilled\b")
_CAUSE_LINES = 6
_CAUSE_WIDTH = 160


def jobs() -> int:
    """Return how many compilers may run: `CMAKE_BUILD_PARALLEL_LEVEL`, else one per usable processor."""
    chosen = os.environ.get("CMAKE_BUILD_PARALLEL_LEVEL", "")
    if chosen.isdigit() and int(chosen) > 0:
        return int(chosen)
    if chosen:
        raise BuildError(
            f"CMAKE_BUILD_PARALLEL_LEVEL is {chosen!r}: set how many compilers may run, such as 2"
        )
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def causes(log: str) -> list[str]:
    """Return the few lines of a build's output that say why it failed, the first ones first."""
    lines = log.splitlines()
    picked: list[str] = []
    for number, line in enumerate(lines):
        if not _CAUSE.search(line) or " warning: " in line or line.startswith(("ninja: ", "[")):
            continue
        picked.append(line.strip())
        # cmake puts the place on the first line and the cause on the next that holds any text.
        if line.startswith("CMake Error"):
            picked += [after.strip() for after in lines[number + 1 : number + 4] if after.strip()][:2]
        if len(picked) >= _CAUSE_LINES:
            break
    picked = picked or [line.strip() for line in lines if line.strip()][-_CAUSE_LINES:]
    return [
        line if len(line) <= _CAUSE_WIDTH else line[: _CAUSE_WIDTH - 1] + "…"
        for line in picked[:_CAUSE_LINES]
    ]


def unused(log: str) -> set[str]:
    """Return the definitions of which cmake says that nothing has read them."""
    _, _, after = log.rpartition("Manually-specified variables were not used by the project:")
    listed = re.match(r"(?:\s*\n)?((?:[ \t]+\w+[ \t]*\n)*)", after)
    return set(listed[1].split()) if listed and after != log else set()


class Progress:
    """Progress of the compilation on stderr: one rewritten line on a terminal, every quarter elsewhere."""

    def __init__(self) -> None:
        self._terminal = sys.stderr.isatty()
        self._shown = -1

    def say(self, text: str) -> None:
        """Print a line of its own."""
        print(f"llama_ffi: {text}", file=sys.stderr, flush=True)

    def step(self, line: bytes) -> None:
        """Look at a line of ninja's output and show how far it is."""
        match = _STEP.match(line)
        if not match:
            return
        done, total = int(match[1]), int(match[2])
        percent = done * 100 // max(total, 1)
        if self._terminal:
            end = "\n" if done == total else "\r"
            print(f"llama_ffi: compiling {done}/{total}", end=end, file=sys.stderr, flush=True)
        elif percent // 25 > self._shown:
            self._shown = percent // 25
            self.say(f"compiling: {percent} %")


def _run(
    command: list[str], what: str, environment: Mapping[str, str], log: Path, progress: Progress, lock: int
) -> None:
    """Run one command; raise BuildError with its causes and the log's path if it fails."""
    with log.open("ab") as output:
        output.write(("\n$ " + " ".join(command) + "\n").encode())
        output.flush()
        start = output.tell()
        status = _follow(command, environment, output, progress, lock)
    if status != 0:
        with log.open("rb") as written:
            written.seek(start)
            text = written.read().decode("utf-8", errors="replace")
        raise BuildError(f"{what} failed (status {status}):", causes(text), log)


def _follow(
    command: list[str], environment: Mapping[str, str], output: BinaryIO, progress: Progress, lock: int
) -> int:
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=environment,
        # The compilers hold the lock too: if we are killed, nobody builds here before the last of them ends.
        pass_fds=(lock,) if os.name == "posix" else (),
    )
    assert process.stdout is not None
    try:
        for line in process.stdout:
            output.write(line)
            output.flush()
            progress.step(line)
    finally:
        process.stdout.close()
        # Reached early only by an interrupt: ninja got it too and removes what it was writing.
        if process.poll() is None and sys.exc_info()[0] is not None:
            process.terminate()
        process.wait()
    return process.returncode


def _forget_another_place(build: Path) -> None:
    """Remove a build folder that was made elsewhere, in a cache that was moved: cmake refuses it."""
    try:
        text = (build / "CMakeCache.txt").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return
    made = re.search(r"^CMAKE_CACHEFILE_DIR:INTERNAL=(.*)$", text, re.MULTILINE)
    if made and not (os.path.isdir(made[1]) and os.path.samefile(made[1], build)):
        shutil.rmtree(build)


def _name_ninja_inside(build: Path, ninja: str) -> None:
    """Let the projects inside of a build (Vulkan's shader generator) use the ninja that is there now.

    They were configured with an earlier run's, which went with pip's build environment.
    """
    for cache in build.rglob("CMakeCache.txt"):
        text = cache.read_text(encoding="utf-8", errors="surrogateescape")
        made = re.search(r"^CMAKE_MAKE_PROGRAM:\w+=(.*)$", text, re.MULTILINE)
        if made and not os.path.exists(made[1]):
            text = f"{text[: made.start(1)]}{ninja}{text[made.end(1) :]}"
            cache.write_text(text, encoding="utf-8", errors="surrogateescape")


def run(
    project: Path,
    build: Path,
    source: Path,
    defines: Mapping[str, str],
    targets: tuple[str, ...],
    tools: Toolchain,
    log: Path,
    users: Collection[str],
    lock: int,
) -> None:
    """Configure and build `targets` in the folder `build`; what an earlier, interrupted run left is used.

    Of `users`, the definitions that the user has written, those that nothing reads are named. `lock` is the
    descriptor of the build's lock, which every process that is started inherits.
    """
    progress = Progress()
    environment = {
        **os.environ,
        "CMAKE_BUILD_PARALLEL_LEVEL": str(jobs()),
        # A build below somebody's repository must not be stamped with that repository's commit.
        "GIT_CEILING_DIRECTORIES": os.pathsep.join((str(source.parent), str(build.parent))),
        **tools.compilers,
    }
    configure = [tools.cmake, "-S", str(project), "-B", str(build)]
    if tools.ninja:
        configure += ["-G", "Ninja", f"-DCMAKE_MAKE_PROGRAM={tools.ninja}"]
    configure += [f"-D{name}={value}" for name, value in sorted(defines.items())]
    _forget_another_place(build)
    if tools.ninja:
        _name_ninja_inside(build, tools.ninja)
    progress.say("configuring llama.cpp")
    _run(configure, "Configuring llama.cpp", environment, log, progress, lock)
    idle = sorted(set(users) & unused(log.read_text(encoding="utf-8", errors="replace")))
    if idle:
        progress.say(f"nothing reads the definition of {', '.join(idle)}: is it misspelled?")
    progress.say(f"compiling llama.cpp with {jobs()} jobs (minutes; the result is kept)")
    compile_ = [
        tools.cmake,
        "--build",
        str(build),
        "--config",
        defines["CMAKE_BUILD_TYPE"],
        "--target",
        *targets,
    ]
    _run(compile_, "Compiling llama.cpp", environment, log, progress, lock)
