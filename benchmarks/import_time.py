"""What `import opsin` takes over `import torch`, beside the peers', in fresh processes, interleaved in one run.

opsin imports its parts when they are first used; "opsin, used" therefore also asks for networks and losses, which is
all that a training script waits for.

    python benchmarks/import_time.py [--rounds 11] [--json out.json]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from measuring import Goal, Row, report, rounds

PROGRAMS = {
    "opsin": "import opsin",
    "opsin, used": "import opsin; opsin.VGG, opsin.PerceptualLoss, opsin.published.lpips",
    "lpips": "import lpips",
    "piq": "import piq",
    "torchmetrics": "import torchmetrics.image",
    "torch": "pass",
}
GOALS = (Goal("opsin", "seconds", 0.1), Goal("opsin, used", "seconds", 0.1))


def seconds(program: str) -> float:
    """From before `import torch` to after the program, in a process of its own."""
    code = f"import time; start = time.perf_counter(); import torch; {program}; print(time.perf_counter() - start)"
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, capture_output=True, text=True)
    return float(done.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--json", type=Path, help="write all that was measured to this file")
    args = parser.parse_args()
    times: dict[str, list[float]] = {name: [] for name in PROGRAMS}
    for name in rounds(list(PROGRAMS), args.rounds + 1):
        times[name].append(seconds(PROGRAMS[name]))
    # The first round read the files from disk.
    over = {name: [t - base for t, base in zip(times[name], times["torch"], strict=True)][1:] for name in times}
    rows = [Row(name, over[name]) for name in PROGRAMS if name != "torch"]
    packages = ("lpips", "piq", "torchmetrics")
    report(__file__, "Import", "over that of torch, fresh processes", args, rows, GOALS, packages, compared=False)


if __name__ == "__main__":
    main()
