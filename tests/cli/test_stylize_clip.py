"""`opsin stylize` of clips: a file in, a file out, and what may go wrong between."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from opsin.images import read_image, write_image

av = pytest.importorskip("av", reason="extra 'video'")
pytest.importorskip("cv2", reason="extra 'video'")

TINY = ("--size", "40", "--start", "20", "--steps", "2", "--net", "vgg11", "--weights", "random")
PAINT = ("--style", "painting.png", *TINY)
FRAMES, HEIGHT, WIDTH = 4, 36, 48


def smooth(height: int, width: int, seed: int) -> torch.Tensor:
    coarse = torch.rand(1, 3, 5, 7, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.interpolate(coarse, (height, width), mode="bicubic").clamp(0, 1)


@pytest.fixture
def film(add_tone: Callable[..., None]) -> Callable[..., None]:
    """A window that moves over a picture, two pixels a frame, with a tone if there is a codec for it."""

    def made(path: Path, sound: str = "") -> None:
        wide = smooth(HEIGHT, WIDTH + 2 * FRAMES, 0)[0].permute(1, 2, 0).mul(255).byte().numpy()
        with av.open(str(path), "w") as container:
            stream = container.add_stream("libx264", rate=25)
            stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
            tone = container.add_stream(sound, rate=48000) if sound else None
            for i in range(FRAMES):
                frame = np.ascontiguousarray(wide[:, 2 * i : 2 * i + WIDTH])
                container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, "rgb24")))
            container.mux(stream.encode())
            if tone is not None:
                add_tone(container, tone, 7680)

    return made


def look(path: Path) -> tuple[list[np.ndarray], list[str], dict[str, str]]:
    """The frames of a clip, the codecs of its sound, and its metadata."""
    with av.open(str(path)) as container:
        sound = [stream.codec_context.name for stream in container.streams.audio]
        described = {key.lower(): value for key, value in container.metadata.items()}
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)], sound, described


@pytest.fixture(autouse=True)
def _files(tmp_path: Path, film: Callable[..., None]) -> None:
    write_image(tmp_path / "painting.png", smooth(40, 30, 1))
    film(tmp_path / "clip.mp4")


def test_a_clip_with_sound(opsin, tmp_path, film):
    film(tmp_path / "heard.mov", "aac")
    done = opsin("stylize", "heard.mov", "-o", "out.mp4", *PAINT)
    assert done.code == 0 and done.out == "wrote out.mp4, 4 frames of 40x30, with its sound\n"
    lines = done.err.splitlines()
    assert [line.split("  ")[0] for line in lines] == ["frame 1/4", *(f"frame {i}/4" for i in range(1, 5))], done.err
    assert "so far" in lines[0] and "left" in lines[-1] and "temporal" in lines[-1]
    frames, sound, described = look(tmp_path / "out.mp4")
    assert {frame.shape for frame in frames} == {(30, 40, 3)} and len(frames) == FRAMES and sound == ["aac"]
    made = json.loads(described["comment"])
    assert made["settings"]["size"] == 40 and "vgg11 random" in made["signature"]
    assert {p.name for p in tmp_path.iterdir()} == {"painting.png", "clip.mp4", "heard.mov", "out.mp4"}


def test_frames_stay_where_that_is_asked_for(call, tmp_path):
    assert call("stylize", "clip.mp4", "-o", "out.mp4", "--keep-frames", *PAINT).code == 0
    kept = sorted((tmp_path / "out-frames").glob("*.png"))
    assert len(kept) == FRAMES
    assert {read_image(path).shape for path in kept} == {(1, 3, 30, 40)}


def test_sound_that_does_not_fit_is_left_out_and_that_is_said(call, tmp_path, film):
    film(tmp_path / "heard.mkv", "pcm_s16be")
    done = call("stylize", "heard.mkv", "-o", "out.mp4", *PAINT)
    assert done.code == 0 and done.out == "wrote out.mp4, 4 frames of 40x30\n"
    assert done.err.splitlines()[-1] == "left out the sound, which .mp4 cannot hold; .mkv holds most."
    assert look(tmp_path / "out.mp4")[1] == []


def test_the_output_makes_it_a_clip(call, tmp_path):
    """A GIF is a picture as well as a clip."""
    still = [Image.fromarray(np.full((HEIGHT, WIDTH, 3), 80 * i, np.uint8)) for i in range(3)]
    still[0].save(tmp_path / "moving.gif", save_all=True, append_images=still[1:], duration=40)
    assert call("stylize", "moving.gif", "-o", "out.mkv", *PAINT).out == "wrote out.mkv, 3 frames of 40x30\n"
    assert call("stylize", "moving.gif", "-o", "out.png", *PAINT).out == "wrote out.png, 40x30\n"


@pytest.mark.parametrize(
    ("arguments", "fragments"),
    [
        (["clip.mp4", "-o", "out.png"], ["video file must end in .mp4, .mov, .mkv", "out.png"]),
        (["clip.mp4", "-o", "painted.mp4"], ["output must be a new file", "painted.mp4"]),
        (["clip.mp4", "-o", "no/out.mp4"], ["output folder must exist"]),
        (["no.mp4", "-o", "out.mp4"], ["clip must be a file", "no.mp4"]),
        (["noise.mp4", "-o", "out.mp4"], ["clip must be a whole video", "noise.mp4"]),
        (["half.mp4", "-o", "out.mp4"], ["clip must be a whole video", "half.mp4"]),
        (["song.mp4", "-o", "out.mp4"], ["clip must have moving pictures", "song.mp4"]),
        (["painting.png", "-o", "out.mp4"], ["clip must be a whole video", "painting.png"]),
        (["clip.mp4", "-o", "out.mp4", "-s", "clip.mp4"], ["image must be a PNG", "clip.mp4"]),
        (["clip.mp4", "-o", "out.mp4", "--preview", "2"], ["--preview must be left out for a clip"]),
        (["clip.mp4", "-o", "out.mp4", "--checkpoint", "run"], ["--checkpoint must be left out for a clip"]),
        (["clip.mp4", "-o", "out.mp4", "--checkpoint-every", "2"], ["--checkpoint-every must be left out for a clip"]),
        (["clip.mp4", "-o", "out.mp4", "--regions", "painting.png"], ["--regions must be left out for a clip"]),
        (["clip.mp4", "-o", "out.mp4", "--init", "painting.png"], ["unknown initial image 'painting.png'"]),
        (["clip.mp4", "-o", "out.mp4", "--resume"], ["folder to go on from", "out-frames"]),
        (["clip.mp4", "-o", "out.mp4", "--temporal-weight", "-1"], ["temporal_weight must be a number"]),
        (["clip.mp4", "-o", "out.mp4", "--style-weights", "1,2"], ["one for each of 1 paintings, got 2"]),
        (
            ["painting.png", "-o", "out.png", "--temporal-weight", "2"],
            ["--temporal-weight must be left out for a pict"],
        ),
    ],
)
def test_bad_arguments(call, tmp_path, snapshot, arguments, fragments):
    (tmp_path / "painted.mp4").write_bytes(b"mine")
    (tmp_path / "noise.mp4").write_bytes(bytes(500))
    (tmp_path / "half.mp4").write_bytes((tmp_path / "clip.mp4").read_bytes()[:-1500])
    with av.open(str(tmp_path / "song.mp4"), "w") as container:
        tone = container.add_stream("aac", rate=48000)
        heard = av.AudioFrame.from_ndarray(np.zeros((1, 4800), np.int16), "s16", "mono")
        heard.rate = 48000
        container.mux(tone.encode(heard))
        container.mux(tone.encode())
    before = snapshot()
    call("stylize", *PAINT, *arguments).refuses(*fragments)
    assert snapshot() == before


@pytest.mark.parametrize(
    ("arguments", "fragment"),
    [
        (["clip.mp4", "-o", "out.mp4"], "--model must be for a picture, got the clip 'clip.mp4'"),
        (["painting.png", "-o", "out.png", "--steps", "3"], "--steps must be left out for --model"),
        (["painting.png", "-o", "out.png", "--keep-colors", "linear"], "--keep-colors must be left out for --model"),
    ],
)
def test_what_a_trained_network_does_not_take(call, arguments, fragment):
    call("stylize", "--model", "model.safetensors", *arguments).refuses(fragment)


@pytest.mark.parametrize(("package", "name"), [("av", "PyAV"), ("cv2", "OpenCV")])
def test_without_the_extra(call, monkeypatch, snapshot, package, name):
    before = snapshot()
    monkeypatch.setitem(sys.modules, package, None)
    call("stylize", "clip.mp4", "-o", "out.mp4", *PAINT).refuses(name, "pip install 'opsin[video]'")
    assert snapshot() == before
