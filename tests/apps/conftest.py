"""Fixtures of the applications' tests."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

WaitFor = Callable[[Callable[[], bool], "subprocess.Popen[str]"], None]


@pytest.fixture(scope="session")
def wait_for() -> WaitFor:
    """Waits until something is so, while a program runs: two minutes at most."""

    def wait(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
        end = time.monotonic() + 120
        while not condition():
            assert process.poll() is None, process.stderr and process.stderr.read()
            assert time.monotonic() < end
            time.sleep(0.005)

    return wait


class Runs:
    """Runs of a folder's `program.py`, which is given where, in which way and what to train, and what they left."""

    def call(
        self, studio: Path, where: str, way: str, *names: str, processes: int = 1
    ) -> subprocess.CompletedProcess[str]:
        launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes))
        return subprocess.run(
            [sys.executable, *(launcher if processes > 1 else ()), "program.py", where, way, *names],
            cwd=studio,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )

    def succeed(self, studio: Path, where: str, way: str, *names: str, processes: int = 1) -> None:
        done = self.call(studio, where, way, *names, processes=processes)
        assert done.returncode == 0, done.stderr

    def rows(self, run: Path) -> list[dict[str, Any]]:
        """What was logged, but for the time it took."""
        lines = (run / "metrics.jsonl").read_text().splitlines()
        return [{k: v for k, v in json.loads(line).items() if k != "seconds"} for line in lines]

    def same(self, a: Path, b: Path, step: int) -> frozenset[str]:
        """Two runs are equal to the bit; the names of the tensors in their checkpoint of a step."""
        name = f"checkpoints/step-{step:08d}.safetensors"
        mine, theirs = load_file(a / name), load_file(b / name)
        assert mine.keys() == theirs.keys()
        assert all(torch.equal(tensor, theirs[key]) for key, tensor in mine.items())
        assert self.rows(a) == self.rows(b)
        assert (a / "model.safetensors").read_bytes() == (b / "model.safetensors").read_bytes()
        return frozenset(mine)

    def kill_and_resume(self, studio: Path, names: Iterable[str], step: int) -> dict[str, frozenset[str]]:
        """Each of `names` leaves the same, killed or not; see `same`."""
        names = list(names)
        self.succeed(studio, "whole", "run", *names)
        for name in names:
            killed = self.call(studio, "run", "die", name)
            assert killed.returncode == -signal.SIGKILL, killed.stderr
        self.succeed(studio, "run", "resume", *names)
        return {name: self.same(studio / f"whole-{name}", studio / f"run-{name}", step) for name in names}

    def in_two_processes(self, studio: Path, way: str, name: str) -> list[dict[str, Any]]:
        """What is logged by two processes that end with the same weights."""
        self.succeed(studio, "two", way, name, processes=2)
        sums = [(studio / f"sums-{rank}").read_text() for rank in range(2)]
        assert sums[0] == sums[1]
        return self.rows(studio / f"two-{name}")


@pytest.fixture(scope="session")
def runs() -> Runs:
    """See `Runs`."""
    return Runs()
