"""Pairs of images scored by LPIPS with AlexNet: opsin, the loop that its authors' program does, and the bare network.

200 pairs of 512×512 PNG files are cut from scikit-image's photos; what is judged has noise. The loop is that of the
authors' lpips_2dirs.py: load both images, convert them, pass the pair forward, one after another. opsin's side is what
`opsin score` does from the folders to the rows in its journal, the start of its reading processes included. Both have
the same weights, and their values must agree to 1e-5 before anything is timed. The bare network is opsin's AlexNet, up
to its last ReLU, on the same pixels, decoded before the clock starts; torchvision's is beside it.

    python benchmarks/score.py [--pairs 200] [--size 512] [--rounds 5] [--workers N] [--json out.json]
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measuring import rounds
from peers import load_trunk, trunk
from PIL import Image
from revision import revision
from safetensors.torch import save_file

import opsin
from opsin.report.environment import machine, versions
from opsin.scoring.local import default_batch
from opsin.scoring.pairing import pair_folders
from opsin.scoring.reading import Preparation
from opsin.scoring.run import local_engine, score_pairs
from opsin.scoring.scorer import Scorer

METHODS = ("a", "b", "c")
TAPS = [f"relu{i}" for i in range(1, 6)]
ONE, THREE, BARE = 1.3, 1.8, 1.15


def make_images(folder: Path, count: int, size: int) -> None:
    """References and what three methods made of them."""
    from skimage import data

    photos = [data.astronaut(), data.chelsea(), data.coffee(), data.rocket()]
    rng = np.random.default_rng(0)
    for name in ("ref", *METHODS):
        (folder / name).mkdir()
    for i in range(count):
        large = Image.fromarray(photos[i % len(photos)]).resize(
            (size * 5 // 4, size * 5 // 4), Image.Resampling.BICUBIC
        )
        left, top = (int(rng.integers(size // 4)) for _ in range(2))
        original = large.crop((left, top, left + size, top + size))
        original.save(folder / "ref" / f"{i:03d}.png")
        for k, name in enumerate(METHODS, start=1):
            noisy = np.asarray(original) + rng.normal(0, 4 * k, (size, size, 3))
            Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(folder / name / f"{i:03d}.png")


def peer_model() -> torch.nn.Module:
    import lpips

    model = lpips.LPIPS(net="alex", pnet_rand=True, verbose=False)
    load_trunk(model.net, "alexnet")
    return model


def peer(folder: Path, methods: Sequence[str], model: torch.nn.Module) -> list[float]:
    """The authors' loop."""
    import lpips

    found = []
    for method in methods:
        for path in sorted((folder / "ref").iterdir()):
            first = lpips.im2tensor(lpips.load_image(str(path)))
            second = lpips.im2tensor(lpips.load_image(str(folder / method / path.name)))
            found.append(float(model.forward(first, second)))
    return found


def ours(folder: Path, methods: Sequence[str], scorer: Scorer, workers: int | None) -> list[float]:
    pairing = pair_folders(str(folder / "ref"), {name: str(folder / name) for name in methods})
    with tempfile.TemporaryDirectory() as kept:
        engine = local_engine(scorer, Preparation(), workers=workers)
        scores = score_pairs(pairing, scorer, engine=engine, journal=Path(kept) / "scores.partial")
    return [float(v) for method in methods for v in scores.of(method, scorer.metrics[0].name)]


def bare(pixels: torch.Tensor, run: Callable[[torch.Tensor], Any]) -> None:
    """The network on all images, in batches of opsin's size."""
    many = default_batch(pixels.shape[1] * pixels.shape[2])
    with torch.inference_mode():
        for part in pixels.split(many):
            run(part.float().div_(255).permute(0, 3, 1, 2))


