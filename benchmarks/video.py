"""Flicker of a stylized clip: frame by frame with optical flow and the temporal term, beside each frame by itself.

The clip pans over a photo of scikit-image by parts of pixels, under a camera that also draws near. Both ways begin with
the same first frame. "by itself" makes the others as it makes that one, coarse to fine; "with flow" begins them with
the previous result. Flicker is the mean squared difference of a result and the previous one warped by the motion of
the clip, where that is trusted. Content and style losses are means over the frames but the first, without the temporal
term.

    python benchmarks/video.py [--size 160] [--frames 12] [--steps 60] [--later-steps 30] [--weight 1] [--output FOLDER]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import torch
from skimage import data
from torch.nn import functional as F

import opsin
from opsin.stylize import Settings
from opsin.stylize.video import Clip, FrameStore, flicker, stylize_frames, write_clip
from opsin.stylize.video.painting import ClipPainter

SPEED = (2.3, 0.6)  # pixels a frame
ZOOM = 1.004  # a frame


def picture(name: str) -> torch.Tensor:
    return torch.from_numpy(getattr(data, name)().copy()).permute(2, 0, 1)[None].float() / 255


def pan(photo: torch.Tensor, height: int, width: int, count: int) -> Iterator[torch.Tensor]:
    """Frames of a camera that moves over a photo, in the 256 levels of a file."""
    y, x = torch.meshgrid(torch.arange(height) - height / 2, torch.arange(width) - width / 2, indexing="ij")
    rows, columns = photo.shape[-2:]
    for i in range(count):
        across = x / ZOOM**i + width / 2 + 8 + SPEED[0] * i
        down = y / ZOOM**i + height / 2 + 8 + SPEED[1] * i
        grid = torch.stack([(2 * across + 1) / columns - 1, (2 * down + 1) / rows - 1], dim=-1)[None]
        frame = F.grid_sample(photo, grid, mode="bicubic", align_corners=False)
        yield frame.clamp(0, 1).mul(255).round().div(255)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=160)
    parser.add_argument("--frames", type=int, default=12)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--later-steps", type=int, default=30)
    parser.add_argument("--weight", type=float, default=1.0)
    parser.add_argument("--photo", default="coffee")
    parser.add_argument("--painting", default="immunohistochemistry")
    parser.add_argument("--output", type=Path, help="a new folder for both clips and a sheet of every third frame")
    args = parser.parse_args()

    width, height = args.size, args.size * 3 // 8 * 2
    photo = opsin.images.resize(picture(args.photo), int(1.5 * height))
    frames = list(pan(photo, height, width, args.frames))
    painting = picture(args.painting)
    settings = Settings(size=args.size, steps=args.steps, start=args.size // 4)
    network = opsin.VGG("vgg19", weights="bundled")
    painter = ClipPainter(frames[0], [painting], [1.0], settings, later_steps=args.later_steps, extractor=network)

    def alone() -> list[torch.Tensor]:
        return [painter.first(frame).mul(255).round().div(255) for frame in frames]

    def flowing() -> list[torch.Tensor]:
        with tempfile.TemporaryDirectory() as folder:
            store = FrameStore(Path(folder, "frames"), {})
            return [done.image for done in stylize_frames(frames, painter, store, temporal_weight=args.weight)]

    steps = f"{args.steps} and {args.later_steps} steps"
    print(f"{args.frames} frames of {width}x{height}, VGG-19, {steps}, λ {args.weight:g}")
    print(f"{'':12}{'flicker':>12}{'content':>12}{'style':>12}{'both':>12}{'s/frame':>10}")
    made = {}
    for name, make in (("by itself", alone), ("with flow", flowing)):
        began = time.perf_counter()
        made[name] = make()
        seconds = (time.perf_counter() - began) / len(frames)
        values = [painter.value(*pair) for pair in list(zip(frames, made[name], strict=True))[1:]]
        means = [sum(float(v.terms[term]) for v in values) / len(values) for term in ("content", "style")]
        moved = flicker(made[name], frames)
        print(f"{name:12}{moved:12.6f}{means[0]:12.4g}{means[1]:12.4g}{sum(means):12.4g}{seconds:10.2f}", flush=True)
    print(f"{'the clip':12}{flicker(frames, frames):12.6f}")
    if args.output:
        args.output.mkdir()
        rows = [torch.cat(row[::3][:4], dim=-1) for row in (frames, *made.values())]
        opsin.write_image(args.output / "sheet.png", torch.cat(rows, dim=-2))
        clip = Clip(Path(), width, height, Fraction(12), Fraction(1, 12), len(frames), Fraction(1), None)
        for name, images in {"clip": frames, **made}.items():
            write_clip(args.output / f"{name.replace(' ', '-')}.mp4", enumerate(images), clip)


if __name__ == "__main__":
    main()
