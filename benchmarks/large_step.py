"""One training step of LPIPS on VGG-16 on a single large image: time and peak memory, in opsin by tiles.

Loss, weights and peers are those of training_step.py, both images are new. Each step runs in a process of its own,
after a small one, and the processes run one after another, in rounds: the peers take many gigabytes. What a peer will
take is told by a step at a quarter of the size; one for which the machine has too little memory is left out, and the
reason is told.

    python benchmarks/large_step.py [--rounds 3] [--size 2048] [--tile 512] [--json out.json]
"""

from __future__ import annotations

import argparse

import torch
from measuring import (
    Contestant,
    Goal,
    Row,
    Step,
    answer_alone,
    arguments,
    available_memory,
    check_equal,
    in_a_process,
    report,
    rounds,
)
from peers import LPIPS, lpips_of_opsin

GOALS = (Goal("opsin, in tiles", "speed", 2.0), Goal("opsin, in tiles", "memory", 10.0))


def ours(tile: int) -> Contestant:
    def contestant(y: torch.Tensor) -> Step:
        loss = lpips_of_opsin()
        return lambda x: loss(x, y, tile=tile)

    return contestant


def too_large(name: str, args: argparse.Namespace) -> str:
    """Why a peer's step cannot be run here, empty if it can."""
    quarter = in_a_process(__file__, name, args, size=args.size // 4)
    if quarter.skipped:
        return quarter.skipped
    needed, there = 16 * quarter.peak_bytes, available_memory()
    return f"takes about {needed / 2**30:.0f} GiB, {there / 2**30:.0f} are free" if needed > there else ""


def main() -> None:
    parser = arguments(__doc__, rounds=3, size=2048, memory_apart=False)
    parser.add_argument("--tile", type=int, default=512)
    args = parser.parse_args()
    contestants = {"opsin, in tiles": ours(args.tile), **LPIPS}
    answer_alone(contestants, args)
    rows = {name: Row(name, skipped=too_large(name, args) if name in LPIPS else "") for name in contestants}
    peaks: dict[str, list[int]] = {}
    for name in rounds([name for name, row in rows.items() if not row.skipped], args.rounds):
        row = rows[name]
        if row.skipped:
            continue
        new = in_a_process(__file__, name, args)
        if new.skipped:
            rows[name] = new
            continue
        row.seconds += new.seconds
        row.value = new.value
        peaks.setdefault(name, []).append(new.peak_bytes)
        row.peak_bytes = sorted(peaks[name])[len(peaks[name]) // 2]
    # Sums over millions of positions round a little differently in tiles.
    check_equal({name: row.value for name, row in rows.items() if row.seconds}, 1e-4)
    what = f"{args.size}×{args.size} in tiles of {args.tile}"
    report(__file__, "LPIPS-vgg step on a large image", what, args, list(rows.values()), GOALS, tuple(LPIPS))


if __name__ == "__main__":
    main()
