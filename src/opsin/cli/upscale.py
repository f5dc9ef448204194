"""`opsin upscale`: images enlarged by a network."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from opsin.cli.common import quiet_codecs
from opsin.cli.each import Each, Watch, best_device
from opsin.errors import InputError

if TYPE_CHECKING:
    from opsin.images import Picture
    from opsin.images.jobs import Job
    from opsin.networks import Upscaler

_LARGEST_FACTOR = 64


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

    from opsin.images.jobs import check_targets, find_jobs

    jobs = find_jobs(inputs, output, suffix=suffix, file_format=file_format)
    jobs, skipped = check_targets(jobs, skip_existing=skip_existing, overwrite=overwrite)
    options = _Options(model, tile, overlap, precision, outscale, overwrite)
    run = _Run(jobs, options)
    if jobs:
        run.load(device)
        run.run()
    run.report(output, skipped)


@dataclass(frozen=True)
class _Options:
    model: Path
    tile: int | None
    overlap: int | None
    precision: str
    outscale: float | None
    overwrite: bool


class _Run(Each):
    """All images, one after another."""

    part = "tile"
    enough_memory = "Use smaller tiles, e.g. --tile 128."

    def __init__(self, jobs: Sequence[Job], options: _Options) -> None:
        super().__init__(jobs, overwrite=options.overwrite)
        self.options = options
        self._told = False

    def load(self, device: str) -> None:
        """Make the model, and see that what is asked of it can be done."""
        from opsin.checks import choice
        from opsin.devices import find_device
        from opsin.superres.files import load_model
        from opsin.superres.upscaling import PRECISIONS, bytes_a_pixel, plan

        choice("precision", self.options.precision, PRECISIONS)
        chosen = find_device(best_device() if device == "auto" else device)
        self.model: Upscaler = load_model(self.options.model, chosen)
        plan(self.model, 1, 1, tile=self.options.tile, overlap=self.options.overlap)
        self._a_pixel = bytes_a_pixel(self.model) if self.options.tile is None else None

    def make(self, job: Job, watch: Watch) -> Picture:
        """The image, enlarged."""
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

    def metadata(self, job: Job) -> dict[str, str]:
        """See `how_it_was_made`."""
        from opsin.superres.files import how_it_was_made

        return how_it_was_made(self.model, self.options.model, job.source)
