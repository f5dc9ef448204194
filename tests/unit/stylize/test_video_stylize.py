"""Clips stylized: less flicker for the same style and content, resumed to the pixel, and what can go wrong."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import opsin
from opsin.errors import ChoiceError, ImageError, InputError, MissingExtraError, OpsinError
from opsin.stylize import Settings
from opsin.stylize.objective import Objective, Value
from opsin.stylize.video import (
    Clip,
    FrameStore,
    VideoProgress,
    flicker,
    open_clip,
    stylize_frames,
    stylize_video,
    write_clip,
)
from opsin.stylize.video.painting import ClipPainter
from opsin.stylize.video.transfer import even_size

av = pytest.importorskip("av", reason="needs the extra video")
pytest.importorskip("cv2", reason="needs the extra video")
data = pytest.importorskip("skimage.data", reason="needs the extra demo")

TINY: dict[str, Any] = {"net": "vgg11", "weights": "random", "size": 48, "start": 24, "steps": 3}


def photo(name: str, longer: int) -> Tensor:
    image = torch.from_numpy(getattr(data, name)().copy()).permute(2, 0, 1)[None].float() / 255
    return opsin.images.resize(image, longer)


def pan(count: int, height: int, width: int) -> list[Tensor]:
    """A camera that moves over a photo by two pixels a frame."""
    image = photo("coffee", 2 * height)
    return [image[..., 8 : 8 + height, 8 + 2 * i : 8 + 2 * i + width].contiguous() for i in range(count)]


@pytest.fixture(scope="module")
def painting() -> Tensor:
    return photo("astronaut", 48)


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "clip.mp4"
    head = Clip(Path(), 48, 36, Fraction(25), Fraction(1, 25), 4, Fraction(1), None)
    write_clip(path, enumerate(pan(4, 36, 48)), head)
    return path


class Dots:
    """A painter without a network: a frame's brightness, and noise that is another for each frame by itself."""

    def __init__(self) -> None:
        self.painted: list[str] = []
        self._generator = torch.Generator().manual_seed(0)

    def first(self, content: Tensor) -> Tensor:
        self.painted.append("first")
        return (content + 0.2 * torch.randn(content.shape, generator=self._generator)).clamp(0, 1)

    def later(self, content: Tensor, init: Tensor, temporal: Objective) -> Tensor:
        self.painted.append("later")
        x = content.clone().requires_grad_(True)
        value = temporal(x)
        assert isinstance(value, Value)
        (gradient,) = torch.autograd.grad(value.total, x)
        # Where the term pulls it pulls towards where the frame begins.
        assert ((gradient * (init - content)) <= 0).all()
        return init

    def loss(self, content: Tensor, image: Tensor) -> float:
        return float((content - image).square().mean())


def test_the_previous_result_is_carried_along(tmp_path: Path) -> None:
    frames = pan(4, 48, 64)
    alone = Dots()
    noisy = flicker([alone.first(frame) for frame in frames], frames)
    painter = Dots()
    done = list(stylize_frames(frames, painter, FrameStore(tmp_path / "frames", {}), temporal_weight=1.0))
    assert painter.painted == ["first", "later", "later", "later"]
    assert [painted.error is None for painted in done] == [True, False, False, False]
    quiet = flicker([painted.image for painted in done], frames)
    errors = [painted.error for painted in done if painted.error is not None]
    assert quiet == pytest.approx(sum(errors) / 3, rel=1e-5)
    assert quiet < noisy / 20


def test_finished_frames_are_not_made_again(tmp_path: Path) -> None:
    frames = pan(4, 48, 64)
    whole = list(stylize_frames(frames, Dots(), FrameStore(tmp_path / "a", {}), temporal_weight=1.0))
    broken = stylize_frames(frames, Dots(), FrameStore(tmp_path / "b", {}), temporal_weight=1.0)
    next(broken)
    next(broken)
    broken.close()
    painter = Dots()
    resumed = FrameStore(tmp_path / "b", {}, resume=True)
    assert resumed.count == 2
    done = list(stylize_frames(frames, painter, resumed, temporal_weight=1.0))
    assert painter.painted == ["later", "later"]
    for a, b in zip(whole, done, strict=True):
        assert torch.equal(a.image, b.image)
        assert a.error == b.error


