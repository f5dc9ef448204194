"""Clips read and written: times, sizes, colours, sound, and files that are none."""

from __future__ import annotations

import struct
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from opsin.errors import ImageError, InputError, OpsinError
from opsin.stylize.video import open_clip, write_clip, writing
from opsin.stylize.video.writing import sound_fits

av = pytest.importorskip("av", reason="needs the extra video")


RATE = Fraction(30000, 1001)
# Of 255: quantizers, and one colour for four pixels.
LEVELS = 6


def ramps(count: int, height: int, width: int) -> np.ndarray:
    """Smooth colours that grow brighter from frame to frame: (T,H,W,3)."""
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    frames = [np.stack([40 + 150 * x, 40 + 150 * y, np.full_like(x, 40 + 10 * i)], -1) for i in range(count)]
    return np.stack(frames).round().astype(np.uint8)


Make = Callable[..., Path]


@pytest.fixture
def make(tmp_path: Path, add_tone: Callable[..., None]) -> Make:
    """Write a clip with PyAV."""

    def made(
        name: str = "clip.mp4",
        frames: np.ndarray | None = None,
        *,
        codec: str = "libx264",
        pixels: str = "yuv444p",
        sound: str | None = None,
        times: list[int] | None = None,
        aspect: Fraction = Fraction(1),
        **color: int,
    ) -> Path:
        frames = ramps(6, 48, 64) if frames is None else frames
        path = tmp_path / name
        with av.open(str(path), "w") as container:
            stream = container.add_stream(codec, rate=RATE)
            stream.height, stream.width, stream.pix_fmt = frames.shape[1], frames.shape[2], pixels
            stream.codec_context.sample_aspect_ratio = aspect
            for key, value in color.items():
                setattr(stream.codec_context, key, value)
            if codec == "libx264":
                stream.options = {"crf": "4"}
            music = container.add_stream(sound, rate=48000) if sound else None
            for i, levels in enumerate(frames):
                frame = av.VideoFrame.from_ndarray(levels, "rgb24")
                if color.get("colorspace") == 1:
                    frame = frame.reformat(format=pixels, dst_colorspace=1)
                if times is not None:
                    frame.pts, frame.time_base = times[i], 1 / RATE
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
            if music is not None:
                add_tone(container, music, 9600)
        return path

    return made


def levels(images: list[tuple[int, Tensor]]) -> np.ndarray:
    return torch.cat([image for _, image in images]).mul(255).permute(0, 2, 3, 1).numpy()


def sound_of(path: Path) -> list[bytes]:
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(audio=0) if packet.size]


def test_what_was_written_is_read(make: Make) -> None:
    clip = open_clip(make())
    assert (clip.width, clip.height, clip.rate, clip.declared, clip.audio) == (64, 48, RATE, 6, None)
    frames = list(clip.frames())
    assert [time * clip.time_base for time, _ in frames] == [i / RATE for i in range(6)]
    assert frames[0][1].shape == (1, 3, 48, 64)
    assert np.abs(levels(frames) - ramps(6, 48, 64)).max() < LEVELS


@pytest.mark.parametrize("encoder", ["libx264", "mpeg4"])
@pytest.mark.parametrize("name", ["out.mp4", "out.mov", "out.mkv"])
def test_round_trip(make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, encoder: str) -> None:
    monkeypatch.setattr(writing, "_encoder", lambda: encoder)
    clip = open_clip(make(aspect=Fraction(4, 3), sound="aac"))
    frames = list(clip.frames())
    write_clip(tmp_path / name, frames, clip, metadata={"comment": "made of noise"})
    again = open_clip(tmp_path / name)
    back = list(again.frames())
    assert (again.width, again.height, again.rate, again.audio, again.aspect) == (64, 48, RATE, "aac", Fraction(4, 3))
    assert len(back) == 6
    # Matroska counts in milliseconds.
    for (a, _), (b, _) in zip(frames, back, strict=True):
        assert abs(a * clip.time_base - b * again.time_base) <= (Fraction(1, 1000) if name == "out.mkv" else 0)
    difference = np.abs(levels(back) - levels(frames))
    assert difference.mean() < 2
    assert difference.max() < (2 if encoder == "libx264" else 3) * LEVELS
    assert sound_of(tmp_path / name) == sound_of(clip.path)
    with av.open(str(tmp_path / name)) as container:
        next(container.decode(video=0))
        coded = container.streams.video[0].codec_context
        tags = {key.lower(): value for key, value in container.metadata.items()}
    assert tags["comment"] == "made of noise"
    assert coded.pix_fmt == "yuv420p"
    assert (coded.colorspace, coded.color_primaries, coded.color_trc) == (1, 1, 1)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_the_encoder_is_one_there_is() -> None:
    assert writing._encoder() in {"libx264", "mpeg4"}


