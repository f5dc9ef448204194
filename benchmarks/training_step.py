"""One training step of one and the same loss in opsin, lpips, piq and torchmetrics, interleaved in one run.

The loss is LPIPS on VGG-16: five taps, unit-normalised L2 with the published heads. All four get the same random trunk
weights, and before anything is timed their values must agree to 1e-5. A step is the forward pass and the gradient with
respect to the first image, in a batch of 4 images of 256×256.

    python benchmarks/training_step.py [--rounds 7] [--size 256] [--batch 4] [--no-memory] [--json out.json]
"""

from __future__ import annotations

import torch
from measuring import Goal, Step, arguments, interleaved, report
from peers import LPIPS, lpips_of_opsin

GOALS = (Goal("opsin, both images new", "speed", 2.2), Goal("opsin, kept targets", "speed", 3.5))


def ours(y: torch.Tensor) -> Step:
    loss = lpips_of_opsin()
    return lambda x: loss(x, y)


def ours_kept(y: torch.Tensor) -> Step:
    loss = lpips_of_opsin()
    targets = loss.targets(target=y)
    return lambda x: loss(x, targets)


def main() -> None:
    args = arguments(__doc__, rounds=7, batch=4, size=256).parse_args()
    contestants = {"opsin, kept targets": ours_kept, "opsin, both images new": ours, **LPIPS}
    rows = interleaved(__file__, args, contestants)
    what = f"batch {args.batch} of {args.size}×{args.size}"
    report(__file__, "LPIPS-vgg training step", what, args, rows, GOALS, tuple(LPIPS))


if __name__ == "__main__":
    main()
