"""`opsin train` as programs of their own: killed, interrupted, and in two processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

pytestmark = [pytest.mark.apps, pytest.mark.skipif(os.name != "posix", reason="signals as POSIX has them")]
pytest.importorskip("accelerate", reason="extra 'train'")

STEPS = 24
OPTIONS = (
    *("--net", "vgg16", "--weights", "random", "--width", "4", "--blocks", "2", "--crop", "32", "--style-size", "32"),
    # Features of random weights are small.
    *("--content-weight", "1e4", "--style-weight", "1e8", "--tv", "0.1"),
    *("--steps", str(STEPS), "--checkpoint-every", "5", "--sample-every", "10", "--device", "cpu"),
)


@pytest.fixture
def studio(tmp_path: Path) -> Path:
    """A folder with a painting and some photos."""
    rng = np.random.default_rng(0)
    (tmp_path / "photos").mkdir()
    for i in range(5):
        pixels = rng.integers(0, 256, (5 + i, 7, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((64, 48)).save(tmp_path / "photos" / f"{i}.png")
    Image.fromarray(rng.integers(0, 256, (40, 40, 3), dtype=np.uint8)).save(tmp_path / "painting.png")
    return tmp_path


def command(run: str, *options: str, launcher: tuple[str, ...] = ("-m", "opsin")) -> list[str]:
    places = ("--style", "painting.png", "--data", "photos", "-o", run)
    return [sys.executable, *launcher, "train", "style", *places, *OPTIONS, *options]


def environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}


def finish(studio: Path, words: list[str]) -> None:
    done = subprocess.run(
        words, cwd=studio, env=environment(), capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == 0, done.stderr


def start(studio: Path, words: list[str]) -> subprocess.Popen[str]:
    # A shell's background jobs ignore the signal, and what they start inherits that.
    attentive = (
        "import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL); os.execv(sys.argv[1], sys.argv[1:])"
    )
    return subprocess.Popen(
        [sys.executable, "-c", attentive, *words],
        cwd=studio,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def rows(run: Path) -> list[dict[str, Any]]:
    lines = (run / "metrics.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if k != "seconds"} for line in lines]


def lines_of(run: Path) -> int:
    path = run / "metrics.jsonl"
    return path.read_text().count("\n") if path.exists() else 0


def assert_same(a: Path, b: Path) -> None:
    name = f"checkpoints/step-{STEPS:08d}.safetensors"
    mine, theirs = load_file(a / name), load_file(b / name)
    assert mine.keys() == theirs.keys()
    for key, tensor in mine.items():
        torch.testing.assert_close(tensor, theirs[key], rtol=0, atol=0)
    assert rows(a) == rows(b)
    assert (a / "model.safetensors").read_bytes() == (b / "model.safetensors").read_bytes()


def test_killed_and_resumed(studio: Path, wait_for: Callable[..., None]) -> None:
    """Twice, at steps between two checkpoints; with workers, which must not outlive their process."""
    finish(studio, command("whole", "--workers", "1"))
    resume: tuple[str, ...] = ()
    for least in (8, 17):
        with start(studio, command("run", "--workers", "1", *resume)) as process:
            wait_for(lambda least=least: lines_of(studio / "run") >= least, process)
            os.killpg(process.pid, signal.SIGKILL)
        resume = ("--resume",)
    assert lines_of(studio / "run") < STEPS
    finish(studio, command("run", "--workers", "1", "--resume"))
    assert_same(studio / "run", studio / "whole")
    assert not list((studio / "run").rglob(".*"))


def test_interrupted_and_resumed(studio: Path, wait_for: Callable[..., None]) -> None:
    """Ctrl-C goes to the workers too, as from a terminal."""
    with start(studio, command("run", "--workers", "1")) as process:
        wait_for(lambda: lines_of(studio / "run") >= 7, process)
        os.killpg(process.pid, signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err == "opsin: interrupted\n"
    done = lines_of(studio / "run")
    assert (studio / "run" / "checkpoints" / f"step-{done:08d}.safetensors").is_file()
    assert (studio / "run" / "model.safetensors").is_file()
    finish(studio, command("run", "--resume"))
    finish(studio, command("whole"))
    assert_same(studio / "run", studio / "whole")


class TestTwoProcesses:
    """By gloo, each with half of every batch.

    In float64: sums are rounded otherwise in two processes, and Adam, which divides a gradient that is nothing but
    rounding by its own size, makes another curve of that within ten steps of float32.
    """

    PROGRAM = """if True:
        import sys
        from pathlib import Path
        import torch
        from opsin.stylize.feedforward import StyleRecipe, StyleSettings
        from opsin.training import train
        from opsin.training.processes import Processes

        class Recipe(StyleRecipe):
            def __init__(self, settings):
                super().__init__(settings)
                self.networks[self.product].double()
                self.loss.double()
                self.targets = self.targets.to(torch.float64)

            def step(self, images, update):
                return super().step((images[0].double(),), update)

            def sample(self, network, images):
                return super().sample(network, (images[0].double(),))

        run, steps, *words = sys.argv[1:]
        if "alone" in words:
            Processes.wrap = lambda self, network: network.to(self.device)
        weights = dict(content_weight=2e4, style_weight=1e9, tv=0.2, net="vgg16", weights="random")
        sizes = dict(width=4, blocks=2, crop=32, style_size=32, steps=int(steps), checkpoint_every=6, sample_every=6)
        places = dict(data=Path("photos"), output=Path(run), style=Path("painting.png"), device="cpu")
        settings = StyleSettings(**weights, **sizes, **places, workers=0)
        train(Recipe(settings), settings, resume="resume" in words)
        """

    @staticmethod
    def call(studio: Path, run: str, steps: int, *words: str, processes: int = 1) -> list[float]:
        (studio / "program.py").write_text(TestTwoProcesses.PROGRAM)
        launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes))
        finish(studio, [sys.executable, *(launcher if processes > 1 else ()), "program.py", run, str(steps), *words])
        return [row["loss"] for row in rows(studio / run)]

    def test_the_curve_is_that_of_one(self, studio: Path) -> None:
        one = self.call(studio, "one", 18)
        assert self.call(studio, "two", 18, processes=2) == pytest.approx(one, rel=1e-5)
        assert one[-1] < 0.8 * one[0]
        # If each learned from its own half, it would show.
        assert self.call(studio, "apart", 18, "alone", processes=2) != pytest.approx(one, rel=1e-2)
        networks = [load_file(studio / name / "model.safetensors") for name in ("one", "two")]
        for key, tensor in networks[0].items():
            torch.testing.assert_close(networks[1][key], tensor, rtol=1e-4, atol=1e-6)
        # What two began, one ends: the position in the data is that of the run, not of a process.
        self.call(studio, "both", 6, processes=2)
        assert self.call(studio, "both", 18, "resume") == pytest.approx(one, rel=1e-5)

    def test_the_command(self, studio: Path) -> None:
        """One of them writes and speaks."""
        launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "opsin")
        words = command("run", "--steps", "3", launcher=launcher)
        done = subprocess.run(words, cwd=studio, env=environment(), capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("wrote run/model.safetensors") == 1
        assert [row["step"] for row in rows(studio / "run")] == [1, 2, 3]


def test_nan_and_a_folder_that_is_there(studio: Path) -> None:
    """A learning rate that throws the weights out of float32."""
    words = command("run", "--lr", "1e30", "--ema", "0")
    done = subprocess.run(words, cwd=studio, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("opsin: the stylizer's loss must be a finite number, got nan at step ")
    assert len(done.stderr.splitlines()) == 1
    done = subprocess.run(words, cwd=studio, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "the run's folder must be new or empty" in done.stderr
