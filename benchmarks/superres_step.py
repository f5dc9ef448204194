"""One perceptual training step of super-resolution, with opsin's loss and with BasicSR's written out, interleaved.

The network is Real-ESRGAN's compact one with 32 channels and 8 layers, x4, from the same random weights in both. The
loss is ESRGAN's without the discriminator: 1e-2 L1 on pixels and L1 at conv5_4 of VGG-19. BasicSR's is written with
torchvision's VGG-19 as BasicSR does it: the layers up to conv5_4 in a `Sequential`, both images through them, the
original without a graph. Both have the same seeded weights, and before anything is timed the losses of a step must
agree to 1e-4. A step is the network's forward pass, the loss, the backward pass and Adam, on 4 crops of 128x128 from
small ones of 32x32.

    python benchmarks/superres_step.py [--rounds 9] [--size 128] [--batch 4] [--json out.json]
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from measuring import Goal, Row, arguments, check_equal, images, report, rounds
from peers import seeded_vgg19
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from opsin import published
from opsin.functional.resample import downscale
from opsin.networks import make_upscaler

OURS, PEER = "opsin", "BasicSR's loss"
GOALS = (Goal(OURS, "speed", 1.15),)

TrainingStep = Callable[[Tensor, Tensor], float]


class BasicSrLoss(nn.Module):
    """What BasicSR computes of conv5_4, and L1 of the pixels."""

    def __init__(self) -> None:
        super().__init__()
        layers = list(seeded_vgg19().features)[:35]
        # conv5_4 is the 35th; a ReLU that overwrites its input is what torchvision has.
        self.vgg = nn.Sequential(*layers).eval().requires_grad_(False)
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).reshape(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225]).reshape(1, 3, 1, 1))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        features = self.vgg((x - self.mean) / self.std)
        wanted = self.vgg((y.detach() - self.mean) / self.std)
        return F.l1_loss(features, wanted) + 1e-2 * F.l1_loss(x, y)


def loss_of_opsin(folder: Path) -> Callable[[Tensor, Tensor], Tensor]:
    file = folder / "vgg19.safetensors"
    save_file({f"features.{k}": v for k, v in seeded_vgg19().features.state_dict().items()}, file)
    return published.esrgan("vgg19", file, pixel_weight=1e-2)


def training(loss: Callable[[Tensor, Tensor], Tensor]) -> TrainingStep:
    """A network of its own, always the same to begin with, and a step of it."""
    torch.manual_seed(0)
    network = make_upscaler("compact", 4, width=32, blocks=8).train()
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-4, betas=(0.9, 0.99))

    def step(small: Tensor, large: Tensor) -> float:
        optimizer.zero_grad()
        value = loss(network(small), large)
        value.backward()
        optimizer.step()
        return value.item()

    return step


def main() -> None:
    args = arguments(__doc__, rounds=9, batch=4, size=128, memory_apart=False).parse_args()
    with tempfile.TemporaryDirectory() as folder:
        steps = {OURS: training(loss_of_opsin(Path(folder))), PEER: training(BasicSrLoss())}
    _, large = images(args.size, args.batch)
    small = downscale(large, 4)
    rows = {name: Row(name, value=step(small, large)) for name, step in steps.items()}
    check_equal({name: row.value for name, row in rows.items()}, 1e-4)
    for name in rounds(list(steps), args.rounds):
        began = time.perf_counter()
        steps[name](small, large)
        rows[name].seconds.append(time.perf_counter() - began)
    what = f"batch {args.batch} of {args.size}×{args.size}, ×4"
    report(
        __file__,
        "perceptual super-resolution step",
        what,
        args,
        list(rows.values()),
        GOALS,
        ("torchvision", "spandrel"),
    )


if __name__ == "__main__":
    main()
