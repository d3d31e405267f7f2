"""Find the sums behind llama.cpp's compute buffers: `python -m devtools.fit_compute FOLDER`.

1. `--sample`: let llama.cpp plan random networks of every kind (`devtools.compute_samples`; most of an hour).
2. For each architecture look for a few sums of sizes, none of which is ever clearly larger than what was
   planned, and one of which always comes near: a linear program per sum, each beginning at the plan that is
   worst explained so far.
3. Write `llama_ffi/_core/estimate/compute.json`; `--check` only says how far the present one is off.

Distances are shares of the whole estimate: weights, memory and compute buffer. Needs scipy.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import defaultdict
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from llama_ffi import testing
from llama_ffi._core.estimate import computing
from llama_ffi._core.estimate.network import Network
from llama_ffi._core.estimate.remembered import cells

from . import compute_samples

TABLE = Path(computing.__file__).with_name("compute.json")
SHARES = (0.025, 0.04, 0.06)
"""How far off a sum may be; the first with which few sums are enough."""
FEW, MOST = 8, 24
SPARSE = 0.1
"""What a size must explain, as a share of what is still to explain, to be in a sum: with less it is chance,
which costs dearly where networks are larger than those that were sampled."""
QUANTIZED = 7
"""How much smaller than the planned f32 weights are in files: 4.5 bits each."""
FURTHEST = 0.25
"""…of the compute buffer itself."""


class Plan(NamedTuple):
    """What llama.cpp planned, in values of 4 bytes."""

    sizes: dict[str, int]
    compute: float
    rest: float
    flash_attn: bool


def plans(folder: Path, kinds: list[str] | None = None) -> dict[str, list[Plan]]:
    """Return the sampled plans, of all kinds or of these, by the table's names."""
    found: dict[str, list[Plan]] = defaultdict(list)
    for file in sorted(folder.glob("*.jsonl")):
        if kinds and file.stem not in kinds:
            continue
        for line in file.read_text(encoding="utf-8").splitlines():
            record = json.loads(line)
            net = Network(record["md"])
            for context, weights, memory, compute in record["runs"]:
                if compute:
                    plan = _plan(net, context, record["n_vocab"])
                    rest = (weights / QUANTIZED + memory) / 4
                    found[computing.table_name(net)].append(Plan(plan[0], compute / 4, rest, plan[1]))
    return found


def _plan(net: Network, context: dict[str, Any], n_vocab: int) -> tuple[dict[str, int], bool]:
    flash_attn = context.get("flash_attn", True)
    made = cells(
        net,
        n_ctx=context["n_ctx"],
        n_batch=context.get("n_batch", 2048),
        n_ubatch=context.get("n_ubatch", 512),
        n_seq_max=context.get("n_seq_max", 1),
        n_outputs_max=context.get("n_outputs_max", 0),
        n_rs_seq=0,
        unified=context.get("kv_unified", False),
        swa_full=context.get("swa_full", True),
        flash_attn=flash_attn,
        key_row=lambda count: 2 * count,
        value_row=lambda count: 2 * count,
    )
    return computing.features(net, made, n_vocab), flash_attn


def fit(chosen: list[Plan]) -> list[dict[str, float]]:
    """Return sums that explain the plans."""
    for share in SHARES:
        sums = _fit(chosen, share)
        if len(sums) <= FEW:
            break
    return sums


