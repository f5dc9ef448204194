"""The command line, run as a process of its own or, many times as fast, inside of this one."""

from __future__ import annotations

import importlib.util
import os
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from opsin.cli.main import run

COMMAND = Path(sys.executable).with_name("opsin")
COLOUR_SWITCHES = ("NO_COLOR", "FORCE_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "TTY_COMPATIBLE", "TTY_INTERACTIVE")


@dataclass(frozen=True)
class Outcome:
    """What a run of `opsin` left."""

    code: int
    out: str
    err: str

    def refuses(self, *fragments: str, code: int = 2) -> None:
        """Check that the run ended in one line that says why, and nothing else."""
        assert self.code == code, self
        assert self.out == ""
        assert self.err.startswith("opsin: "), self.err
        assert self.err.endswith("\n")
        assert len(self.err.splitlines()) == 1, self.err
        assert "Traceback" not in self.err
        assert not set("╭╮╰╯│─┌┐└┘━┃") & set(self.err)
        for fragment in fragments:
            assert fragment in self.err

    def succeeds(self) -> str:
        """Check that the run went well without a word on stderr; return its output."""
        assert self.code == 0, self
        assert self.err == ""
        return self.out


def environment(weights_home: Path) -> dict[str, str]:
    """This process's environment, without what would change the output or find weights of the user's."""
    kept = {k: v for k, v in os.environ.items() if k not in {*COLOUR_SWITCHES, "OPSIN_WEIGHTS_DIR"}}
    return {**kept, "TORCH_HOME": str(weights_home), "COLUMNS": "100", "PYTHONIOENCODING": "utf-8"}


@pytest.fixture(autouse=True)
def _surroundings(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> dict[str, str]:
    chosen = environment(tmp_path_factory.mktemp("torch"))
    for name in (*COLOUR_SWITCHES, "OPSIN_WEIGHTS_DIR"):
        monkeypatch.delenv(name, raising=False)
    for name in ("TORCH_HOME", "COLUMNS"):
        monkeypatch.setenv(name, chosen[name])
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "127.0.0.1")
    monkeypatch.chdir(tmp_path)
    return chosen


@pytest.fixture
def opsin(tmp_path: Path, _surroundings: dict[str, str]) -> Callable[..., Outcome]:
    """Run `opsin ARGUMENTS` as a process in the test's folder."""

    def call(*arguments: object, **variables: str) -> Outcome:
        done = subprocess.run(
            [COMMAND, *map(str, arguments)],
            cwd=tmp_path,
            env={**_surroundings, **variables},
            capture_output=True,
            encoding="utf-8",
            timeout=100,
            check=False,
        )
        return Outcome(done.returncode, done.stdout, done.stderr)

    return call


@pytest.fixture
def start(tmp_path: Path, _surroundings: dict[str, str]) -> Callable[..., subprocess.Popen[str]]:
    """Start `opsin ARGUMENTS` as a process in the test's folder, and don't wait for it."""

    def begin(*arguments: object) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [COMMAND, *map(str, arguments)],
            cwd=tmp_path,
            env=_surroundings,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
        )

    return begin


@pytest.fixture
def call(capfd: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """Run `opsin ARGUMENTS` in this process; what libraries write past Python is caught too."""

    def inside(*arguments: object) -> Outcome:
        capfd.readouterr()
        code = run([str(argument) for argument in arguments])
        out, err = capfd.readouterr()
        return Outcome(code, out, err)

    return inside


@pytest.fixture
def snapshot(tmp_path: Path) -> Callable[[], dict[str, bytes | None]]:
    """What lies in the test's folder: path -> content, None for a folder."""

    def take() -> dict[str, bytes | None]:
        found = sorted(tmp_path.rglob("*"))
        return {str(p.relative_to(tmp_path)): p.read_bytes() if p.is_file() else None for p in found}

    return take


@pytest.fixture(scope="session")
def photo() -> Image.Image:
    """The eyes of scikit-image's cat, 112 by 96."""
    spec = importlib.util.find_spec("skimage")
    assert spec is not None
    assert spec.submodule_search_locations
    with Image.open(Path(spec.submodule_search_locations[0]) / "data" / "chelsea.png") as cat:
        return cat.convert("RGB").crop((120, 60, 232, 156))


@pytest.fixture(scope="session")
def noise() -> Callable[..., Image.Image]:
    """Make a picture of random pixels."""

    def make(width: int, height: int, seed: int = 0) -> Image.Image:
        shape = (height, width, 3)
        return Image.fromarray(np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8))

    return make


@pytest.fixture(scope="session")
def png() -> Callable[..., bytes]:
    """Make a PNG of any header, true or not."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    def make(width: int, height: int, rows: bytes, *, depth: int = 8, colour: int = 2) -> bytes:
        header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
        body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
        return b"\x89PNG\r\n\x1a\n" + body

    return make


@pytest.fixture(scope="session")
def alexnet_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights under the names of torchvision's AlexNet, without the classifier."""
    import torch
    from safetensors.torch import save_file

    shapes: dict[int, Any] = {
        0: (64, 3, 11, 11),
        3: (192, 64, 5, 5),
        6: (384, 192, 3, 3),
        8: (256, 384, 3, 3),
        10: (256, 256, 3, 3),
    }
    generator = torch.Generator().manual_seed(1)
    state = {}
    for index, shape in shapes.items():
        state[f"features.{index}.weight"] = (torch.randn(shape, generator=generator) * 0.05).half()
        state[f"features.{index}.bias"] = torch.zeros(shape[0]).half()
    path = tmp_path_factory.mktemp("weights") / "mine.safetensors"
    save_file(state, path)
    return path
