"""Outlines of emoji, coloured: what both recipes of `opsin train translate` learn of the same pairs.

Emoji of Google's Noto font at 64 pixels are what is wanted, and their outlines what is given. 3 in 100 pairs are held
out; on those, which no network has seen, stand the numbers and the picture: the mean difference of pixels, and
ST-LPIPS, which nothing was trained on.

    apt install fonts-noto-color-emoji
    python benchmarks/translate.py [--steps 2000] [--work FOLDER] [--json out.json] [--pictures FOLDER]

With --work a run that was broken off goes on from its last checkpoint. Nothing must hold: it shows what to expect.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from emoji import FONT, draw_emoji
from PIL import Image
from revision import revision
from torch import Tensor

from opsin.gan.translation.recipe import TranslateRecipe
from opsin.gan.translation.settings import RECIPES, TranslateSettings
from opsin.images import read_image
from opsin.networks import load_network
from opsin.published.listing import make_loss
from opsin.report.environment import machine, versions
from opsin.report.sheet import contact_sheet
from opsin.training import RunFolder, train

SIDE, BATCH, HELD_OUT, SHOWN = 64, 4, 0.03, 12
UNSEEN = "st-lpips-alex"


class Result(NamedTuple):
    """What a recipe reached on the pairs that are held out: means, its images, and the seconds a step took."""

    recipe: str
    pixels: float
    distance: float
    images: Tensor
    seconds: float


def outline(picture: Image.Image) -> Image.Image:
    """Dark where colours change: the largest gradient of the three channels."""
    x = np.asarray(picture, np.float32) / 255
    down, right = np.zeros_like(x), np.zeros_like(x)
    down[1:-1], right[:, 1:-1] = x[2:] - x[:-2], x[:, 2:] - x[:, :-2]
    steep = np.sqrt(down**2 + right**2).max(-1)
    return Image.fromarray((255 * (1 - np.clip(1.6 * (steep - 0.15), 0, 1))).astype(np.uint8)).convert("RGB")


def draw_pairs(folder: Path, font: Path) -> int:
    """Draw emoji and their outlines; how many."""
    paths = draw_emoji(folder / "target", font, SIDE)
    (folder / "input").mkdir(exist_ok=True)
    for path in paths:
        with Image.open(path) as picture:
            outline(picture).save(folder / "input" / path.name)
    return len(paths)


def learn(data: Path, work: Path, recipe: str, steps: int) -> tuple[RunFolder, TranslateRecipe]:
    """Train, or go on."""
    folder = RunFolder(work / recipe)
    every = max(1, steps // 10)
    settings = TranslateSettings.collect(
        {
            **{"data": data, "output": folder.path, "recipe": recipe, "steps": steps, "crop": SIDE, "batch": BATCH},
            **{"val_fraction": HELD_OUT, "val_every": every, "sample_every": every, "checkpoint_every": every},
            **{"device": "cpu", "workers": 1},
        }
    )
    learned = TranslateRecipe(settings)
    if not folder.steps() or folder.steps()[-1] < steps:
        began = time.perf_counter()
        train(learned, settings, resume=folder.config.is_file())
        print(f"{recipe:<10} {(time.perf_counter() - began) / 60:.1f} minutes", flush=True)
    return folder, learned


@torch.inference_mode()
def judge(folder: RunFolder, recipe: str, given: Tensor, wanted: Tensor) -> Result:
    """The last model on the pairs that are held out."""
    network, _ = load_network(folder.model, "pix2pixhd")
    made = network(given).clamp(0, 1)
    distance = make_loss(UNSEEN).evaluate(made, target=wanted).total.mean()
    lines = folder.metrics.read_text(encoding="utf-8").splitlines()
    seconds = statistics.median(json.loads(line)["seconds"] for line in lines)
    return Result(recipe, float((made - wanted).abs().mean()), float(distance), made, seconds)


def draw(path: Path, results: Sequence[Result], given: Tensor, wanted: Tensor, note: str) -> None:
    """Rows: what is given, what each recipe makes of it, and what was wanted."""
    rows = [("given", given), *((r.recipe, r.images) for r in results), ("wanted", wanted)]
    places = torch.linspace(0, len(given) - 1, min(SHOWN, len(given))).round().long().tolist()
    cells = [(name if i == 0 else " ", images[place]) for name, images in rows for i, place in enumerate(places)]
    title = "Outlines of emoji, and what two recipes make of them"
    sheet = contact_sheet(title, cells, columns=len(places), width=2 * SIDE, notes=[note])
    sheet.convert("RGB").save(path, quality=90)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--font", type=Path, default=FONT)
    parser.add_argument("--work", type=Path, help="keep runs here, and go on with those that are there")
    parser.add_argument("--json", type=Path, help="write what was measured to this file")
    parser.add_argument("--pictures", type=Path, help="write a picture of held-out pairs to this folder")
    args = parser.parse_args()
    now = revision()
    with tempfile.TemporaryDirectory() as temporary:
        work = args.work or Path(temporary)
        count = draw_pairs(work / "pairs", args.font)
        print(f"{count} pairs", flush=True)
        results = []
        for name in RECIPES:
            folder, recipe = learn(work / "pairs", work, name, args.steps)
            data = recipe.folder(recipe.settings)
            pairs = [data.middle(read_image(path)[0], path) for path in data.held_out_paths]
            given, wanted = (torch.stack(side) for side in zip(*pairs, strict=True))
            results.append(judge(folder, name, given, wanted))
        unchanged = float((given - wanted).abs().mean())
        print(f"{len(pairs)} held out; the outlines themselves differ by {unchanged:.4f}")
        for r in results:
            print(f"{r.recipe:<10} pixels {r.pixels:.4f}  {UNSEEN} {r.distance:.4f}  {r.seconds:.2f} s/step")
        if args.pictures is not None:
            args.pictures.mkdir(parents=True, exist_ok=True)
            note = f"Held out from training. {args.steps} steps of {BATCH} pairs of {SIDE} pixels; {count} pairs."
            draw(args.pictures / "translate.jpg", results, given, wanted, f"{note} Made at {now} on {machine().cpu}.")
    if args.json is not None:
        content = {
            "command": " ".join(["python", "benchmarks/translate.py", *sys.argv[1:]]),
            "machine": str(machine()),
            "revision": str(now),
            "versions": versions("torch"),
            "pairs": count,
            "held_out": len(pairs),
            "recipes": {
                r.recipe: {"pixels": r.pixels, UNSEEN: r.distance, "seconds a step": r.seconds} for r in results
            },
        }
        args.json.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