def _fit(chosen: list[Plan], share: float) -> list[dict[str, float]]:
    import numpy as np
    from scipy.optimize import linprog

    names = sorted({name for plan in chosen for name in plan.sizes})
    compute = np.array([plan.compute for plan in chosen])
    rest = np.array([plan.rest for plan in chosen])
    far = np.minimum(share * (compute + rest) / compute, FURTHEST)
    ratios = np.array([[plan.sizes.get(name, 0) for name in names] for plan in chosen]) / compute[:, None]
    scale = ratios.max(axis=0)
    names, ratios = [n for n, s in zip(names, scale, strict=True) if s], ratios[:, scale > 0]
    ratios, scale = ratios / scale[scale > 0], scale[scale > 0]
    best, begun = np.zeros(len(chosen)), np.zeros(len(chosen), bool)
    rows = np.zeros((0, len(names)))
    for _ in range(MOST):
        short = np.where(begun, -1.0, 1 - far - best)
        worst = int(short.argmax())
        if short[worst] <= 0:
            break
        begun[worst] = True
        goal = ratios[short > 0].sum(axis=0) - SPARSE * (short > 0).sum()
        limits, bounds = np.vstack([ratios, -ratios[worst]]), np.append(1 + far, far[worst] / 2 - 1)
        found = linprog(-goal, A_ub=limits, b_ub=bounds, bounds=(0, None), method="highs")
        if found.status != 0:  # no sum that respects the others reaches it: as near as can be
            goal = ratios[worst] + 1e-4 * goal
            found = linprog(-goal, A_ub=ratios, b_ub=1 + far, bounds=(0, None), method="highs")
        reached = ratios @ found.x
        if reached[worst] > best[worst] + 1e-6:
            best, rows = np.maximum(best, reached), np.vstack([rows, found.x])
    for row in range(len(rows) - 1, -1, -1):  # what later sums explain as well
        others = np.delete(rows, row, axis=0)
        if len(others) and ((ratios @ others.T).max(axis=1) >= np.minimum(best, 1 - far) - 1e-9).all():
            rows = others
    return [
        {name: float(f"{x / s:.4g}") for name, x, s in zip(names, row, scale, strict=True) if x > 1e-7}
        for row in rows
    ]


def errors(sums: list[dict[str, float]], chosen: list[Plan]) -> list[float]:
    """Return how far the sums are off, as shares of the whole estimate, sorted."""
    return sorted(
        abs(computing.largest(sums, plan.sizes) - plan.compute) / (plan.compute + plan.rest)
        for plan in chosen
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="of the samples")
    parser.add_argument("--sample", action="store_true", help="make the samples first")
    parser.add_argument("--sizes", type=int, default=110, help="networks of each kind (110)")
    parser.add_argument("--contexts", type=int, default=6, help="contexts of each network (6)")
    parser.add_argument("--seed", type=int, default=2, help="of the samples (2)")
    parser.add_argument("--kinds", nargs="*", help="only these; what the table has of others stays")
    parser.add_argument("--check", action="store_true", help="change nothing; say how far the table is off")
    args = parser.parse_args()
    if args.sample:
        kinds = args.kinds or testing.kinds()
        failed = compute_samples.write(args.folder, kinds, args.sizes, args.contexts, args.seed)
        if failed:
            parser.exit(1, f"no whole samples of {', '.join(failed)}: their processes failed\n")
    found = plans(args.folder, args.kinds)
    if not found:
        parser.exit(1, f"{args.folder} has no samples; make them: --sample\n")
    table = json.loads(TABLE.read_text(encoding="utf-8"))["sums"] if args.check or args.kinds else {}
    if not args.check:
        with ProcessPoolExecutor() as pool:
            table.update(zip(found, pool.map(_fit_both, found.values()), strict=True))
    far = 0
    for name, chosen in found.items():
        for way, part in _by_attention(chosen).items():
            off = errors(table[name][way], part)
            far += sum(each > 0.1 for each in off)
            worst = f"{100 * off[-1]:.1f} %, nine of ten {100 * off[len(off) * 9 // 10]:.1f} %"
            print(f"{name:<24}{way:<6}{len(part):>5} plans {len(table[name][way]):>3} sums: at most {worst}")
    print(f"{far} of {sum(map(len, found.values()))} plans are off by more than 10 %")
    if not args.check:
        text = ",\n".join(f"{json.dumps(name)}: {json.dumps(table[name])}" for name in sorted(table))
        TABLE.write_text(f'{{"sums": {{\n{text}\n}}}}\n', encoding="utf-8")
    return 0


def _by_attention(chosen: list[Plan]) -> dict[str, list[Plan]]:
    parts = {
        "fa": [plan for plan in chosen if plan.flash_attn],
        "plain": [plan for plan in chosen if not plan.flash_attn],
    }
    return {way: part for way, part in parts.items() if part}


def _fit_both(chosen: list[Plan]) -> dict[str, list[dict[str, float]]]:
    return {way: fit(part) for way, part in _by_attention(chosen).items()}


if __name__ == "__main__":
    sys.exit(main())
