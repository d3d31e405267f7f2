"""Switch each check off in turn: the fuzzer must find again what it stands before.

    python -m tests.fuzz.calls.mutations [--calls 1500] [--seed 1] [--only NAMES]

Two runs for each switch: with the guard, which must catch what gets past the check, and without, where the
process must die of it. The table says after how many calls. Exit status 1 if one wasn't found.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tests.fuzz.calls.campaign import Campaign, Options
from tests.fuzz.calls.off import SWITCHES, Switch

CALLS = 1500
"""The budget of one run."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.calls.mutations", description=__doc__)
    parser.add_argument("--calls", type=int, default=CALLS, help="the budget of each run")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", help="these switches only, with commas between")
    args = parser.parse_args()
    names = args.only.split(",") if args.only else list(SWITCHES)
    print("| check | with the guard: caught after | without: died after | what it says |")
    print("|---|---|---|---|")
    missed = 0
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            switch, cells, said = SWITCHES[name], [], ""
            for guard in (True, False):
                found = Campaign(Path(folder), options(name, switch, args, guard=guard))
                if guard and not switch.guard:
                    cells.append("–")
                    continue
                found.run()
                missed += not (found.found or switch.race)
                cells.append(
                    f"{found.begun} calls"
                    if found.found
                    else f"{'not' if switch.race else 'NOT'} in {found.begun}"
                )
                said = said or last(found)
            print(
                f"| {name} | {cells[0]} | {cells[1]} | {said}{f' ({switch.both})' * bool(switch.both)} |",
                flush=True,
            )
    print(f"{len(names)} switches, not found: {missed}")
    return int(missed > 0)


def options(name: str, switch: Switch, args: argparse.Namespace, *, guard: bool) -> Options:
    until = switch.says if guard else switch.dies
    return Options(
        count=args.calls * switch.budget,
        seed=args.seed,
        only=switch.only,
        without=name,
        guard=guard,
        until=until,
        batch=args.calls,
    )


def last(campaign: Campaign) -> str:
    """Return in short what was found."""
    words = campaign.found
    for line in words.split("  ") if "GGML_ASSERT" not in words else [words]:
        at = line.find("GGML_ASSERT")
        if at >= 0:
            return line[at : at + 90].split(". This is")[0]
    for death in campaign.deaths:
        asserts = [line for line in death.words if "GGML_ASSERT" in line or "what():" in line]
        frames = [line.strip() for line in death.words if "llama_ffi" in line]
        return (asserts or [death.words[0]])[0][-90:] + (f" in {frames[0][-60:]}" if frames else "")
    return words[:90]


if __name__ == "__main__":
    sys.exit(main())