def read_all(folder: Path, methods: Sequence[str]) -> torch.Tensor:
    paths = [path for name in ("ref", *methods) for path in sorted((folder / name).iterdir())]
    return torch.stack([torch.from_numpy(np.array(Image.open(path))) for path in paths])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--pairs", type=int, default=200)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--workers", type=int, help="processes that read, by default opsin's own")
    parser.add_argument("--json", type=Path, help="write what was measured to this file")
    args = parser.parse_args()
    now = revision()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        make_images(folder, args.pairs, args.size)
        weights = folder / "alexnet.safetensors"
        save_file(trunk("alexnet"), weights)
        loss = folder / "lpips.yaml"
        opsin.published.lpips("alex", weights=weights).to_yaml(loss)
        scorer = Scorer([str(loss)])
        model = peer_model()
        network = opsin.AlexNet(weights)
        from torchvision.models import alexnet

        theirs = alexnet(weights=None).features[:12].eval()
        expected, got = peer(folder, METHODS, model), ours(folder, METHODS, scorer, args.workers)
        torch.testing.assert_close(torch.tensor(got), torch.tensor(expected), rtol=1e-5, atol=1e-7)
        one, three = read_all(folder, METHODS[:1]), read_all(folder, METHODS)
        contestants: dict[str, Callable[[], Any]] = {
            "one folder: opsin": lambda: ours(folder, METHODS[:1], scorer, args.workers),
            "one folder: lpips' loop": lambda: peer(folder, METHODS[:1], model),
            "one folder: bare network": lambda: bare(one, lambda x: network(x, TAPS)),
            "one folder: torchvision's network": lambda: bare(one, theirs),
            "three folders: opsin": lambda: ours(folder, METHODS, scorer, args.workers),
            "three folders: lpips' loop": lambda: peer(folder, METHODS, model),
            "three folders: bare network": lambda: bare(three, lambda x: network(x, TAPS)),
            "three folders: torchvision's network": lambda: bare(three, theirs),
        }
        seconds: dict[str, list[float]] = {name: [] for name in contestants}
        for name in rounds(list(contestants), args.rounds):
            began = time.perf_counter()
            contestants[name]()
            seconds[name].append(time.perf_counter() - began)

    def ratio(a: str, *b: str) -> float:
        """The median over the rounds of how many times as long the one takes as the fastest of others."""
        return statistics.median(x / min(y) for x, *y in zip(seconds[a], *(seconds[name] for name in b), strict=True))

    print(f"{args.pairs} pairs of {args.size}x{args.size}, {args.rounds} rounds, {now}\n{machine()}")
    for name, values in seconds.items():
        pairs = args.pairs * (3 if name.startswith("three") else 1)
        middle = statistics.median(values)
        line = f"{min(values):8.2f} {middle:8.2f} {max(values):8.2f} s  {pairs / middle:7.1f} pairs/s"
        print(f"{name:36}{line}")
    verdicts = []
    for what, asked in (("one folder", ONE), ("three folders", THREE)):
        value = ratio(f"{what}: lpips' loop", f"{what}: opsin")
        verdicts.append((f"{what}: pairs/s of the loop's", value, asked, value >= asked))
        value = ratio(f"{what}: opsin", f"{what}: bare network", f"{what}: torchvision's network")
        verdicts.append((f"{what}: time of the bare network's, opsin's or torchvision's", value, BARE, value <= BARE))
    for what, value, asked, reached in verdicts:
        print(f"{'ok    ' if reached else 'MISSED'}  {what}: {value:.2f}, asked {asked}")
    if args.json is not None:
        content = {
            "command": " ".join(["python", "benchmarks/score.py", *sys.argv[1:]]),
            "machine": asdict(machine()),
            "revision": str(now),
            "versions": versions("torch", "lpips", "pillow", "opencv-python-headless"),
            "seconds": seconds,
            "verdicts": [{"what": w, "measured": v, "asked": a, "reached": r} for w, v, a, r in verdicts],
        }
        args.json.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    sys.exit(not all(reached for *_, reached in verdicts))


if __name__ == "__main__":
    main()