def test_times_that_vary_are_kept(make: Make, tmp_path: Path) -> None:
    clip = open_clip(make(times=[0, 1, 2, 5, 6, 9]))
    write_clip(tmp_path / "out.mp4", clip.frames(), clip)
    again = open_clip(tmp_path / "out.mp4")
    assert [time * again.time_base * RATE for time, _ in again.frames()] == [0, 1, 2, 5, 6, 9]


@pytest.mark.parametrize(
    ("matrix", "turn"),
    [
        ((0, 1, -1, 0), lambda image: np.rot90(image, -1)),  # a telephone upright
        ((0, -1, 1, 0), lambda image: np.rot90(image, 1)),
        ((-1, 0, 0, -1), lambda image: np.rot90(image, 2)),
        ((-1, 0, 0, 1), lambda image: image[:, ::-1]),  # a mirror
    ],
)
def test_frames_are_turned_as_the_file_says(make: Make, matrix: tuple[int, ...], turn: Any) -> None:
    path = make(aspect=Fraction(4, 3))
    octets = bytearray(path.read_bytes())
    place = octets.index(b"tkhd") + 44  # of the matrix in the track's header: 16.16 numbers, the last column 2.30
    a, b, c, d = (value << 16 for value in matrix)
    octets[place : place + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(octets)
    clip = open_clip(path)
    expected = np.stack([turn(frame) for frame in ramps(6, 48, 64)])
    assert (clip.height, clip.width) == expected.shape[1:3]
    assert clip.aspect == (Fraction(3, 4) if matrix[0] == 0 else Fraction(4, 3))
    assert np.abs(levels(list(clip.frames())) - expected).max() < LEVELS


def test_the_matrix_of_colours_that_is_named_is_taken(make: Make) -> None:
    clip = open_clip(make(colorspace=1))
    assert np.abs(levels(list(clip.frames())) - ramps(6, 48, 64)).max() < LEVELS


def test_high_dynamic_range_is_refused(make: Make) -> None:
    with pytest.raises(ImageError, match="PQ or HLG"):
        open_clip(make(color_trc=16))


def test_odd_sizes_are_read_and_not_written(make: Make, tmp_path: Path) -> None:
    clip = open_clip(make("clip.mkv", ramps(3, 33, 47), codec="ffv1"))
    frames = list(clip.frames())
    assert frames[0][1].shape == (1, 3, 33, 47)
    with pytest.raises(InputError, match="even sides"):
        write_clip(tmp_path / "out.mp4", frames, clip)
    assert not (tmp_path / "out.mp4").exists()


def test_sound_that_does_not_fit_is_left_out(make: Make, tmp_path: Path) -> None:
    clip = open_clip(make("clip.avi", sound="pcm_mulaw"))
    assert not sound_fits("out.mp4", clip)
    assert sound_fits("out.mkv", open_clip(make(sound="aac")))
    write_clip(tmp_path / "out.mp4", clip.frames(), clip)
    assert open_clip(tmp_path / "out.mp4").audio is None


def test_sound_of_a_codec_that_fits_may_still_be_refused(make: Make, tmp_path: Path) -> None:
    """Matroska doesn't keep on which side channels are, and MP4 asks for it: known only once it is written."""
    clip = open_clip(make("clip.mkv", sound="pcm_s16be"))
    assert sound_fits("out.mov", clip)
    assert not sound_fits("out.mp4", clip)
    write_clip(tmp_path / "out.mp4", clip.frames(), clip)
    assert open_clip(tmp_path / "out.mp4").audio is None


class TestWhatIsNoClip:
    def test_missing_and_folder(self, tmp_path: Path) -> None:
        with pytest.raises(ImageError, match="does not exist"):
            open_clip(tmp_path / "missing.mp4")
        with pytest.raises(ImageError, match="must be a file"):
            open_clip(tmp_path)

    @pytest.mark.parametrize("name", ["clip.mp4", "clip.txt", "clip.m3u8", "clip.ffconcat"])
    def test_text(self, tmp_path: Path, make: Make, name: str) -> None:
        make("other.mp4")
        text = {
            "clip.m3u8": "#EXTM3U\n#EXTINF:1,\nother.mp4\n",
            "clip.ffconcat": "ffconcat version 1.0\nfile other.mp4",
        }
        (tmp_path / name).write_text(text.get(name, "a clip\n" * 100))
        with pytest.raises(ImageError, match="whole video"):
            open_clip(tmp_path / name)

    def test_a_song(self, tmp_path: Path) -> None:
        path = tmp_path / "song.mp4"
        with av.open(str(path), "w") as container:
            stream = container.add_stream("aac", rate=48000)
            heard = av.AudioFrame.from_ndarray(np.zeros((1, 4800), np.int16), "s16", "mono")
            heard.rate = 48000
            container.mux(stream.encode(heard))
            container.mux(stream.encode())
        with pytest.raises(ImageError, match="moving pictures"):
            open_clip(path)

    def test_half_a_file(self, make: Make) -> None:
        path = make()
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        with pytest.raises(ImageError, match="whole video"):
            open_clip(path)

    def test_errors_are_one_line(self, tmp_path: Path) -> None:
        (tmp_path / "clip.mp4").write_bytes(b"\0" * 100)
        with pytest.raises(ImageError) as caught:
            open_clip(tmp_path / "clip.mp4")
        assert "\n" not in str(caught.value)
        assert "Errno" not in str(caught.value)


class TestBounds:
    def test_pixels(self, make: Make) -> None:
        with pytest.raises(InputError, match="pixels a frame at most, got 64x48"):
            open_clip(make(), max_pixels=64 * 48 - 1)

    def test_frames_that_are_declared(self, make: Make) -> None:
        with pytest.raises(InputError, match="5 frames at most, got 6"):
            open_clip(make(), max_frames=5)

    def test_frames_that_are_not(self, make: Make) -> None:
        clip = open_clip(make("clip.mkv"), max_frames=5)
        with pytest.raises(InputError, match="got more than 5"):
            list(clip.frames())


class TestWriting:
    def test_fails_without_a_trace(self, make: Make, tmp_path: Path) -> None:
        clip = open_clip(make())

        def breaks() -> Any:
            yield from list(clip.frames())[:3]
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            write_clip(tmp_path / "out.mp4", breaks(), clip)
        assert [path.name for path in tmp_path.iterdir()] == ["clip.mp4"]

    @pytest.mark.parametrize("name", ["out.mp4", "out.mkv"])
    def test_a_disk_that_fills(self, make: Make, tmp_path: Path, name: str) -> None:
        resource = pytest.importorskip("resource", reason="limits of files are POSIX's")
        clip = open_clip(make())
        frames = list(clip.frames())
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (600, limits[1]))
        try:
            with pytest.raises(ImageError, match="must be written to"):
                write_clip(tmp_path / name, frames, clip)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert [path.name for path in tmp_path.iterdir()] == ["clip.mp4"]

    def test_overwrites_only_when_asked(self, make: Make, tmp_path: Path) -> None:
        clip = open_clip(make())
        (tmp_path / "out.mp4").write_text("mine")
        with pytest.raises(OpsinError, match="exists"):
            write_clip(tmp_path / "out.mp4", clip.frames(), clip)
        assert (tmp_path / "out.mp4").read_text() == "mine"
        write_clip(tmp_path / "out.mp4", clip.frames(), clip, overwrite=True)
        assert open_clip(tmp_path / "out.mp4").declared == 6

    def test_ending(self, make: Make, tmp_path: Path) -> None:
        clip = open_clip(make())
        with pytest.raises(ImageError, match=r"must end in \.mp4"):
            write_clip(tmp_path / "out.webm", clip.frames(), clip)

    def test_no_frame(self, make: Make, tmp_path: Path) -> None:
        clip = open_clip(make())
        with pytest.raises(InputError, match="must have a frame"):
            write_clip(tmp_path / "out.mp4", [], clip)
        assert not (tmp_path / "out.mp4").exists()

    def test_another_size_on_the_way(self, make: Make, tmp_path: Path) -> None:
        clip = open_clip(make())
        frames = [(0, torch.zeros(1, 3, 48, 64)), (1001, torch.zeros(1, 3, 48, 32))]
        with pytest.raises(InputError, match="as the first"):
            write_clip(tmp_path / "out.mp4", frames, clip)
