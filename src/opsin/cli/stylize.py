"""`opsin stylize`: a photo in the style of a painting."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from opsin.cli.common import get_device, quiet_codecs
from opsin.errors import InputError, OpsinError

if TYPE_CHECKING:
    from torch import Tensor

    from opsin.stylize import Progress, StylizeResult

_INTERRUPTED = 130


def stylize(
    photo: Annotated[Path, typer.Argument(metavar="PHOTO", help="The picture to paint.", show_default=False)],
    style: Annotated[
        list[Path], typer.Option("--style", "-s", help="A painting; may be given several times.", show_default=False)
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Where to write the result.", show_default=False)],
    loss: Annotated[
        str,
        typer.Option(help="gatys, wasserstein, sliced-wasserstein, strotss, mrf, contextual or nnfm."),
    ] = "gatys",
    size: Annotated[int, typer.Option(help="The longer side of the result in pixels.")] = 512,
    steps: Annotated[int, typer.Option(help="Steps at each scale; twice as many at the first.")] = 100,
    style_weights: Annotated[
        str, typer.Option(help="Of the paintings, in proportion, e.g. 2,1.", show_default="equal")
    ] = "",
    content_weight: Annotated[float, typer.Option(help="How much of the photo is kept; 0 makes a texture.")] = 1.0,
    style_scale: Annotated[float, typer.Option(help="Size of the painting beside the result: 2 coarsens it.")] = 1.0,
    keep_colors: Annotated[
        str, typer.Option(help="Keep the photo's colours: linear or luminance.", show_default="no")
    ] = "",
    tv: Annotated[float, typer.Option(help="Weight of the total variation, which smooths.")] = 0.0,
    init: Annotated[str, typer.Option(help="What to begin with: content, noise, or an image file.")] = "content",
    regions: Annotated[
        Path | None, typer.Option(help="A picture of plain colours: the photo's regions.", show_default=False)
    ] = None,
    style_regions: Annotated[
        list[Path] | None,
        typer.Option(help="The same of each painting, in order: regions of one colour match.", show_default=False),
    ] = None,
    start: Annotated[int, typer.Option(help="The longer side of the first, coarsest scale.")] = 128,
    growth: Annotated[float, typer.Option(help="From scale to scale, e.g. 1.414.")] = 2.0,
    optimizer: Annotated[
        str, typer.Option(help="lbfgs or adam.", show_default="adam for losses that draw at random, else lbfgs")
    ] = "",
    lr: Annotated[float | None, typer.Option(help="Its step.", show_default="1, Adam 0.02")] = None,
    averaging: Annotated[
        float | None, typer.Option(help="Average of iterates, e.g. 0.98.", show_default="none, Adam 0.98")
    ] = None,
    net: Annotated[str, typer.Option(help="vgg11 … vgg19.")] = "vgg19",
    weights: Annotated[str, typer.Option(help="bundled (vgg19 only), official, random, or a file.")] = "bundled",
    pooling: Annotated[str, typer.Option(help="max, avg or l2.")] = "max",
    seed: Annotated[int, typer.Option(help="Of all that is drawn at random.")] = 0,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1, mps.")] = "cpu",
    preview: Annotated[
        int, typer.Option(help="Write the picture every so many steps to OUTPUT-preview.", show_default="never")
    ] = 0,
    checkpoint: Annotated[
        Path | None, typer.Option(help="Keep the state in this file, to go on later.", show_default=False)
    ] = None,
    checkpoint_every: Annotated[int, typer.Option(help="Steps between two states.")] = 50,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from --checkpoint.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Begin even if memory is said not to do.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the output if it exists.")] = False,
) -> None:
    """Paint a photo in the style of a painting.

    Ctrl-C stops and writes the best picture so far. The result says in its metadata how it was made.
    """
    from opsin.files import check_writable
    from opsin.images.writing import check_suffix

    check_suffix(output)
    check_writable(output, overwrite=overwrite)
    if preview < 0:
        raise InputError(f"--preview must be a number of steps, got {preview}. Leave it out for none.")
    shown = output.with_name(f"{output.stem}-preview{output.suffix}")
    if preview:
        check_writable(shown, overwrite=overwrite)
    if resume and checkpoint is None:
        raise InputError("--resume must go with --checkpoint FILE, got none. Name the file.")
    if checkpoint is not None and not resume:
        check_writable(checkpoint, overwrite=overwrite)
    painted = style_regions or []
    if len(painted) != (0 if regions is None else len(style)):
        raise InputError(
            f"--regions must go with as many --style-regions as there are --style, {len(style)}, "
            f"got {'none' if regions is None else 'it'} with {len(painted)}. Add what is missing."
        )

    from opsin.images import read_image, write_image
    from opsin.stylize import Settings
    from opsin.stylize import stylize as run
    from opsin.stylize.settings import INITS

    begins = init if init in INITS else "content"  # else it is a file
    settings: dict[str, Any] = {
        "loss": loss,
        "size": size,
        "steps": steps,
        "start": start,
        "growth": growth,
        "optimizer": optimizer or None,
        "lr": lr,
        "averaging": averaging,
        "content_weight": content_weight,
        "style_scale": style_scale,
        "tv": tv,
        "keep_colors": keep_colors or None,
        "net": net,
        "weights": weights,
        "pooling": pooling,
        "seed": seed,
    }
    Settings.of({**settings, "init": begins})  # what is wrong is said before anything is read
    chosen = get_device(device)
    with quiet_codecs():
        content = read_image(photo)
        paintings = [read_image(path) for path in style]
        begun = init if init in INITS else read_image(Path(init))
    areas = None if regions is None else _read_regions(regions, content)
    style_areas = [_read_regions(path, image) for path, image in zip(painted, paintings, strict=False)]
    live = _Live()
    with _interruptible() as interrupted:

        def watch(progress: Progress) -> bool:
            live.show(progress)
            if preview and progress.step % preview == 0:
                write_image(shown, progress.picture(), overwrite=True)
            return bool(interrupted)

        result = run(
            content,
            paintings,
            style_weights=_numbers(style_weights) if style_weights else None,
            content_regions=areas,
            style_regions=style_areas or None,
            init=begun,
            device=chosen,
            callback=watch,
            checkpoint=checkpoint,
            checkpoint_every=checkpoint_every,
            resume=resume,
            force=force,
            **settings,
        )
    live.close()
    write_image(output, result.image, overwrite=overwrite, metadata=_metadata(result, photo, style))
    height, width = result.image.shape[-2:]
    print(f"wrote {output}, {width}x{height}")
    if interrupted:
        print(f"stopped early: {result.stopped}", file=sys.stderr)
        raise typer.Exit(_INTERRUPTED)
    if result.stopped:
        raise OpsinError(
            f"the run must go to its end, but {result.stopped}; '{output}' is the best picture until then."
        )


def _numbers(text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise InputError(f"--style-weights must be numbers with commas between, got {text!r}. E.g. 2,1.") from None


def _read_regions(path: Path, image: Tensor) -> Tensor:
    """A picture of regions at the size of what it is of."""
    from torch.nn import functional as F

    from opsin.images import read_image

    with quiet_codecs():
        areas = read_image(path)
    if areas.shape != image.shape:
        sizes = [f"{t.shape[3]}x{t.shape[2]}" for t in (areas, image)]
        print(f"resized {path} from {sizes[0]} to {sizes[1]}, the size of its picture", file=sys.stderr)
        areas = F.interpolate(areas, image.shape[-2:], mode="nearest")
    return areas


def _metadata(result: StylizeResult, photo: Path, style: Sequence[Path]) -> dict[str, str]:
    from opsin._version import __version__

    return {
        "Software": f"opsin {__version__}",
        "opsin:photo": photo.name,
        "opsin:style": json.dumps([path.name for path in style]),
        "opsin:settings": json.dumps(result.settings.describe()),
        "opsin:signature": str(result.signature),
    }


@contextmanager
def _interruptible() -> Iterator[list[int]]:
    """A list that is no longer empty once Ctrl-C was pressed; pressed twice, it ends the program as ever."""
    pressed: list[int] = []

    def handle(number: int, _: object) -> None:
        pressed.append(number)
        signal.signal(signal.SIGINT, before)

    before = signal.signal(signal.SIGINT, handle)
    try:
        yield pressed
    finally:
        signal.signal(signal.SIGINT, before)


class _Live:
    """Where a run is: one line that is written over on a terminal, and elsewhere one at the end of each scale."""

    def __init__(self) -> None:
        self._terminal = sys.stderr.isatty()

    def show(self, progress: Progress) -> None:
        last = progress.step == progress.steps
        if not (self._terminal or last):
            return
        left = progress.seconds * (1 - progress.done) / progress.done
        terms = "  ".join(f"{name} {value:.4g}" for name, value in progress.terms.items())
        line = (
            f"{progress.width}x{progress.height}  step {progress.step}/{progress.steps}  {terms}  "
            f"{progress.seconds_a_step:.2f} s/step  {int(left) // 60}:{int(left) % 60:02d} left"
        )
        if self._terminal:
            print(f"\r\x1b[K{line}", end="\n" if last else "", file=sys.stderr, flush=True)
        else:
            print(line, file=sys.stderr, flush=True)

    def close(self) -> None:
        if self._terminal:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
