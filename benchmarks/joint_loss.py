"""One training step of a sum of four losses, all on VGG-16, in opsin and as a sum of what lpips and piq have.

The losses are LPIPS, Johnson's feature (relu3_3) and style loss, and ESRGAN's loss of features before the last ReLU
(conv5_3). opsin runs the network once for all of them, a sum of peers once for each. All get the same random weights;
before anything is timed, each of the four losses and their sum must agree to 1e-5. A step is the forward pass and the
gradient with respect to the first image, in a batch of 4 images of 256×256.

"peers" is what their users write. piq runs the whole network whatever the layers; "peers, cut at their taps" has it
run no layer in vain, which its users would have to do by hand. The last lines are the summands of "peers" alone.

    python benchmarks/joint_loss.py [--rounds 7] [--size 256] [--batch 4] [--no-memory] [--json out.json]
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable

import torch
from measuring import Contestant, Goal, Step, arguments, check_equal, images, interleaved, report
from peers import load_trunk, lpips_of_its_authors

import opsin
from opsin.published.esrgan import esrgan
from opsin.published.johnson import johnson_feature, johnson_style
from opsin.published.lpips import lpips

GOALS = (Goal("opsin, kept targets", "speed", 6.0),)
STYLE = {"relu1_2": (64, 1), "relu2_2": (128, 2), "relu3_3": (256, 4), "relu4_3": (512, 8)}  # channels, scale
Pair = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def our_losses() -> dict[str, opsin.PerceptualLoss]:
    """The four of them. The style is that of the target, so that all have two images."""
    return {
        "lpips": lpips("vgg", weights="random"),
        "feature": johnson_feature(weights="random"),
        "style": johnson_style(weights="random", reference="target"),
        "esrgan": esrgan(net="vgg16", weights="random"),
    }


def network(last: str | None = None) -> torch.nn.Module:
    """torchvision's VGG-16, as piq takes it, whole or up to a layer."""
    from piq.perceptual import VGG16_LAYERS
    from torchvision.models import vgg16

    features = vgg16(weights=None, init_weights=False).features
    load_trunk(features)
    return features if last is None else features[: int(VGG16_LAYERS[last]) + 1]


def peer_losses(size: int, cut: bool) -> dict[str, Pair]:
    """The same four, with weights that turn piq's reductions into those of the papers' code."""
    import piq
    from piq.perceptual import VGG16_LAYERS

    learned = lpips_of_its_authors()

    def content(tap: str, channels: int, distance: str) -> torch.nn.Module:
        # piq adds channels up, where a mean is wanted.
        features = network(tap if cut else None)
        return piq.ContentLoss(features, layers=[VGG16_LAYERS[tap]], weights=[1 / channels], distance=distance)

    # piq divides no Gram matrix by C·H·W, and averages its squared entries.
    weights = [5 / (channels * (size // scale) ** 2) ** 2 for channels, scale in STYLE.values()]
    style = piq.StyleLoss(
        network("relu4_3" if cut else None), layers=[VGG16_LAYERS[tap] for tap in STYLE], weights=weights
    )
    before_relu = content("conv5_3", 512, "mae")
    # The ReLU that follows would overwrite its input in place, and piq would compare what is left of it.
    for module in before_relu.model.modules():
        if isinstance(module, torch.nn.ReLU):
            module.inplace = False
    return {
        "lpips": lambda x, y: learned(x, y, normalize=True).mean(),
        "feature": content("relu3_3", 256, "mse"),
        "style": style,
        "esrgan": before_relu,
    }


def our_sum() -> opsin.PerceptualLoss:
    return functools.reduce(operator.add, our_losses().values())


def ours(y: torch.Tensor) -> Step:
    loss = our_sum()
    return lambda x: loss(x, y)


def ours_kept(y: torch.Tensor) -> Step:
    loss = our_sum()
    targets = loss.targets(target=y)
    return lambda x: loss(x, targets)


def peers(cut: bool) -> Contestant:
    def contestant(y: torch.Tensor) -> Step:
        losses = peer_losses(y.shape[-1], cut)
        return lambda x: torch.stack([loss(x, y) for loss in losses.values()]).sum()

    return contestant


def peer(name: str) -> Contestant:
    def contestant(y: torch.Tensor) -> Step:
        loss = peer_losses(y.shape[-1], cut=False)[name]
        return lambda x: loss(x, y)

    return contestant


def check_each_loss(size: int) -> None:
    x, y = images(size)
    with torch.no_grad():
        theirs = peer_losses(size, cut=False)
        for name, loss in our_losses().items():
            check_equal({f"opsin {name}": loss(x, y).item(), f"its peer {name}": theirs[name](x, y).item()})


def main() -> None:
    args = arguments(__doc__, rounds=7, batch=4, size=256).parse_args()
    if not args.alone:
        check_each_loss(min(args.size, 128))
    contestants = {
        "opsin, kept targets": ours_kept,
        "opsin, both images new": ours,
        "peers": peers(cut=False),
        "peers, cut at their taps": peers(cut=True),
    }
    parts = {f"of them, {name}": peer(name) for name in ("lpips", "feature", "style", "esrgan")}
    rows = interleaved(__file__, args, {**contestants, **parts}, parts=parts)
    what = f"batch {args.batch} of {args.size}×{args.size}"
    report(__file__, "LPIPS + feature + style + ESRGAN on VGG-16", what, args, rows, GOALS, ("lpips", "piq"))


if __name__ == "__main__":
    main()
