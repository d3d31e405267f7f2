"""How many calls of each method reach C: the table that a run ends with.

Counted are the calls that were made up, not those that set-ups make to bring about a state. A method reaches
C if its docstring names C functions, or if most of its calls with usual arguments have called one: others do
so once, and remember. Of these at least 40 % must, whatever they were given; of methods that never do it must
be true that their docstring names none.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.fuzz.calls.surface import Call

LEAST = 0.4
"""The share of a method's calls that must reach C."""
ENOUGH = 20
"""Calls of a method from which on its share means something."""

ANSWERS_BY_ITSELF = {
    "Context.memory": "C was asked when the context was made",
    "Context.causal_attn": "C was asked when the context was made",
    "Vocab.n_tokens": "C was asked when the model was loaded",
    "Vocab.type": "C was asked when the model was loaded",
    "gguf.GgufTensor.kind": "C was asked about all types at their first use in the process",
    "gguf.GgufTensor.n_elements": "C was asked about all types at their first use in the process",
    "gguf.GgufTensor.type": "C was asked about all types at their first use in the process",
}
"""Docstrings that name a C function which the call itself doesn't call, each with the reason."""


def reaches_c(call: Call) -> bool:
    """Return whether the call says that it calls C functions."""
    return call.says_c and call.name not in ANSWERS_BY_ITSELF


ENDS_WITH = {
    "PythonSampler.apply": "NotImplementedError",
    "use": "AlreadyLoadedError",
    "rpc.worker": "RpcConnectError",
    "rpc.remote_devices": "RpcConnectError",
}
"""What a call always raises here: subclasses define ``apply``, ``use`` comes before the library, and there
are no workers."""


@dataclass
class Row:
    """What came of the calls of one method."""

    made: int = 0
    """those of set-ups included"""
    chosen: int = 0
    reached: int = 0
    """of the chosen"""
    tame: int = 0
    """chosen, with usual arguments"""
    tame_reached: int = 0
    ended: Counter[str] = field(default_factory=Counter)
    """of the chosen"""
    said: dict[str, str] = field(default_factory=dict)
    """an example of each"""

    @property
    def share(self) -> float:
        return self.reached / self.chosen if self.chosen else 0.0

    def add(self, other: Mapping[str, Any]) -> None:
        for name in ("made", "chosen", "reached", "tame", "tame_reached"):
            setattr(self, name, getattr(self, name) + other[name])
        self.ended.update(other["ended"])
        self.said.update(other["said"])


def added_up(outcomes: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what a child writes down of a case."""
    rows: dict[str, Row] = {}
    endings: Counter[str] = Counter()
    findings = []
    for each in outcomes:
        row = rows.setdefault(each["call"], Row())
        row.made += 1
        endings[each["ended"]] += 1
        if each["chosen"]:
            row.chosen += 1
            row.reached += each["reached"]
            row.ended[each["ended"]] += 1
            if each.get("words"):
                row.said[each["ended"]] = each["words"][:100]
        if each["chosen"] == "tame":
            row.tame += 1
            row.tame_reached += each["reached"]
        if each["ended"] in ("other exception", "caught by the guard"):
            findings.append(each)
    return {
        "rows": {name: vars(row) for name, row in rows.items()},
        "endings": endings,
        "findings": findings,
    }


class Table:
    """The rows of all calls, known by name."""

    def __init__(self, calls: Mapping[str, Call]) -> None:
        self.calls = calls
        self.rows = {name: Row() for name in calls}

    def add(self, rows: Mapping[str, Mapping[str, Any]]) -> None:
        for name, row in rows.items():
            self.rows[name].add(row)

    def reaches(self, name: str) -> bool:
        """Return whether it belongs to those that must reach C."""
        if name in ANSWERS_BY_ITSELF:
            return False
        row = self.rows[name]
        return self.calls[name].says_c or row.tame_reached * 2 > row.tame

    @property
    def under(self) -> dict[str, float]:
        """The methods of which too few calls have reached C, with their share."""
        return {
            name: round(row.share, 2)
            for name, row in self.rows.items()
            if self.reaches(name) and row.chosen >= ENOUGH and row.share < LEAST
        }

    @property
    def few(self) -> list[str]:
        """Those with too few calls to tell."""
        return [name for name, row in self.rows.items() if row.chosen < ENOUGH]

    @property
    def wrong(self) -> list[str]:
        """Names of ANSWERS_BY_ITSELF that call C after all."""
        return [name for name in ANSWERS_BY_ITSELF if self.rows[name].tame_reached]

    @property
    def never(self) -> list[str]:
        """Methods that don't call C: none of their calls has, and their docstring names no function."""
        return [name for name in self.rows if not self.reaches(name)]

    @property
    def idle(self) -> list[str]:
        """Methods that say that they call C and have not once, and those that have not returned once."""
        return [
            name
            for name, row in self.rows.items()
            if not (
                row.tame_reached
                if reaches_c(self.calls[name])
                else row.ended[ENDS_WITH.get(name, "returned")]
            )
        ]

    def lines(self) -> list[str]:
        """Return the table, the smallest shares first."""
        found = sorted(
            (name for name in self.rows if self.reaches(name)), key=lambda name: self.rows[name].share
        )
        text = []
        for name in found:
            row = self.rows[name]
            ended = ", ".join(f"{what} {count}" for what, count in row.ended.most_common(4))
            text.append(f"{row.share:6.1%} of {row.chosen:6}: {name} ({ended})")
            if row.share < LEAST:
                text += [f"        {what}: {row.said[what]}" for what in row.ended if what in row.said]
        return text
