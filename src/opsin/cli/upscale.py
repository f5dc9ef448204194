"""`opsin upscale`: images enlarged by a network."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from opsin.cli.common import quiet_codecs
from opsin.cli.live import INTERRUPTED, Live, time_text
from opsin.errors import InputError, OpsinError
from opsin.interruption import Interruption

if TYPE_CHECKING:
    from opsin.images import Picture
    from opsin.networks import Upscaler
    from opsin.superres.jobs import Job

_LARGEST_FACTOR = 64


class _Stopped(Exception):  # noqa: N818 (nothing is wrong)
    """Ctrl-C was pressed, and the tile is done."""


def upscale(
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="IN...",
            help="Images, folders (searched to their ends), or patterns in quotes, e.g. 'photos/**/*.jpg'.",
            show_default=False,
        ),
    ],
    output: Annotated[
        Path,
        typer.Option("--output", "-o", help="A folder; or, of a single image, a file.", show_default=False),
    ],
    model: Annotated[
        Path,
        typer.Option(
            "--model",
            "-m",
            help="model.safetensors of 'opsin train sr', a checkpoint that spandrel knows, or an ONNX file.",
            show_default=False,
        ),
    ],
    outscale: Annotated[
        float | None,
        typer.Option(help="The factor that is wanted; the result is resized to it.", show_default="the model's"),
    ] = None,
    suffix: Annotated[str, typer.Option(help="Appended to the names of files, e.g. _x4.", show_default="none")] = "",
    file_format: Annotated[
        str, typer.Option("--format", help="png, jpg, webp, tif, bmp; or same: as the input, PNG for GIF.")
    ] = "same",
    skip_existing: Annotated[
        bool, typer.Option("--skip-existing", help="Leave out images whose output exists.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace outputs that exist.")] = False,
    tile: Annotated[
        int | None,
        typer.Option(help="Side of the tiles in pixels of the input; 0 for none.", show_default="as memory allows"),
    ] = None,
    overlap: Annotated[
        int | None,
        typer.Option(help="Pixels looked at around a tile.", show_default="as the model needs, 64 at most"),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
    precision: Annotated[
        str, typer.Option(help="float32, float16 or bfloat16, of which graphics cards have less work.")
    ] = "float32",
) -> None:
    """Enlarge images with a network.

    Transparency, grey and (in PNG and TIFF) 16 bits are kept; images are turned upright and made sRGB. Images that
    cannot be read are told at the end, and the exit code is 1. Ctrl-C stops after the tile that is being computed.
    """
    if outscale is not None and not 0 < outscale <= _LARGEST_FACTOR:
        raise InputError(f"--outscale must be more than 0 and at most {_LARGEST_FACTOR}, got {outscale:g}. E.g. 2.")

    from opsin.superres.jobs import check_targets, find_jobs

    jobs = find_jobs(inputs, output, suffix=suffix, file_format=file_format)
    jobs, skipped = check_targets(jobs, skip_existing=skip_existing, overwrite=overwrite)
    options = _Options(model, tile, overlap, precision, outscale, overwrite)
    run = _Run(jobs, options)
    if jobs:
        run.load(device)
        with closing(run.live), Interruption() as interruption:
            run.work(interruption)
    run.report(output, skipped)


@dataclass(frozen=True)
class _Options:
    model: Path
    tile: int | None
    overlap: int | None
    precision: str
    outscale: float | None
    overwrite: bool


class _Run:
    """All images, one after another.

    Attributes:
        done: what was written, and its width and height.
        failed: what could not be done of which images, a line each.
        stopped: whether Ctrl-C ended it.
    """

    def __init__(self, jobs: Sequence[Job], options: _Options) -> None:
        self.jobs, self.options = jobs, options
        self.done: list[tuple[Path, int, int]] = []
        self.failed: list[str] = []
        self.stopped = False
        self.live = Live()
        self._told = False

    def load(self, device: str) -> None:
        """Make the model, and see that what is asked of it can be done."""
        from opsin.checks import choice
        from opsin.devices import find_device
        from opsin.superres.files import load_model
        from opsin.superres.upscaling import PRECISIONS, bytes_a_pixel, plan

        choice("precision", self.options.precision, PRECISIONS)
        chosen = find_device(_best_device() if device == "auto" else device)
        self.model: Upscaler = load_model(self.options.model, chosen)
        plan(self.model, 1, 1, tile=self.options.tile, overlap=self.options.overlap)
        self._a_pixel = bytes_a_pixel(self.model) if self.options.tile is None else None

    def work(self, interruption: Interruption) -> None:
        """Do one image after another until Ctrl-C."""
        began = time.monotonic()
        for number, job in enumerate(self.jobs):
            if interruption.asked:
                self.stopped = True
                return
            started = time.monotonic()

            def watch(done: int, total: int, *, number: int = number, job: Job = job) -> None:
                if interruption.asked:
                    raise _Stopped
                share = (number + done / total) / len(self.jobs)
                left = (time.monotonic() - began) * (1 - share) / share
                tiles = f"  tile {done}/{total}" if total > 1 else ""
                self.live.show(f"{self._place(number)}{job.source}{tiles}  {time_text(left)} left", last=False)

            self.live.show(f"{self._place(number)}{job.source}", last=False)
            try:
                picture = self._enlarged(job, watch)
            except _Stopped:
                self.stopped = True
                return
            except OpsinError as error:
                self._fail(job.source, str(error))
            except (MemoryError, RuntimeError) as error:
                if isinstance(error, RuntimeError) and "memory" not in str(error).lower():
                    raise
                self._fail(job.source, "not enough memory. Use smaller tiles, e.g. --tile 128.")
            else:
                self._write(job, picture)
                _, width, height = self.done[-1]
                seconds = time.monotonic() - started
                self.live.show(
                    f"{self._place(number)}{job.source}  {width}x{height}  {seconds:.1f} s", last=len(self.jobs) > 1
                )

    def _place(self, number: int) -> str:
        return f"{number + 1}/{len(self.jobs)}  " if len(self.jobs) > 1 else ""

    def _fail(self, source: Path, reason: str) -> None:
        self.failed.append(reason if str(source) in reason else f"'{source}': {reason}")

    def _enlarged(self, job: Job, watch: Callable[[int, int], None]) -> Picture:
        from opsin.images import read_picture
        from opsin.images.writing import check_size
        from opsin.superres.files import check_result, enlarge, result_size
        from opsin.superres.upscaling import plan

        options = self.options
        with quiet_codecs():
            picture = read_picture(job.source)
        check_result(self.model, *picture.size, options.outscale)
        check_size(job.target, *result_size(self.model, *picture.size, options.outscale))
        how = plan(self.model, *picture.size, tile=options.tile, overlap=options.overlap, a_pixel=self._a_pixel)
        if not how.exact and not self._told:
            self._told = True
            reach = "how far is not known" if self.model.radius is None else f"{self.model.radius} pixels far"
            self.live.close()
            print(
                f"tiles of '{self.model.name}' may differ a little from the whole image: it looks around each pixel, "
                f"{reach}, and tiles of {how.tile} are given {how.overlap}; --overlap gives more",
                file=sys.stderr,
            )
        return enlarge(self.model, picture, how, precision=options.precision, outscale=options.outscale, callback=watch)

    def _write(self, job: Job, picture: Picture) -> None:
        from opsin.images import write_picture
        from opsin.superres.files import how_it_was_made

        height, width = picture.size
        try:
            job.target.parent.mkdir(parents=True, exist_ok=True)
            with quiet_codecs():
                write_picture(
                    job.target,
                    picture,
                    overwrite=self.options.overwrite,
                    metadata=how_it_was_made(self.model, self.options.model, job.source),
                )
        except (OpsinError, OSError):
            # The next one would fail as well; what failed before is told all the same.
            self.live.close()
            self._tell()
            raise
        self.done.append((job.target, width, height))

    def _tell(self) -> None:
        for line in self.failed:
            print(f"opsin: {' '.join(line.split())}", file=sys.stderr)

    def report(self, output: Path, skipped: int) -> None:
        """Say what was done and what was not."""
        left_out = f", left out {skipped} that existed" if skipped else ""
        if len(self.jobs) == 1 and self.done:
            path, width, height = self.done[0]
            print(f"wrote {path}, {width}x{height}{left_out}")
        elif self.done or skipped:
            print(f"wrote {len(self.done)} images to {output}{left_out}")
        self._tell()
        if self.stopped:
            print(f"stopped early: {len(self.done)} of {len(self.jobs)} images are done", file=sys.stderr)
            raise typer.Exit(INTERRUPTED)
        if self.failed:
            raise typer.Exit(1)


def _best_device() -> str:
    import torch

    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"
