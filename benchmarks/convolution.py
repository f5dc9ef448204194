"""The native 3×3 convolution against torch's, layer by layer, forward and backward, interleaved in one run.

The shapes are those of VGG-16 behind its first convolution, or with --table the ones between which the shipped table of
`opsin._native` decides. Both compute relu(convolution + bias), and the gradient with respect to the input of both.

    python benchmarks/convolution.py [--rounds 7] [--batch 4] [--size 256] [--table] [--json out.json]
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor, nn

from opsin import _native
from opsin.report.environment import machine

ALGORITHMS = ("direct", "winograd")


def vgg16(size: int) -> list[tuple[int, int, int]]:
    """Channels in and out, and size of the map, of each kind of layer."""
    layers = [(64, 64, 1)]
    for i, (c_in, c_out) in enumerate(pairwise((64, 128, 256, 512, 512)), start=1):
        layers += [(c_in, c_out, 2**i), (c_out, c_out, 2**i)]
    return [(c_in, c_out, size // scale) for c_in, c_out, scale in dict.fromkeys(layers)]


def table() -> list[tuple[int, int, int]]:
    """The same of the shapes out of which the shipped table was made."""
    pairs = [(16, 16), (16, 64), (32, 32), (32, 128), (64, 64), (64, 256), (128, 128), (192, 384), (256, 256)]
    pairs += [(512, 512)]
    sizes = (6, 8, 12, 16, 24, 32, 64, 128)
    return [(c_in, c_out, n) for c_in, c_out in pairs for n in sizes if c_in * c_out * n * n <= 2**30]


def seconds(step: Callable[[], object]) -> float:
    start = time.perf_counter()
    step()
    return time.perf_counter() - start


def measure(batch: int, shape: tuple[int, int, int], rounds: int) -> dict[str, list[float]]:
    """Seconds of each round, by "forward" or "backward" and the algorithm."""
    c_in, c_out, n = shape
    layer = nn.Conv2d(c_in, c_out, 3, padding=1).requires_grad_(False).to(memory_format=torch.channels_last)
    x = torch.randn(batch, c_in, n, n).contiguous(memory_format=torch.channels_last).requires_grad_(True)
    g = torch.randn(batch, c_out, n, n).contiguous(memory_format=torch.channels_last)
    times: dict[str, list[float]] = {f"{way} {a}": [] for way in ("forward", "backward") for a in ALGORITHMS}
    repeat = max(1, int(1e9 / (batch * c_in * c_out * n * n * 18)))  # about 10 ms at once
    for i in range(rounds + 1):
        for a in ALGORITHMS[:: 1 if i % 2 else -1]:
            ys: list[Tensor] = []

            def forward(a: str = a, ys: list[Tensor] = ys) -> None:
                for _ in range(repeat):
                    ys[:] = [_native.convolve(layer, x, relu=True, algorithm=a)]

            def backward(ys: list[Tensor] = ys) -> None:
                for _ in range(repeat):
                    torch.autograd.grad(ys[0], x, g, retain_graph=True)

            for way, step in (("forward", forward), ("backward", backward)):
                times[f"{way} {a}"].append(seconds(step) / repeat)
    return {name: t[1:] for name, t in times.items()}  # the first transforms the filters


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--size", type=int, default=256, help="of the image that VGG-16 gets")
    parser.add_argument("--table", action="store_true", help="the shapes of the table instead of those of VGG-16")
    parser.add_argument("--json", type=Path, help="write all that was measured to this file")
    args = parser.parse_args()
    if why := _native.why_not():
        parser.error(why)
    print(f"3x3 convolution, batch {args.batch}, {args.rounds} rounds; torch {torch.__version__}")
    on = machine()
    print(f"{on.cpu}, {on.threads} threads on {on.cores} cores, {on.vectors}, {on.system}; median ms")
    print(
        f"{'':16}" + "".join(f"{f'{way} {a}':>19}" for way in ("forward", "backward") for a in (*ALGORITHMS, "ratio"))
    )
    rows = []
    totals = dict.fromkeys((f"{way} {a}" for way in ("forward", "backward") for a in ALGORITHMS), 0.0)
    for shape in table() if args.table else vgg16(args.size):
        times = measure(args.batch, shape, args.rounds)
        medians = {name: statistics.median(t) for name, t in times.items()}
        totals = {name: totals[name] + medians[name] for name in totals}
        rows.append({"shape": shape, "seconds": times})
        print(f"{'{}->{} {}²'.format(*shape):16}" + line(medians), flush=True)
    print(f"{'sum':16}" + line(totals))
    if args.json:
        args.json.write_text(json.dumps({"batch": args.batch, "rows": rows}, indent=1))


def line(medians: dict[str, float]) -> str:
    cells = []
    for way in ("forward", "backward"):
        direct, winograd = (medians[f"{way} {a}"] for a in ALGORITHMS)
        cells += [f"{direct * 1e3:19.2f}", f"{winograd * 1e3:19.2f}", f"{direct / winograd:19.2f}"]
    return "".join(cells)


if __name__ == "__main__":
    main()