def test_flickers_less_for_the_same_style_and_content(tmp_path: Path, painting: Tensor) -> None:
    frames = pan(4, 36, 48)
    settings = Settings(size=48, start=24, steps=8, net="vgg11", weights="random")
    network = opsin.VGG("vgg11", weights="random")
    painter = ClipPainter(frames[0], [painting], [1.0], settings, later_steps=8, extractor=network)
    alone = [painter.first(frame) for frame in frames]
    store = FrameStore(tmp_path / "frames", {})
    flowing = [done.image for done in stylize_frames(frames, painter, store, temporal_weight=1.0)]
    losses = [sum(painter.loss(*pair) for pair in zip(frames, made, strict=True)) for made in (alone, flowing)]

    assert flicker(flowing, frames) < 0.7 * flicker(alone, frames)
    assert losses[1] < 1.05 * losses[0]


@pytest.mark.parametrize("colors", [None, "linear", "luminance"])
def test_from_file_to_file(clip: Path, painting: Tensor, tmp_path: Path, colors: str | None) -> None:
    seen: list[VideoProgress] = []
    result = stylize_video(clip, painting, tmp_path / "out.mp4", callback=seen.append, keep_colors=colors, **TINY)
    assert (result.frames, result.width, result.height, result.sound, result.stopped) == (4, 48, 36, "none", "")
    assert result.flicker > 0
    made = open_clip(tmp_path / "out.mp4")
    assert (made.width, made.height, made.rate, made.declared) == (48, 36, 25, 4)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clip.mp4", "out.mp4"]
    # Two scales of the first frame, the first of twice the steps; then half the steps of one, which is 1.
    assert [p.frame for p in seen] == [0] * 9 + [1, 2, 3]
    assert {p.frames for p in seen} == {4}
    assert "temporal" not in seen[8].terms
    assert {"content", "style", "temporal"} <= set(seen[-1].terms)
    with av.open(str(tmp_path / "out.mp4")) as container:
        described = json.loads(container.metadata["comment"])
    assert described["settings"]["temporal_weight"] == 1.0
    assert "vgg11" in described["signature"]


def test_kept_colours_are_kept(clip: Path, painting: Tensor, tmp_path: Path) -> None:
    options = {**TINY, "keep_frames": True, "keep_colors": "luminance"}
    stylize_video(clip, painting, tmp_path / "out.mp4", **options)
    for i, (_, frame) in enumerate(open_clip(clip).frames()):
        image = opsin.read_image(tmp_path / "out-frames" / f"{i:06d}.png")
        inside = ((image > 0) & (image < 1)).all(dim=1)  # nothing was cut off
        difference = image - frame
        spread = difference.amax(dim=1) - difference.amin(dim=1)
        assert inside.float().mean() > 0.3
        assert spread[inside].max() < 2 / 255


@pytest.mark.parametrize("loss", ["gatys", "sliced-wasserstein"])
def test_interrupted_and_resumed_gives_the_same_pixels(clip: Path, painting: Tensor, tmp_path: Path, loss: str) -> None:
    # The random losses want taps of VGG-19. Of its deepest maps on 24 pixels, 1×1, oneDNN's gradient is on some
    # processors not the same twice, given the same bits.
    options = {**TINY, "start": 36, "loss": loss, "net": "vgg19", "keep_frames": True}
    stylize_video(clip, painting, tmp_path / "whole.mp4", **options)

    stopped = stylize_video(clip, painting, tmp_path / "out.mp4", callback=lambda p: p.frame == 2, **options)
    assert "frame 3" in stopped.stopped
    assert stopped.frames == 2
    assert not (tmp_path / "out.mp4").exists()
    with pytest.raises(InputError, match="Resume that run"):
        stylize_video(clip, painting, tmp_path / "out.mp4", **options)
    with pytest.raises(OpsinError, match="the same settings"):
        stylize_video(clip, painting, tmp_path / "out.mp4", resume=True, **{**options, "seed": 1})
    with pytest.raises(OpsinError, match="the same images"):
        stylize_video(clip, 1 - painting, tmp_path / "out.mp4", resume=True, **options)
    result = stylize_video(clip, painting, tmp_path / "out.mp4", resume=True, **options)
    assert result.frames == 4
    for i in range(4):
        a, b = (opsin.read_image(tmp_path / f"{name}-frames" / f"{i:06d}.png") for name in ("whole", "out"))
        assert torch.equal(a, b)


def test_stopped_in_the_first_frame(clip: Path, painting: Tensor, tmp_path: Path) -> None:
    result = stylize_video(clip, painting, tmp_path / "out.mp4", callback=lambda _: True, **TINY)
    assert "frame 1" in result.stopped
    assert result.frames == 0


