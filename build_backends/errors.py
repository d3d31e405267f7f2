"""The one error of the build: short enough to be read in a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


class BuildError(RuntimeError):
    """The build cannot go on. The message is all the user gets to see, so it says what to do."""

    def __init__(self, summary: str, details: Sequence[str] = (), log: Path | None = None) -> None:
        self.summary = summary
        self.log = log
        lines = [summary, *(f"  {line}" for line in details)]
        if log is not None:
            lines.append(f"The full log: {log}")
        super().__init__("\n".join(lines))
