"""One training step of one and the same loss in opsin, lpips, piq and torchmetrics, interleaved in one run.

The loss is LPIPS on VGG-16: five taps, unit-normalised L2 with the published heads. All four get the same random trunk
weights, and before anything is timed their values must agree to 1e-5. A step is the forward pass and the gradient with
respect to the first image, in a batch of 4 images of 256×256.

    python benchmarks/training_step.py [--rounds 7] [--size 256] [--batch 4] [--json out.json]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from unittest import mock

import torch

import opsin

TAPS = ("relu1_2", "relu2_2", "relu3_3", "relu4_3", "relu5_3")
Step = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def trunk() -> dict[str, torch.Tensor]:
    """VGG-16's convolutions, random, the same for all."""
    network = opsin.VGG("vgg16", weights="random").__dict__["_network"]
    return {k: v.contiguous() for k, v in network.state_dict().items()}


def heads() -> list[torch.Tensor]:
    """The published linear heads, from the wheel of lpips."""
    import lpips

    path = Path(lpips.__file__).parent / "weights" / "v0.1" / "vgg.pth"
    state = torch.load(path, weights_only=True, map_location="cpu")
    return [state[f"lin{i}.model.1.weight"] for i in range(5)]


def load_trunk(module: torch.nn.Module) -> None:
    """Put the common weights into a peer's convolutions, which are in the order in which they run."""
    convolutions = [m for m in module.modules() if isinstance(m, torch.nn.Conv2d) and m.weight.shape[2] == 3]
    tensors = list(trunk().values())
    for conv, weight, bias in zip(convolutions, tensors[::2], tensors[1::2], strict=True):
        conv.weight.data.copy_(weight)
        conv.bias.data.copy_(bias)


def make_opsin() -> Step:
    vgg = opsin.VGG("vgg16", weights="random")
    distances = [opsin.distances.UnitL2(h) for h in heads()]
    terms = [opsin.Term(vgg, tap, d) for tap, d in zip(TAPS, distances, strict=True)]
    return opsin.PerceptualLoss(terms)


def make_lpips() -> Step:
    import lpips

    loss = lpips.LPIPS(net="vgg", pnet_rand=True, verbose=False)
    load_trunk(loss.net)
    return lambda x, y: loss(x, y, normalize=True).mean()


def make_piq() -> Step:
    import piq
    from torchvision.models import vgg16

    with mock.patch("piq.perceptual.vgg16", lambda **_: vgg16(weights=None)):
        loss = piq.ContentLoss("vgg16", layers=TAPS, weights=heads(), normalize_features=True)
    load_trunk(loss.model)
    return loss


def make_torchmetrics() -> Step:
    from torchmetrics.functional.image.lpips import _LPIPS

    loss = _LPIPS(pretrained=True, net="vgg", pnet_rand=True)
    load_trunk(loss.net)
    return lambda x, y: loss(x, y, normalize=True).mean()


CONTESTANTS: dict[str, Callable[[], Step]] = {
    "opsin": make_opsin,
    "opsin, kept targets": make_opsin,
    "lpips": make_lpips,
    "piq": make_piq,
    "torchmetrics": make_torchmetrics,
}


def images(batch: int, size: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(batch, 3, size, size, generator=generator)
    y = (x + 0.1 * torch.randn(x.shape, generator=generator)).clamp(0, 1)
    return x.requires_grad_(True), y


def step_of(name: str, y: torch.Tensor) -> Callable[[torch.Tensor], torch.Tensor]:
    loss = CONTESTANTS[name]()
    if name == "opsin, kept targets":
        targets = loss.targets(target=y)
        return lambda x: loss(x, targets)
    return lambda x: loss(x, y)


def run(step: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor) -> tuple[float, float]:
    """Seconds and value of one step."""
    x.grad = None
    start = time.perf_counter()
    value = step(x)
    value.backward()
    return time.perf_counter() - start, value.item()


def resident_peak() -> int:
    """Peak resident memory of this process in bytes since the last reset (Linux)."""
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) * 1024


def peak_memory(name: str, batch: int, size: int) -> int:
    """Peak memory of a step in bytes over what the process held before it; run in a process of its own."""
    x, y = images(batch, size)
    step = step_of(name, y)
    # A small step first, so that one-time allocations of the libraries are not counted.
    small, small_y = images(1, 64)
    run(step_of(name, small_y), small)
    Path("/proc/self/clear_refs").write_text("5")  # the peak is now what is resident
    before = resident_peak()
    run(step, x)
    return resident_peak() - before


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--memory-of", help=argparse.SUPPRESS)
    args = parser.parse_args()
    warnings.filterwarnings("ignore", module="torchvision")  # peers ask it in ways that it deprecates
    if args.memory_of:
        print(peak_memory(args.memory_of, args.batch, args.size))
        return

    x, y = images(args.batch, args.size)
    steps = {name: step_of(name, y) for name in CONTESTANTS}
    values = {name: run(step, x)[1] for name, step in steps.items()}
    for name, value in values.items():
        torch.testing.assert_close(value, values["lpips"], rtol=1e-5, atol=0, msg=f"{name} computes another loss")
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    names = list(steps)
    for i in range(args.rounds):
        for name in names[i % len(names) :] + names[: i % len(names)]:
            seconds[name].append(run(steps[name], x)[0])
    command = [sys.executable, __file__, "--batch", str(args.batch), "--size", str(args.size), "--memory-of"]
    memory = {
        name: int(subprocess.run([*command, name], check=True, capture_output=True, text=True).stdout) for name in names
    }

    peers = [name for name in names if not name.startswith("opsin")]
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    fastest = min(peers, key=medians.__getitem__)
    versions = ", ".join(f"{p} {metadata.version(p)}" for p in ["torch", *peers])
    threads = f"{torch.get_num_threads()} threads of {os.cpu_count()}"
    print(f"LPIPS-vgg step, batch {args.batch} of {args.size}x{args.size}, {args.rounds} rounds; {versions}")
    print(f"{platform.machine()}, {threads}, {torch.backends.cpu.get_cpu_capability()}; value {values['opsin']:.6f}")
    versus = f"times faster than {fastest}"
    print(f"{'':22}{'median s':>10}{'min s':>8}{'max s':>8}{'peak MiB':>10}{versus:>34}")
    rows = []
    for name in names:
        ratios = [b / a for a, b in zip(seconds[name], seconds[fastest], strict=True)]
        ratio = statistics.median(ratios)
        rows.append({"name": name, "seconds": seconds[name], "peak_bytes": memory[name], "ratio": ratio})
        print(
            f"{name:22}{medians[name]:10.3f}{min(seconds[name]):8.3f}{max(seconds[name]):8.3f}"
            f"{memory[name] / 2**20:10.0f}{ratio:24.2f} ({min(ratios):.2f}-{max(ratios):.2f})"
        )
    if args.json:
        args.json.write_text(json.dumps({"versions": versions, "fastest_peer": fastest, "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