def test_ctrl_c_leaves_finished_frames(clip: Path, painting: Tensor, tmp_path: Path) -> None:
    def press(progress: VideoProgress) -> None:
        if progress.frame == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stylize_video(clip, painting, tmp_path / "out.mp4", callback=press, **TINY)
    assert not (tmp_path / "out.mp4").exists()
    assert sorted(path.name for path in (tmp_path / "out-frames").iterdir()) == ["000000.png", "run.json"]
    assert stylize_video(clip, painting, tmp_path / "out.mp4", resume=True, **TINY).frames == 4


def test_a_first_frame_that_diverges_says_so(clip: Path, painting: Tensor, tmp_path: Path) -> None:
    with pytest.raises(OpsinError, match=r"must be finite, but the loss was (nan|inf) at step"):
        stylize_video(clip, painting, tmp_path / "out.mp4", tv=1e300, **TINY)
    assert not (tmp_path / "out.mp4").exists()


def test_a_later_frame_that_diverges_says_so(painting: Tensor) -> None:
    frame = pan(1, 36, 48)[0]
    painter = ClipPainter(
        frame, [painting], [1.0], Settings(**TINY), later_steps=2, extractor=opsin.VGG("vgg11", weights="random")
    )
    with pytest.raises(OpsinError, match="must be finite, but the loss was nan at step 1"):
        painter.later(frame, frame, lambda x: Value(x.sum() * float("nan"), {}))


def test_odd_sizes_are_made_even(painting: Tensor, tmp_path: Path) -> None:
    with av.open(str(tmp_path / "clip.mkv"), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.height, stream.width, stream.pix_fmt = 35, 47, "yuv444p"
        for frame in pan(2, 35, 47):
            levels = frame[0].mul(255).byte().permute(1, 2, 0).contiguous().numpy()
            container.mux(stream.encode(av.VideoFrame.from_ndarray(levels, "rgb24")))
        container.mux(stream.encode())
    result = stylize_video(tmp_path / "clip.mkv", painting, tmp_path / "out.mp4", **{**TINY, "size": 47})
    assert (result.width, result.height) == (48, 36)
    assert even_size(35, 47, 47) == (36, 48)


class TestRefusedBeforeItBegins:
    @pytest.mark.parametrize(
        ("options", "error", "match"),
        [
            ({"temporal_weight": -1}, InputError, "temporal_weight must be"),
            ({"temporal_weight": float("nan")}, InputError, "temporal_weight must be"),
            ({"later_steps": 0}, InputError, "later_steps must be"),
            ({"stile": 1}, ChoiceError, "unknown setting 'stile'"),
            ({"style_weights": [1, 2]}, InputError, "one for each of 1 paintings"),
            ({"max_frames": 3}, InputError, "3 frames at most, got 4"),
            ({"memory_limit": 1 << 20}, InputError, "must fit into memory"),
        ],
    )
    def test_options(
        self, clip: Path, painting: Tensor, tmp_path: Path, options: dict[str, Any], error: type, match: str
    ) -> None:
        with pytest.raises(error, match=match):
            stylize_video(clip, painting, tmp_path / "out.mp4", **{**TINY, **options})
        assert [path.name for path in tmp_path.iterdir()] == ["clip.mp4"]

    def test_files(self, clip: Path, painting: Tensor, tmp_path: Path) -> None:
        with pytest.raises(ImageError, match="does not exist"):
            stylize_video(tmp_path / "missing.mp4", painting, tmp_path / "out.mp4", **TINY)
        with pytest.raises(ImageError, match="must end in"):
            stylize_video(clip, painting, tmp_path / "out.gif", **TINY)
        with pytest.raises(OpsinError, match="exists"):
            stylize_video(clip, painting, clip, **TINY)
        with pytest.raises(OpsinError, match="folder must exist"):
            stylize_video(clip, painting, tmp_path / "none" / "out.mp4", **TINY)

    @pytest.mark.parametrize(("module", "name"), [("av", "PyAV"), ("cv2", "OpenCV")])
    def test_without_the_extra(
        self, clip: Path, painting: Tensor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str, name: str
    ) -> None:
        monkeypatch.setitem(__import__("sys").modules, module, None)
        with pytest.raises(MissingExtraError, match=rf"{name} .*pip install 'opsin\[video\]'"):
            stylize_video(clip, painting, tmp_path / "out.mp4", **TINY)
