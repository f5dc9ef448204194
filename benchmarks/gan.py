"""A projected discriminator beside an ordinary one: the same generator, the same number of images seen.

Colour emoji of Google's Noto font, drawn here at 64 pixels, are learned at 32 by `opsin.training`, as `opsin train gan`
does it: `projected` through EfficientNet-Lite0 at 64 pixels, with the features' moments matched, `baseline` on the
images themselves, all else equal but the betas of Adam. At each measured step the averaged generator makes as many
images as there are emoji; their kernel distance from the emoji is that of VGG-19's features, which neither was trained
on.

    apt install fonts-noto-color-emoji
    python benchmarks/gan.py [--seeds 3] [--steps 1200] [--work FOLDER] [--json out.json] [--pictures FOLDER]

What must hold: `projected` ends at a lower kernel distance than `baseline` with each seed, and no run takes more than
20 minutes on two cores. With --work a run that was broken off goes on from its last checkpoint.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from curves import curves
from emoji import FONT, draw_emoji
from revision import revision
from torch import Tensor

from opsin.gan.evaluation import Evaluator, Quality
from opsin.gan.recipe import GanRecipe
from opsin.gan.sampling import grid, images_of
from opsin.gan.settings import GanSettings
from opsin.images import read_image
from opsin.report.drawing import ACCENT
from opsin.report.environment import machine, versions
from opsin.report.sheet import contact_sheet
from opsin.training import Progress, RunFolder, train
from opsin.training.data import resized

DRAWN, SIZE, BATCH = 64, 32, 64
RECIPES = {
    "baseline": {"network": "none"},
    "projected": {"network": "efficientnet_lite0", "matching": "moments", "matching_weight": 30.0},
}
MINUTES = 20
POINTS = 5


class Run(NamedTuple):
    """What a run reached: at each measured step the number of images seen and what was found, and its minutes."""

    recipe: str
    seed: int
    curve: list[tuple[int, Quality]]
    minutes: float


def learn(data: Path, work: Path, recipe: str, seed: int, steps: int) -> tuple[RunFolder, float]:
    """Train, or go on; the run and its minutes, those before a break too."""
    folder = RunFolder(work / f"{recipe}-{seed}")
    every = max(1, steps // POINTS)
    given = {
        **RECIPES[recipe],
        **{"data": data, "output": folder.path, "recipe": recipe, "seed": seed, "steps": steps, "size": SIZE},
        **{"batch": BATCH, "lr": 3e-4, "schedule": "cosine", "ema": 0.995, "augment": "translation"},
        **{"mirror": False, "device": "cpu", "workers": 1},
        **{"sample_every": every, "checkpoint_every": every, "keep": POINTS + 1},
    }
    resume = folder.config.is_file()
    done = folder.steps()[-1] if folder.steps() else 0
    clock = folder.path / "minutes"
    before = float(clock.read_text()) if clock.is_file() else 0.0
    began = time.perf_counter()

    def minutes() -> float:
        return before + (time.perf_counter() - began) / 60

    def watch(progress: Progress) -> None:
        if progress.step % every == 0:
            (folder.path / f"model-{progress.step:08d}.safetensors").write_bytes(folder.model.read_bytes())
            clock.write_text(str(minutes()))

    if done < steps:
        settings = GanSettings.collect(given)
        train(GanRecipe(settings), settings, resume=resume, callback=watch)
    return folder, minutes() if done < steps else before


def judge(folder: RunFolder, evaluator: Evaluator, real: Tensor) -> list[tuple[int, Quality]]:
    """What each kept model is worth, by the number of images that it has seen; found once and kept beside it."""
    curve = []
    for path in sorted(folder.path.glob("model-*.safetensors")):
        kept = path.with_suffix(".json")
        found = json.loads(kept.read_text()) if kept.is_file() else {}
        if found.get("signature") != evaluator.signature:
            quality = evaluator.compare(evaluator.vectors(images_of(path, len(real), seed=1)), real)
            found = {"signature": evaluator.signature, "quality": quality.as_dict()}
            kept.write_text(json.dumps(found))
        curve.append((BATCH * int(path.stem.partition("-")[2]), Quality(**found["quality"])))
    return curve


def verdicts(runs: Sequence[Run]) -> list[tuple[str, bool]]:
    """What must hold, and whether it does."""
    ends = {(run.recipe, run.seed): run.curve[-1][1].kernel for run in runs}
    found = []
    for seed in sorted({run.seed for run in runs}):
        projected, baseline = ends["projected", seed], ends["baseline", seed]
        line = f"seed {seed}: kernel distance {projected:.0f} with projected, {baseline:.0f} with baseline"
        found.append((line, projected < baseline))
    longest = max(run.minutes for run in runs)
    found.append((f"{longest:.1f} minutes the longest run, asked at most {MINUTES}", longest <= MINUTES))
    return found


def show(runs: Sequence[Run]) -> None:
    """The curves, means over the seeds."""
    print(f"\nkernel distance x 1000, means over seeds\n{'images seen':>12}", *(f"{name:>12}" for name in RECIPES))
    for i, (seen, _) in enumerate(runs[0].curve):
        means = [statistics.mean(run.curve[i][1].kernel for run in runs if run.recipe == name) for name in RECIPES]
        print(f"{seen:>12}", *(f"{value:>12.0f}" for value in means))
    for name in RECIPES:
        minutes = [f"{run.minutes:.1f}" for run in runs if run.recipe == name]
        print(f"{name}: minutes {', '.join(minutes)}")


def draw(folder: Path, runs: Sequence[Run], squares: Tensor, work: Path, note: str) -> None:
    """The learning curves, and real images beside those of both recipes' last models of the first seed."""
    folder.mkdir(parents=True, exist_ok=True)
    colours = {"baseline": (104, 114, 134), "projected": ACCENT}
    lines = {
        name: (colours[name], [[quality.kernel for _, quality in run.curve] for run in runs if run.recipe == name])
        for name in RECIPES
    }
    curves(
        f"How near generated images are to {len(squares)} emoji",
        [seen for seen, _ in runs[0].curve],
        lines,
        across="images seen",
        upwards="1000 times the kernel distance; less is nearer",
        notes=[note],
    ).save(folder / "gan-curves.png", optimize=True)
    chosen = random.Random(0).sample(range(len(squares)), min(64, len(squares)))
    cells = [("emoji", grid(squares[chosen]))]
    for name in RECIPES:
        path = sorted(RunFolder(work / f"{name}-{runs[0].seed}").samples.glob("*.png"))[-1]
        seen = f"{runs[0].curve[-1][0]:,}".replace(",", " ")
        cells.append((f"{name}, {seen} images seen", read_image(path)))
    title = "Emoji, and what the two generators make of noise"
    sheet = contact_sheet(title, cells, columns=3, width=2 * cells[0][1].shape[-1], notes=[note])
    sheet.convert("RGB").save(folder / "gan-samples.jpg", quality=90)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=1200)
    parser.add_argument("--font", type=Path, default=FONT)
    parser.add_argument("--work", type=Path, help="keep runs here, and go on with those that are there")
    parser.add_argument("--json", type=Path, help="write what was measured to this file")
    parser.add_argument("--pictures", type=Path, help="write curves and samples to this folder")
    args = parser.parse_args()
    now = revision()
    with tempfile.TemporaryDirectory() as temporary:
        work = args.work or Path(temporary)
        work.mkdir(parents=True, exist_ok=True)
        data = work / "emoji"
        paths = draw_emoji(data, args.font, DRAWN)
        print(f"{len(paths)} emoji", flush=True)
        evaluator = Evaluator("vgg19", "bundled", "relu5_1", size=64)
        squares = torch.stack([resized(read_image(path)[0], SIZE) for path in paths])
        real = evaluator.vectors([squares])
        runs = []
        for seed in range(args.seeds):
            for recipe in RECIPES:
                folder, minutes = learn(data, work, recipe, seed, args.steps)
                runs.append(Run(recipe, seed, judge(folder, evaluator, real), minutes))
                end = runs[-1].curve[-1][1]
                line = f"kernel {end.kernel:.0f} ± {end.kernel_error:.0f}, frechet {end.frechet:.1f}"
                print(f"seed {seed}  {recipe:<10} {minutes:.1f} min  {line}", flush=True)
        if args.pictures is not None:
            note = f"{args.seeds} seeds, {args.steps} steps of {BATCH} images of {SIZE} pixels. {evaluator.label}."
            draw(args.pictures, runs, squares, work, f"{note} Measured at {now} on {machine().cpu}.")
    show(runs)
    print()
    found = verdicts(runs)
    for line, holds in found:
        print(f"{'ok    ' if holds else 'MISSED'}  {line}")
    if args.json is not None:
        content = {
            "command": " ".join(["python", "benchmarks/gan.py", *sys.argv[1:]]),
            "machine": str(machine()),
            "revision": str(now),
            "versions": versions("torch"),
            "emoji": len(paths),
            "signature": evaluator.signature,
            "runs": [
                {
                    "recipe": run.recipe,
                    "seed": run.seed,
                    "minutes": run.minutes,
                    "curve": [{"images": seen, **quality.as_dict()} for seen, quality in run.curve],
                }
                for run in runs
            ],
            "verdicts": [{"what": line, "holds": holds} for line, holds in found],
        }
        args.json.write_text(json.dumps(content, indent=1, default=str) + "\n", encoding="utf-8")
    sys.exit(not all(holds for _, holds in found))


if __name__ == "__main__":
    main()
