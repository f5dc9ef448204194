"""`opsin stylize` as programs of their own: disks that fill, kills and Ctrl-C, and going on to the pixel."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from opsin import states
from opsin.stylize.transfer import KIND

pytestmark = [pytest.mark.apps, pytest.mark.skipif(os.name != "posix", reason="signals and limits as POSIX has them")]

TINY = ("--size", "48", "--start", "24", "--steps", "20", "--net", "vgg11", "--weights", "random")
STATE = ("--checkpoint", "state", "--checkpoint-every", "1")
# A file may not grow past so many bytes, as on a disk that is full; and Ctrl-C does what it does on a terminal, though
# a shell's background jobs, and what they start, ignore it.
_LAUNCHER = """
import os, resource, signal, sys
if most := int(sys.argv[1]):
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
signal.signal(signal.SIGINT, signal.SIG_DFL)
os.execv(sys.executable, [sys.executable, "-m", "opsin", *sys.argv[2:]])
"""


def start(folder: Path, *arguments: str, most: int = 0) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", _LAUNCHER, str(most), "stylize", *arguments, "-s", "painting.png", *TINY],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(folder: Path, *arguments: str, most: int = 0) -> tuple[int, str, list[str]]:
    """Exit status, stdout, and lines of stderr."""
    process = start(folder, *arguments, most=most)
    out, err = process.communicate(timeout=200)
    return process.returncode, out, err.splitlines()


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def frames(folder: Path) -> dict[str, bytes]:
    """The finished frames of a clip, by their names."""
    return {path.name: pixels(path).tobytes() for path in folder.glob("*.png")}


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.fixture
def studio(tmp_path: Path) -> Path:
    """A folder with a photo and a painting."""
    rng = np.random.default_rng(0)
    for name, size in {"photo": (64, 48), "painting": (40, 40)}.items():
        coarse = Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8))
        coarse.resize(size, Image.Resampling.BICUBIC).save(tmp_path / f"{name}.png")
    return tmp_path


@pytest.fixture
def whole(studio: Path) -> np.ndarray:
    """What an uninterrupted run makes of the photo; its last state stays."""
    code, out, err = run(studio, "photo.png", "-o", "whole.png", *STATE)
    assert (code, out) == (0, "wrote whole.png, 48x36\n"), err
    return pixels(studio / "whole.png")


def test_a_disk_that_fills_leaves_the_last_checkpoint_whole(studio: Path, whole: np.ndarray) -> None:
    """The state grows with L-BFGS' memory and with the picture, so that the first ones still fit."""
    size = (studio / "state").stat().st_size
    (studio / "state").unlink()
    before = names(studio)
    code, out, err = run(studio, "photo.png", "-o", "out.png", *STATE, most=size // 2)
    assert (code, out) == (2, "")
    assert err[-1].startswith("opsin: the state must be written to 'state', got "), err
    assert "too large" in err[-1].lower() and "make room and go on" in err[-1]
    assert not any(line.startswith("opsin:") for line in err[:-1]) and "Traceback" not in "".join(err)
    assert names(studio) == before | {"state"}  # no output, nothing half-written
    done = states.load_state(studio / "state", kind=KIND)
    assert 0 < len(done["history"]) < 60
    code, _, err = run(studio, "photo.png", "-o", "out.png", *STATE, "--resume")
    assert code == 0, err
    assert np.array_equal(pixels(studio / "out.png"), whole)


def test_a_disk_that_fills_at_the_end(studio: Path) -> None:
    (studio / "out.png").write_bytes(b"mine")
    before = names(studio)
    code, out, err = run(studio, "photo.png", "-o", "out.png", "--overwrite", most=1000)
    assert (code, out) == (2, "")
    assert err[-1].startswith("opsin: image must be one that PNG can hold") and "out.png" in err[-1], err
    assert names(studio) == before and (studio / "out.png").read_bytes() == b"mine"


def test_killed_and_resumed(studio: Path, whole: np.ndarray, wait_for: Callable[..., None]) -> None:
    """At both scales."""
    (studio / "state").unlink()
    resume: tuple[str, ...] = ()
    for least in (10, 45):
        process = start(studio, "photo.png", "-o", "out.png", *STATE, *resume)
        wait_for(lambda least=least: steps_of(studio / "state") >= least, process)
        process.kill()
        process.communicate()
        resume = ("--resume",)
    assert not (studio / "out.png").exists()
    code, _, err = run(studio, "photo.png", "-o", "out.png", *STATE, "--resume")
    assert code == 0, err
    assert np.array_equal(pixels(studio / "out.png"), whole)


def steps_of(state: Path) -> int:
    return len(states.load_state(state, kind=KIND)["history"]) if state.exists() else 0


def test_a_clip_interrupted_and_resumed(studio: Path, wait_for: Callable[..., None]) -> None:
    """Ctrl-C keeps the finished frames; the others become at last what an uninterrupted run makes of them.

    Frames are compared, not files: x264 makes other bytes of the same frames about once in fifty runs.
    """
    av = pytest.importorskip("av", reason="extra 'video'")
    pytest.importorskip("cv2", reason="extra 'video'")
    photo = pixels(studio / "photo.png")
    with av.open(str(studio / "clip.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 48, 36, "yuv420p"
        for i in range(6):
            frame = np.ascontiguousarray(photo[6:42, 2 * i : 2 * i + 48])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, "rgb24")))
        container.mux(stream.encode())
    process = start(studio, "clip.mp4", "-o", "out.mp4")
    wait_for((studio / "out-frames" / "000001.png").exists, process)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=100)
    assert (process.returncode, out) == (130, ""), err
    assert "stopped early: it was interrupted in frame" in err and "Go on with --resume." in err
    assert not (studio / "out.mp4").exists()
    code, out, err = run(studio, "clip.mp4", "-o", "out.mp4")
    assert code == 2 and "out-frames" in err[-1]  # not begun anew over them unasked
    code, out, err = run(studio, "clip.mp4", "-o", "out.mp4", "--resume", "--keep-frames")
    assert (code, out) == (0, "wrote out.mp4, 6 frames of 48x36\n"), err
    assert run(studio, "clip.mp4", "-o", "whole.mp4", "--keep-frames")[0] == 0
    resumed, uninterrupted = (frames(studio / name) for name in ("out-frames", "whole-frames"))
    assert len(resumed) == 6 and resumed == uninterrupted
    with av.open(str(studio / "out.mp4")) as container:
        assert len(list(container.decode(video=0))) == 6
    (studio / "out.mp4").unlink()
    code, out, err = run(studio, "clip.mp4", "-o", "out.mp4", "--resume")
    assert (code, out) == (0, "wrote out.mp4, 6 frames of 48x36\n"), err
    assert not (studio / "out-frames").exists()
