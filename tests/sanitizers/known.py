"""What the sanitizers find in llama.cpp itself, at the pinned commit, and what we make of it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tests.sanitizers.reports import Finding


@dataclass(frozen=True)
class Known:
    """Findings that are no news."""

    kind: str
    """a pattern for the finding's kind"""
    place: str
    """a pattern for file:function"""
    reason: str
    """why it is harmless, or what stands before it"""

    def covers(self, finding: Finding) -> bool:
        return bool(re.search(self.kind, finding.kind) and re.search(self.place, finding.place))


KNOWN: list[Known] = []


def known(finding: Finding) -> Known | None:
    """Return the row that covers a finding."""
    return next((each for each in KNOWN if each.covers(finding)), None)
