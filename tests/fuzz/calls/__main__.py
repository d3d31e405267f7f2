"""Call everything that is public, with anything, in any order: in child processes whose deaths count.

    python -m tests.fuzz.calls --count 100000 [--seed 1] [--jobs 2] [--keep FOLDER] [--without CHECK]

Exit status 1 if there was a death, a hang, a failure that only the guard caught, an exception that is not one
of ours, or a method of which less than 40 % of the calls reached C; of a whole run (100,000 calls) also if
something was never called. The calls of each death are cut down to those it takes and kept as JSON:
``python -m tests.fuzz.calls --again FILE`` runs them again.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from tests.fuzz.calls.campaign import Campaign, Options
from tests.fuzz.calls.shares import ENOUGH

WHOLE = 100_000
"""Calls of a run in which everything must be called."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.calls", description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=400, help="how many calls")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=1e9, help="begin no new child after so long")
    parser.add_argument("--without", default="", help="switch these checks off (tests/fuzz/calls/off.py)")
    parser.add_argument("--no-guard", action="store_true", help="leave the guard out as well")
    parser.add_argument(
        "--keep", type=Path, help="folder for the calls that killed, and for those that ended wrong"
    )
    parser.add_argument("--again", type=Path, help="run recorded calls again")
    parser.add_argument("--only", default="", help="only these classes or calls, with commas between")
    parser.add_argument("--each", type=int, default=0, help="make each call as it should be, up to so often")
    parser.add_argument(
        "--odd",
        type=float,
        default=0,
        nargs="?",
        const=1.0,
        help="each odd value in each place, or a share of them",
    )
    parser.add_argument("--methods", action="store_true", help="say of each method how often C was reached")
    args = parser.parse_args()
    options = Options(
        count=args.count,
        seed=args.seed,
        jobs=args.jobs,
        seconds=args.seconds,
        without=args.without,
        guard=not args.no_guard,
        only=args.only,
        each=args.each,
        odd=args.odd,
        keep=args.keep,
    )
    with tempfile.TemporaryDirectory() as folder:
        campaign = Campaign(Path(folder), options)
        if args.again:
            status, words = campaign.again(json.loads(args.again.read_text()))
            print(json.dumps({"status": status, "words": words}))
            return int(status != 0)
        campaign.run()
        return report(campaign, args.methods)


def report(campaign: Campaign, methods: bool) -> int:
    table, options = campaign.table, campaign.options
    guard, other = campaign.count("caught by the guard"), campaign.count("other exception")
    deaths = sum(each.status != "hang" for each in campaign.deaths)
    reaching = [name for name in table.rows if table.reaches(name)]
    result = {
        "calls": campaign.made,
        "seed": options.seed,
        "without": options.without,
        "seconds": campaign.seconds,
        "deaths": deaths,
        "hangs": len(campaign.deaths) - deaths,
        "caught by the guard": guard,
        "other exceptions": other,
        "calls by two threads at once": campaign.pairs,
        "made up": sum(row.chosen for row in table.rows.values()),
        "of them reached C": sum(row.reached for row in table.rows.values()),
        "public calls": len(table.rows),
        "never called": [name for name, row in table.rows.items() if not row.made],
        "that reach C": len(reaching),
        f"of them with {ENOUGH} calls and more": sum(table.rows[name].chosen >= ENOUGH for name in reaching),
        "of them under 40 %": table.under,
        "that don't": len(table.never),
        "said to answer by themselves, and don't": table.wrong,
        "ended": dict(campaign.endings.most_common()),
    }
    if options.each:
        result["without a success"] = table.idle
    print(json.dumps(result, indent=1))
    if methods:
        print(*table.lines(), sep="\n")
        print("never reach C:", ", ".join(table.never))
    for (name, ended, words), count in campaign.findings.most_common(300):
        print(f"{count:5} {name}: {ended}: {words}")
    for each in campaign.deaths:
        print("KILLED:", json.dumps(asdict(each)))
    failed = campaign.deaths or guard or other or table.wrong or not campaign.made
    unmet = [] if options.odd else table.idle if options.each else table.under
    unseen = options.count >= WHOLE and not options.only and result["never called"]
    return 1 if failed or unmet or unseen else 0


if __name__ == "__main__":
    sys.exit(main())
