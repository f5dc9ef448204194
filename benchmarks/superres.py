"""What the perceptual and the adversarial loss buy in super-resolution, and what they cost: trained here, from scratch.

One small network, Real-ESRGAN's compact one with 32 channels and 8 layers (89 thousand parameters, x4), learns from
patches of the sample photos of scikit-image and scikit-learn: first `psnr` from random weights, then `perceptual` and
`esrgan`, each from what `psnr` left. Four photos are held out. All of it by `opsin.training`, as `opsin train sr` does
it, with three seeds. Judged on the held-out photos: PSNR on Y, and distances that nothing was trained on: ST-LPIPS,
whose weights come with a package, and LPIPS-alex where its weights are at hand. Differences are paired: the same photo
and seed.

    python benchmarks/superres.py [--seeds 3] [--steps 1500] [--tune 150] [--json out.json] [--pictures FOLDER]

What must hold: the pixel model beats the bicubic filter by 0.5 dB; the other two beat the pixel model in those
distances and lose PSNR; and all of it takes less than 25 minutes on two cores.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from revision import revision

from opsin.images import read_image, save_pil
from opsin.networks import load_upscaler
from opsin.published.listing import why_not_at_hand
from opsin.report.environment import machine, versions
from opsin.report.sheet import contact_sheet
from opsin.superres.evaluation import Evaluation, Evaluator
from opsin.superres.recipe import SrRecipe
from opsin.superres.settings import SrSettings
from opsin.training import train

HELD_OUT = ("astronaut.png", "chelsea.png", "china.jpg", "rocket.jpg")
TRAINED_ON = (
    *("coffee.png", "motorcycle_left.png", "motorcycle_right.png", "brick.png", "grass.png", "gravel.png"),
    *("camera.png", "ihc.png", "retina.jpg", "hubble_deep_field.jpg", "coins.png", "flower.jpg"),
)
UNSEEN = ("st-lpips-alex", "lpips-alex")
MINUTES, GAIN = 25, 0.5
# Crops that docs/super-resolution.md shows: photo, top, left.
CROPS = (("astronaut.png", 60, 170), ("chelsea.png", 80, 130), ("china.jpg", 170, 250))
SIDE = 128


def photo(name: str) -> Path:
    """A sample photo of one of the packages."""
    for package, folder in (("skimage", "data"), ("sklearn", "datasets/images")):
        spec = importlib.util.find_spec(package)
        if spec is None or not spec.submodule_search_locations:
            sys.exit(f"needs scikit-image and scikit-learn: pip install {package.replace('sk', 'scikit-')}")
        path = Path(next(iter(spec.submodule_search_locations)), folder, name)
        if path.is_file():
            return path
    sys.exit(f"no photo {name} in scikit-image or scikit-learn")


def learn(folder: Path, data: Path, seed: int, steps: int, tune: int) -> dict[str, tuple[Path, float]]:
    """Train the three models of a seed; the file of each, and the seconds it took."""
    common = {"data": data, "device": "cpu", "seed": seed, "sample_every": 0, "checkpoint_every": 10**6, "ema": 0.99}
    first = {
        **common,
        **{"recipe": "psnr", "network": "compact", "width": 32, "blocks": 8, "steps": steps},
        **{"crop": 96, "batch": 8, "lr": 2e-3, "schedule": "cosine"},
    }
    later = {**common, "steps": tune, "crop": 64, "batch": 8, "lr": 5e-4}
    found = {"psnr": run({**first, "output": folder / f"psnr-{seed}"})}
    for recipe in ("perceptual", "esrgan"):
        options = {**later, "recipe": recipe, "init": found["psnr"][0], "output": folder / f"{recipe}-{seed}"}
        if recipe == "esrgan":
            options["discriminator_width"] = 32
        found[recipe] = run(options)
    return found


def run(options: Mapping[str, Any]) -> tuple[Path, float]:
    settings = SrSettings.collect(options)
    # Maps of the small network alone are so small that threads would wait for each other; a process reads beside it.
    torch.set_num_threads(1 if settings.recipe == "psnr" else os.cpu_count() or 1)
    began = time.perf_counter()
    model = train(SrRecipe(settings), settings).model
    seconds = time.perf_counter() - began
    print(f"seed {settings.seed}  {settings.recipe:<10}  {settings.steps} steps  {seconds:.0f} s", flush=True)
    return model, seconds


def judge(models: Mapping[str, Path]) -> Evaluation:
    """The models and the filters on the photos that are held out."""
    losses = [name for name in UNSEEN if why_not_at_hand(name) is None]
    evaluator = Evaluator({name: load_upscaler(path).network for name, path in models.items()}, 4, losses=losses)
    rows = [row for name in HELD_OUT for row in evaluator.measure(name, read_image(photo(name)))]
    return Evaluation(tuple(rows), evaluator.signature)


def paired(evaluations: Sequence[Evaluation], model: str, other: str, metric: str) -> list[float]:
    """`model` minus `other`, for each seed and photo."""
    differences = []
    for evaluation in evaluations:
        found = {(row.image, row.model): row.values[metric] for row in evaluation.rows}
        differences += [found[name, model] - found[name, other] for name in HELD_OUT]
    return differences


def verdicts(evaluations: Sequence[Evaluation], minutes: float) -> list[tuple[str, bool]]:
    """What must hold, and whether it does."""
    metrics = [name for name in UNSEEN if name in evaluations[0].metrics]
    gain = statistics.mean(paired(evaluations, "psnr", "bicubic", "psnr"))
    found = [
        (f"psnr beats bicubic by {gain:+.2f} dB, asked {GAIN}", gain >= GAIN),
        (f"{minutes:.1f} minutes, asked less than {MINUTES}", minutes < MINUTES),
        ("ST-LPIPS is among the distances", "st-lpips-alex" in metrics),
    ]
    for model in ("perceptual", "esrgan"):
        lost = paired(evaluations, model, "psnr", "psnr")
        found.append((f"{model} loses {text(lost)} dB of PSNR to psnr", statistics.mean(lost) < 0))
        for metric in metrics:
            better = paired(evaluations, model, "psnr", metric)
            won = sum(value < 0 for value in better)
            found.append(
                (
                    f"{model} differs by {text(better)} in {metric} from psnr, better in {won} of {len(better)}",
                    statistics.mean(better) < 0,
                )
            )
    return found


def text(values: Sequence[float]) -> str:
    """Mean and standard error."""
    error = statistics.stdev(values) / len(values) ** 0.5 if len(values) > 1 else 0.0
    return f"{statistics.mean(values):+.3f} ± {error:.3f}"


def show(evaluations: Sequence[Evaluation]) -> None:
    metrics = evaluations[0].metrics
    print("\n" + " ".join([f"{'':<12}", *(f"{name:>14}" for name in metrics)]))
    means = [evaluation.means() for evaluation in evaluations]
    for model in means[0]:
        values = (statistics.mean(mean[model][metric] for mean in means) for metric in metrics)
        print(" ".join([f"{model:<12}", *(f"{value:>14.4f}" for value in values)]))


def draw(models: Mapping[str, Path], folder: Path) -> None:
    """Crops of the held-out photos by every model, side by side."""
    evaluator = Evaluator({name: load_upscaler(path).network for name, path in models.items()}, 4, losses=[])
    pictures = []
    for name, top, left in CROPS:
        image = read_image(photo(name))
        made = {"photo": evaluator.cut(image), **evaluator.enlarged(image)}
        for caption in ("photo", "bicubic", "psnr", "perceptual", "esrgan"):
            crop = made[caption][..., top : top + SIDE, left : left + SIDE]
            larger = torch.nn.functional.interpolate(crop, scale_factor=2, mode="nearest")
            pictures.append((caption if caption != "photo" else name.partition(".")[0], larger))
    sheet = contact_sheet("Four times larger", pictures, columns=5, width=2 * SIDE)
    folder.mkdir(parents=True, exist_ok=True)
    save_pil(folder / "superres-crops.png", sheet, overwrite=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=1500, help="on pixels")
    parser.add_argument("--tune", type=int, default=150, help="of the two others")
    parser.add_argument("--json", type=Path, help="write what was measured to this file")
    parser.add_argument("--pictures", type=Path, help="write crops of the first seed to this folder")
    parser.add_argument("--models", type=Path, help="keep the models here")
    args = parser.parse_args()
    now = revision()
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as temporary:
        data = Path(temporary, "photos")
        data.mkdir()
        for name in TRAINED_ON:
            (data / name).symlink_to(photo(name))
        folder = args.models or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        trained = [learn(folder, data, seed, args.steps, args.tune) for seed in range(args.seeds)]
        files = [{name: file for name, (file, _) in models.items()} for models in trained]
        evaluations = [judge(models) for models in files]
        minutes = (time.perf_counter() - began) / 60
        if args.pictures is not None:
            draw(files[0], args.pictures)
    show(evaluations)
    print()
    found = verdicts(evaluations, minutes)
    for line, holds in found:
        print(f"{'ok    ' if holds else 'MISSED'}  {line}")
    if args.json is not None:
        content = {
            "command": " ".join(["python", "benchmarks/superres.py", *sys.argv[1:]]),
            "machine": str(machine()),
            "revision": str(now),
            "versions": versions("torch", "spandrel", "torchmetrics"),
            "minutes": minutes,
            "seconds": [{name: seconds for name, (_, seconds) in models.items()} for models in trained],
            "rows": [
                {"seed": seed, "image": row.image, "model": row.model, **row.values}
                for seed, evaluation in enumerate(evaluations)
                for row in evaluation.rows
            ],
            "signature": dict(evaluations[0].signature),
            "verdicts": [{"what": line, "holds": holds} for line, holds in found],
        }
        args.json.write_text(json.dumps(content, indent=1, default=str) + "\n", encoding="utf-8")
    sys.exit(not all(holds for _, holds in found))


if __name__ == "__main__":
    main()
