"""What an import takes when torch has been imported already: opsin's beside the peers', interleaved in one run.

Each is measured in a fresh process, which imports torch first and takes the time after that. All of it is imported from
compiled files, as from the second time on at any user's: they are put into a folder of this run, and the first round,
which compiles them and reads all files from disk, does not count. opsin imports its parts when they are first used;
"opsin, used" therefore also asks for networks and losses, which is all that a training script waits for.

    python benchmarks/import_time.py [--rounds 11] [--json out.json]
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from measuring import Goal, Row, report, rounds

PROGRAMS = {
    "opsin": "import opsin",
    "opsin, used": "import opsin; opsin.VGG, opsin.PerceptualLoss, opsin.published.lpips",
    "lpips": "import lpips",
    "piq": "import piq",
    "torchmetrics": "import torchmetrics.image",
}
GOALS = (Goal("opsin", "seconds", 0.1), Goal("opsin, used", "seconds", 0.1))


def seconds(program: str, compiled: str) -> float:
    """Time of a program after `import torch`, in a process of its own that keeps compiled files in a folder."""
    code = f"import time, torch; start = time.perf_counter(); {program}; print(time.perf_counter() - start)"
    # Where files may not be written next to their sources, an editable install would be compiled each time anew.
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        env={**environment, "PYTHONPYCACHEPREFIX": compiled},
    )
    return float(done.stdout)


def options(about: str, count: int) -> argparse.Namespace:
    """What the command line asks for; `count` rounds if it doesn't say."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=count)
    parser.add_argument("--json", type=Path, help="write all that was measured to this file")
    return parser.parse_args()


def measure(programs: Mapping[str, str], count: int) -> list[Row]:
    """Times of programs by name, interleaved in so many rounds after one that does not count."""
    times: dict[str, list[float]] = {name: [] for name in programs}
    with tempfile.TemporaryDirectory() as compiled:
        for name in rounds(list(programs), count + 1):
            times[name].append(seconds(programs[name], compiled))
    return [Row(name, measured[1:]) for name, measured in times.items()]


def main() -> None:
    args = options(__doc__, 11)
    rows = measure(PROGRAMS, args.rounds)
    packages = ("lpips", "piq", "torchmetrics")
    report(__file__, "Import", "after that of torch", args, rows, GOALS, packages, compared=False)


if __name__ == "__main__":
    main()
