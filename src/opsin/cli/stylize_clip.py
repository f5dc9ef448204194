"""`opsin stylize` of a clip."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from opsin.cli.common import quiet_codecs
from opsin.cli.live import INTERRUPTED, Live, terms_text, time_text
from opsin.interruption import Interruption

if TYPE_CHECKING:
    from opsin.stylize.video import VideoProgress

SUFFIXES = (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".flv", ".ogv", ".wmv")
"""Endings by which files are taken for clips."""


def paint_clip(
    clip: Path,
    style: Sequence[Path],
    output: Path,
    *,
    style_weights: list[float] | None,
    device: str,
    settings: Mapping[str, Any],
    **options: Any,
) -> None:
    """Paint a clip and say where it is, and what came of its sound.

    Args:
        clip: the file.
        style: files of paintings.
        output: the file to write.
        style_weights: of the paintings, in proportion.
        device: where to compute, as the user names it.
        settings: of `opsin.stylize.Settings`.
        options: `temporal_weight`, `keep_frames`, `resume`, `overwrite` and `force` of
            `opsin.stylize.video.stylize_video`.
    """
    from opsin.devices import find_device
    from opsin.images import read_image
    from opsin.stylize.video import stylize_video

    chosen = find_device(device)
    with quiet_codecs():
        paintings = [read_image(path) for path in style]
    with closing(_Pace()) as pace, Interruption() as interruption:

        def watch(progress: VideoProgress) -> bool:
            pace.watch(progress)
            return interruption.asked

        result = stylize_video(
            clip,
            paintings,
            output,
            style_weights=style_weights,
            device=chosen,
            callback=watch,
            **options,
            **settings,
        )
    if result.stopped:
        print(f"stopped early: {result.stopped}. Go on with --resume.", file=sys.stderr)
        raise typer.Exit(INTERRUPTED)
    if result.sound == "left out":
        print(f"left out the sound, which {output.suffix} cannot hold; .mkv holds most.", file=sys.stderr)
    sound = ", with its sound" if result.sound == "copied" else ""
    print(f"wrote {output}, {result.frames} frames of {result.width}x{result.height}{sound}")


class _Pace(Live):
    """A line that knows how long the frames that are left will take; elsewhere than on a terminal one a frame."""

    def __init__(self) -> None:
        super().__init__()
        self._begun: list[tuple[int, float]] = []  # frames, and when each was begun

    def watch(self, progress: VideoProgress) -> None:
        if not self._begun or self._begun[-1][0] != progress.frame:
            self._begun.append((progress.frame, progress.seconds))
        of = "" if progress.frames is None else f"/{progress.frames}"
        self.show(
            f"frame {progress.frame + 1}{of}  step {progress.step}/{progress.steps}  {self._time(progress)}  "
            f"{terms_text(progress.terms)}",
            last=not self.terminal and progress.step == progress.steps,
        )

    def _time(self, progress: VideoProgress) -> str:
        # The first frame goes through all scales, so that it says nothing about the others.
        if progress.frames is None or len(self._begun) < 3:
            return f"{time_text(progress.seconds)} so far"
        (first, began), (last, now) = self._begun[1], self._begun[-1]
        return f"{time_text((now - began) / (last - first) * (progress.frames - last))} left"
